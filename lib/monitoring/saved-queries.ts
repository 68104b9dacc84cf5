import { type ILogGroup, QueryDefinition, QueryString, type QueryStringProps } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';

/** Selects failures. A function logs its own, and if it crashed, Lambda reports that. */
export const FAILURES = 'level = "ERROR" or (type = "platform.report" and record.status != "success")';

export type SavedQueries = Readonly<Record<string, QueryStringProps>>;

export const CLEANUP_QUERIES: SavedQueries = {
  runs: {
    filterStatements: ['ispresent(run.status)'],
    display: '@timestamp, @log, run.status, run.rowsDeleted, run.durationMs, run.error',
  },
  tables: {
    filterStatements: ['ispresent(target.table)'],
    display:
      '@timestamp, @log, target.table, target.status, target.stopReason, target.rowsDeleted, target.rowsRemaining, ' +
      'target.longestBatchMs, target.blockedBy.0.reason',
  },
  failures: {
    fields: ['@timestamp', '@log', 'coalesce(message, record.status) as failure'],
    filterStatements: [FAILURES],
    limit: 100,
  },
};

export const FLEET_QUERIES: SavedQueries = {
  'fleet-runs': {
    filterStatements: ['ispresent(run.servers.total)'],
    display:
      '@timestamp, run.status, run.servers.total, run.servers.failed, run.databases.total, run.databases.failed, ' +
      'run.databasesCutShort, run.rowsDeleted, run.rowsRemaining, run.durationMs, execution',
  },
  databases: {
    filterStatements: ['ispresent(result.server)'],
    display:
      '@timestamp, result.server, result.database, result.status, result.isSwept, result.rowsDeleted, ' +
      'result.rowsRemaining, result.durationMs, result.error',
    limit: 10_000,
  },
};

/** The query in the language of CloudWatch Logs Insights, the newest lines first. */
export function queryString(query: QueryStringProps): QueryString {
  return new QueryString({ sort: '@timestamp desc', ...query });
}

/** Saves queries of CloudWatch Logs Insights over the logs of several functions in a folder. */
export function createQueries(scope: Construct, folder: string, logGroups: ILogGroup[], queries: SavedQueries): void {
  for (const [name, query] of Object.entries(queries)) {
    new QueryDefinition(scope, `Query-${name}`, {
      queryDefinitionName: `${folder}/${name}`,
      queryString: queryString(query),
      logGroups,
    });
  }
}
