import type { RunReport, TargetReport } from './report';

/** Step Functions and EventBridge accept 256 KiB, together with what they add. */
const MOST_BYTES = 200_000;

/**
 * Leaves out targets of a report that is too long to be handed on: first those that lost no row and have none left, then
 * those that are done, then those that are not, and at last those that failed. The log has a line for each.
 */
export function abridged<Report extends RunReport>(report: Report): Report {
  const { targets, ...rest } = report;
  let bytes = sizeOf(rest);
  const fit = new Set<TargetReport>();
  for (const target of [...targets].sort((a, b) => importanceOf(b) - importanceOf(a))) {
    bytes += sizeOf(target) + 1;
    if (bytes <= MOST_BYTES) {
      fit.add(target);
    }
  }
  return fit.size === targets.length
    ? report
    : { ...report, targets: targets.filter((target) => fit.has(target)), targetsLeftOut: targets.length - fit.size };
}

function importanceOf({ status, rowsDeleted }: TargetReport): number {
  return status === 'failed' ? 3 : status !== 'succeeded' ? 2 : rowsDeleted > 0 ? 1 : 0;
}

function sizeOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value));
}
