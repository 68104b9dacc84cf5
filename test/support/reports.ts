import type { RunReport, TargetReport } from '../../lambda/run/report';

/** The report of a table, in which nothing was to be done but for what is given. */
export function targetReport(given: Partial<TargetReport> = {}): TargetReport {
  const counts = { rowsDeleted: 0, batches: 0, longestBatchMs: 0, durationMs: 0 };
  return { table: 'refresh_tokens', status: 'succeeded', ...counts, ...given };
}

export function runReport(given: Partial<RunReport> = {}): RunReport {
  return { status: 'succeeded', stage: 'prod', dryRun: false, rowsDeleted: 0, durationMs: 0, targets: [], ...given };
}
