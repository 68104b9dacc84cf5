import type { RunReport, TargetReport } from './report';

/** Lambda answers with 6 MB at the most. */
export const LONGEST_ANSWER = 5_500_000;

/** Step Functions and EventBridge accept 256 KiB, together with what they add. */
export const LONGEST_STATE = 200_000;

/**
 * Leaves out targets of a report that is too long to be handed on: first those that lost no row and have none left, then
 * those that are done, then those that are not, and at last those that failed. The log has a line for each.
 */
export function abridged<Report extends RunReport>(report: Report, mostBytes: number): Report {
  const { targets, ...rest } = report;
  let bytes = sizeOf(rest);
  const fit = new Set<TargetReport>();
  for (const target of [...targets].sort((a, b) => importanceOf(b) - importanceOf(a))) {
    bytes += sizeOf(target) + 1;
    if (bytes <= mostBytes) {
      fit.add(target);
    }
  }
  return fit.size === targets.length
    ? report
    : { ...report, targets: targets.filter((target) => fit.has(target)), targetsLeftOut: targets.length - fit.size };
}

/** A dry run finds the rows that would go, and loses none. */
function importanceOf({ status, rowsDeleted, rowsRemaining }: TargetReport): number {
  return status === 'failed' ? 3 : status !== 'succeeded' ? 2 : rowsDeleted > 0 || rowsRemaining !== 0 ? 1 : 0;
}

/** The bytes of a value as JSON. */
export function sizeOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
