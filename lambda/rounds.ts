import { abridged } from './abridged-report';
import type { FunctionRequest, Rounds } from './configuration/event';
import { nextTimeOfDay } from './configuration/time-of-day';
import type { RunReport, RunStatus, TargetReport } from './report';

/** The report of a round to the state machine that invoked it. */
export interface Answer extends RunReport {
  /** All rounds of the execution up to this one. */
  readonly rounds: Rounds;
  /** The event of the next round; absent if the execution is done. */
  readonly again?: FunctionRequest;
}

/** A shorter round would connect, count and end. */
export const SHORTEST_ROUND_MS = 60_000;

/** Step Functions cuts a longer cause of a failure. */
const LONGEST_ERROR = 10_000;

/** From the worst on. */
const STATUSES = ['failed', 'partial', 'skipped', 'succeeded'] as const satisfies RunStatus[];

/** @returns the time until the run has to end by its request, in milliseconds; negative if that is over */
export function windowLeftMs({ until, timeZone = 'UTC', scheduledAt }: FunctionRequest): number {
  if (until === undefined) {
    return Number.POSITIVE_INFINITY;
  }
  const from = scheduledAt === undefined ? new Date() : new Date(scheduledAt);
  return nextTimeOfDay(from, until, timeZone).getTime() - Date.now();
}

/** Whether a run sweeps all that is configured, if it and the rounds before it succeed. */
export function isWhole({ after, rounds }: FunctionRequest): boolean {
  return rounds ? rounds.after === undefined && rounds.status === 'succeeded' : after === undefined;
}

/**
 * The answer of a round. It contains the event of the next one if the request has a time until which it may go on, the time
 * of the function was up before the work was done, and this round got further than the one before.
 *
 * @param isEndless whether it may also go on if the request has no such time
 */
export function answerOf(report: RunReport, request: FunctionRequest, { isEndless = false } = {}): Answer {
  const { next, rowsDeleted, targets, error } = report;
  const isProgress =
    rowsDeleted > 0 ||
    next !== request.after ||
    targets.some(({ partitionsDropped }) => partitionsDropped !== undefined);
  const mayGoOn = (isEndless || request.until !== undefined) && windowLeftMs(request) >= SHORTEST_ROUND_MS;
  const goesOn = mayGoOn && isProgress && (next !== undefined || isCutShort(report));
  const rounds = roundsWith(report, request, goesOn);
  return abridged({
    ...report,
    ...(!goesOn && { status: rounds.status }),
    ...(error !== undefined && { error: error.slice(0, LONGEST_ERROR) }),
    rounds,
    ...(goesOn && { again: { ...request, rounds, ...(next !== undefined && { after: next }) } }),
  });
}

/** Also if a replica lagged behind when the time was up: it may have caught up. A dry run would count the same rows again. */
function isCutShort({ dryRun, targets }: RunReport): boolean {
  return !dryRun && targets.some(({ stopReason }) => stopReason === 'deadline' || stopReason === 'replica-lag');
}

function roundsWith(report: RunReport, { rounds: before, after }: FunctionRequest, goesOn: boolean): Rounds {
  const { rowsDeleted, durationMs, targets, next } = report;
  // The next round comes to the databases behind `next` again, and to all tables if there is no list of databases.
  const isOver = ({ database }: TargetReport) => database !== undefined && next !== undefined && database <= next;
  const statuses = goesOn ? targets.filter(isOver).map(({ status }) => status) : [report.status];
  const from = before ? before.after : after;
  const error = report.error ?? before?.error;
  return {
    count: (before?.count ?? 0) + 1,
    rowsDeleted: (before?.rowsDeleted ?? 0) + rowsDeleted,
    durationMs: (before?.durationMs ?? 0) + durationMs,
    status: worst([before?.status ?? 'succeeded', ...statuses]),
    ...(error !== undefined && { error: error.slice(0, LONGEST_ERROR) }),
    ...(from !== undefined && { after: from }),
  };
}

function worst(statuses: readonly RunStatus[]): RunStatus {
  return STATUSES.find((status) => statuses.includes(status)) ?? 'succeeded';
}
