import type { FunctionRequest, Rounds } from '../configuration/event';
import { nextTimeOfDay } from '../configuration/time-of-day';
import { hasDeleted, overall, type RunReport, type TargetReport } from './report';

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

export interface Limits {
  /** Whether the execution may go on if the request has no `until`. */
  readonly isEndless?: boolean;
  /** Whether a run deletes a limited number of rows of a table. Its execution then returns to no database. */
  readonly hasMaxRows?: boolean;
}

/**
 * The answer of a round. It contains the event of the next one if the request has a time until which it may go on, the time
 * of the function was up before the work was done, and this round got further than the one before.
 */
export function answerOf(
  report: RunReport,
  request: FunctionRequest,
  { isEndless = false, hasMaxRows = false }: Limits = {},
): Answer {
  const { targets, error, isCutShort = false } = report;
  const next = hasMaxRows && isCutShort ? (targets.at(-1)?.database ?? report.next) : report.next;
  const isProgress = hasDeleted(report) || next !== request.after;
  const mayGoOn = (isEndless || request.until !== undefined) && windowLeftMs(request) >= SHORTEST_ROUND_MS;
  const goesOn = mayGoOn && isProgress && (isCutShort || (!hasMaxRows && isTimeUp(report)));
  const rounds = roundsWith(report, next, request, goesOn);
  return {
    ...report,
    ...(!goesOn && { status: rounds.status }),
    ...(error !== undefined && { error: error.slice(0, LONGEST_ERROR) }),
    rounds,
    ...(goesOn && { again: { ...request, rounds, ...(next !== undefined && { after: next }) } }),
  };
}

/** Also if a replica lagged behind when the time was up: it may have caught up. A dry run would count the same rows again. */
function isTimeUp({ dryRun, targets }: RunReport): boolean {
  return !dryRun && targets.some(({ stopReason }) => stopReason === 'deadline' || stopReason === 'replica-lag');
}

function roundsWith(
  report: RunReport,
  next: string | undefined,
  { rounds: before, after }: FunctionRequest,
  goesOn: boolean,
): Rounds {
  const { rowsDeleted, durationMs, targets } = report;
  // The next round comes to the databases behind `next` again, and to all tables if there is no list of databases.
  const isOver = ({ database }: TargetReport) => database !== undefined && next !== undefined && database <= next;
  const statuses = goesOn ? targets.filter(isOver).map(({ status }) => status) : [report.status];
  const from = before ? before.after : after;
  const error = report.error ?? before?.error;
  return {
    count: (before?.count ?? 0) + 1,
    rowsDeleted: (before?.rowsDeleted ?? 0) + rowsDeleted,
    durationMs: (before?.durationMs ?? 0) + durationMs,
    status: overall(before ? [before.status, ...statuses] : statuses),
    ...(error !== undefined && { error: error.slice(0, LONGEST_ERROR) }),
    ...(from !== undefined && { after: from }),
  };
}
