import { type ILogGroup, QueryDefinition, QueryString } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';

/** Saved queries of CloudWatch Logs Insights over the logs of several functions, in a folder of their own. */
export function createQueries(scope: Construct, folder: string, logGroups: ILogGroup[]): QueryDefinition[] {
  return Object.entries(QUERIES).map(
    ([name, query]) =>
      new QueryDefinition(scope, `Query-${name}`, {
        queryDefinitionName: `${folder}/${name}`,
        queryString: new QueryString({ sort: '@timestamp desc', ...query }),
        logGroups,
      }),
  );
}

const QUERIES = {
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
    // The function logs its own failures. If it crashed, Lambda writes a report instead.
    fields: ['@timestamp', '@log', 'coalesce(message, record.status) as failure'],
    filterStatements: ['level = "ERROR" or (type = "platform.report" and record.status != "success")'],
    limit: 100,
  },
};
