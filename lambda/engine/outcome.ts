import { kindOf } from '../database/database-error';

/**
 * Why a sweep ended:
 * - `drained`: every block was visited, and nothing was held back
 * - `deadline`: the time was up
 * - `interrupted`: it was asked to end
 * - `blocked`: rows stayed locked, or are kept by a constraint or a trigger
 * - `replica-lag`: the time was up while a replica was too far behind
 */
export type StopReason = 'drained' | 'deadline' | 'interrupted' | 'blocked' | 'replica-lag';

export interface SweepOutcome {
  /** Absent when there is an error. */
  readonly stopReason?: StopReason;
  readonly error?: unknown;
  readonly rowsDeleted: number;
  /** The dead rows that are left; absent when they could not be counted. */
  readonly rowsRemaining?: number;
  /** How many statements deleted, or tried to. */
  readonly batches: number;
  readonly longestBatchMs: number;
  /** What kept rows from being deleted in the last pass. */
  readonly blockedBy: readonly Blockage[];
}

export interface Blockage {
  /** Such as the name of a constraint. */
  readonly reason: string;
  /** Absent when they are too many to be found one by one. */
  readonly rows?: number;
}

/** What kept a row from being deleted, or some rows of a block or of a table. */
export interface Obstacle {
  readonly reason: string;
  /** Absent where the rows are not known. */
  readonly rows?: 1;
  /** Whether it is only locked, so that it may go later. */
  readonly passing: boolean;
}

/**
 * - `finished`: every piece was visited
 * - `stopped`: the signal came first
 * - `blocked`: the table stayed locked as a whole, or too many of its rows take too long each
 */
export type WalkEnd = 'finished' | 'stopped' | 'blocked';

/** How an error ends the work on a table. A wait for a lock on the whole of it that was to end, or had to, is none. */
export function endBy(error: unknown, stop: AbortSignal): Pick<SweepOutcome, 'stopReason' | 'error'> {
  return stop.aborted && kindOf(error) === 'locked' ? { stopReason: stop.reason as StopReason } : { error };
}

export function blockagesOf(obstacles: readonly Obstacle[]): Blockage[] {
  const reasons = [...new Set(obstacles.map((obstacle) => obstacle.reason))];
  return reasons.map((reason) => {
    const found = obstacles.filter((obstacle) => obstacle.reason === reason);
    return found.every(({ rows }) => rows === 1) ? { reason, rows: found.length } : { reason };
  });
}

/** Why a walk that did not finish ended. */
export function reasonOf(end: WalkEnd, signal: AbortSignal): StopReason {
  return end === 'stopped' ? (signal.reason as StopReason) : 'blocked';
}
