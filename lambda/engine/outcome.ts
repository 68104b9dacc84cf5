import { kindOf } from '../database/database-error';
import type { PaceReport } from '../pace/pace-report';
import type { Piece } from './pieces';

/**
 * Why a sweep ended:
 * - `drained`: every block was visited, and nothing was held back
 * - `deadline`: the time was up
 * - `interrupted`: it was asked to end
 * - `blocked`: rows stayed locked, or are kept by a constraint or a trigger
 * - `replica-lag`: the time was up while a replica was too far behind
 * - `max-rows`: as many rows were deleted as one run may delete
 */
export type StopReason = 'drained' | 'deadline' | 'interrupted' | 'blocked' | 'replica-lag' | 'max-rows';

export interface SweepOutcome {
  /** Absent when there is an error. */
  readonly stopReason?: StopReason;
  readonly error?: unknown;
  readonly rowsDeleted: number;
  /**
   * The dead rows that were met and could not be deleted, and those of blocks that were not visited; absent if these
   * could not be counted.
   */
  readonly rowsRemaining?: number;
  /** How many statements deleted, or tried to. */
  readonly batches: number;
  readonly longestBatchMs: number;
  /** What kept rows from being deleted. */
  readonly blockedBy: readonly Blockage[];
  /** The rows of other tables that went along by `on delete cascade`. */
  readonly cascaded?: readonly Cascaded[];
  /** Absent if there was nothing to do. */
  readonly pace?: PaceReport;
}

export interface Blockage {
  /** Such as the name of a constraint. */
  readonly reason: string;
  /** Absent when they are too many to be found one by one. */
  readonly rows?: number;
}

export interface Cascaded {
  /** With its schema, quoted. */
  readonly table: string;
  /** Absent if the role may not count them. */
  readonly rows?: number;
}

/** A row that was in the way, or a range that was left for one. */
export interface Obstacle {
  readonly reason: string;
  readonly piece: Piece;
  /** Whether it is only locked, so that it may go later. */
  readonly passing: boolean;
}

/**
 * - `finished`: every piece was visited
 * - `stopped`: the signal came first
 * - `blocked`: the table stayed locked as a whole, or too many of its rows take too long each
 */
export type WalkEnd = 'finished' | 'stopped' | 'blocked';

export const TABLE_LOCK: Blockage = { reason: 'a lock on the whole table' };

/** How an error ends the work on a table. A lock on the whole table is no failure. */
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

/** Why a walk that did not finish ended. */
export function reasonOf(end: WalkEnd, signal: AbortSignal): StopReason {
  return end === 'stopped' ? (signal.reason as StopReason) : 'blocked';
}
