import { kindOf } from '../database/database-error';
import type { PaceReport } from './pace/pace-report';
import type { Piece } from './pieces';

/**
 * Why a sweep ended:
 * - `drained`: every block was visited, and no dead row remains
 * - `deadline`: the time was up
 * - `interrupted`: the run was interrupted
 * - `blocked`: rows stayed locked, or a constraint or a trigger keeps them
 * - `replica-lag`: the time was up while a replica was too far behind
 * - `max-rows`: the run reached its limit of rows
 */
export type StopReason = 'drained' | 'deadline' | 'interrupted' | 'blocked' | 'replica-lag' | 'max-rows';

/** The outcome of a sweep in numbers. */
export interface SweepCounts {
  /** Absent if the sweep failed, or did not begin. */
  readonly stopReason?: StopReason;
  readonly rowsDeleted: number;
  /**
   * The dead rows that the sweep met and could not delete, and those of blocks that it did not visit; in a dry run the rows
   * that a run would delete. Absent if they could not be counted.
   */
  readonly rowsRemaining?: number;
  /** The number of batches, those that were undone included. */
  readonly batches: number;
  readonly longestBatchMs: number;
  /** The rows of other tables that `on delete cascade` deleted along; absent if there is no cascade. */
  readonly cascaded?: readonly Cascaded[];
  /** The share of the time in which the server worked for the sweep, and the reason; absent if there was nothing to do. */
  readonly pace?: PaceReport;
}

export interface SweepOutcome extends SweepCounts {
  readonly error?: unknown;
  /** The obstacles that kept rows from being deleted. */
  readonly blockedBy: readonly Blockage[];
}

export interface Blockage {
  /** For example the name of a constraint. */
  readonly reason: string;
  /** Absent if they are too many to be found one by one. */
  readonly rows?: number;
}

export interface Cascaded {
  /** With its schema, quoted. */
  readonly table: string;
  /** Absent if the role may not count them. */
  readonly rows?: number;
}

/** A row that was in the way, or a range that was left because of one. */
export interface Obstacle {
  readonly reason: string;
  readonly piece: Piece;
  /** Whether it is only locked, so that a later attempt may succeed. */
  readonly passing: boolean;
}

/**
 * - `finished`: every piece was visited
 * - `stopped`: the signal was aborted
 * - `blocked`: the table stayed locked as a whole, or too many rows took too long each
 */
export type WalkEnd = 'finished' | 'stopped' | 'blocked';

export const TABLE_LOCK: Blockage = { reason: 'a lock on the whole table' };

/** The outcome of work on a table that ended by an error. A lock on the whole table is not a failure. */
export function endBy(error: unknown, stop: AbortSignal): Pick<SweepOutcome, 'stopReason' | 'error' | 'blockedBy'> {
  return kindOf(error) === 'locked'
    ? { stopReason: stop.aborted ? (stop.reason as StopReason) : 'blocked', blockedBy: [TABLE_LOCK] }
    : { error, blockedBy: [] };
}

export function blockagesOf(obstacles: readonly Obstacle[]): Blockage[] {
  const reasons = [...new Set(obstacles.map((obstacle) => obstacle.reason))];
  return reasons.map((reason) => {
    const found = obstacles.filter((obstacle) => obstacle.reason === reason);
    return found.every(({ piece }) => piece.isRow) ? { reason, rows: found.length } : { reason };
  });
}

/** Adds up numbers with the same key. */
export function sumsByKey(parts: Iterable<readonly [string, number]>): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [key, number] of parts) {
    sums.set(key, (sums.get(key) ?? 0) + number);
  }
  return sums;
}

/** The stop reason of a walk that did not finish. */
export function reasonOf(end: WalkEnd, signal: AbortSignal): StopReason {
  return end === 'stopped' ? (signal.reason as StopReason) : 'blocked';
}
