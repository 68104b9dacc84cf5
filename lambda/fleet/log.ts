import { LEVELS, type RunLogger } from '../run/report';
import type { FleetDatabaseResult, FleetReport } from './fleet-report';

/** Writes one line for each database, one for each server that failed as a whole, and one for the run. */
export function logFleetReport(
  logger: RunLogger,
  { results: _, failures, ...run }: FleetReport,
  results: readonly FleetDatabaseResult[],
): void {
  for (const result of results) {
    const { server, database, status, rowsDeleted } = result;
    logger[LEVELS[status]](`${server}, ${database}: ${status}, ${rowsDeleted} rows deleted`, { result });
  }
  for (const { server, error } of failures.filter(({ database }) => database === undefined)) {
    logger.error(`${server}: failed: ${error}`, { result: { server, status: 'failed', error } });
  }
  logger[LEVELS[run.status]](
    `fleet: ${run.status}, ${run.servers.total} servers, ${run.databases.total} databases, ${run.rowsDeleted} rows deleted`,
    { run },
  );
}
