import { kindOf } from './database-error';
import { DurableCount } from './durable-count';
import { blocksOf, type PieceOptions, wholeTable } from './pieces';
import type { ReplicaLagBrake } from './replica-lag';
import { Solitude } from './solitude';
import { type Obstacle, type Piece, parsePosition, type Relation, Walk, type WalkEnd } from './walk';

/**
 * Why a sweep ended:
 * - `drained`: every block was visited, and nothing was held back
 * - `deadline`: the time was up
 * - `interrupted`: it was asked to end
 * - `blocked`: rows stayed locked, or are kept by a constraint or a trigger
 * - `replica-lag`: the time was up while a replica was too far behind
 */
export type StopReason = 'drained' | 'deadline' | 'interrupted' | 'blocked' | 'replica-lag';

export interface SweepOptions extends PieceOptions {
  /** The share of time that a connection works, above 0 up to 1. */
  readonly maxLoad: number;
  readonly brake?: ReplicaLagBrake | undefined;
  /** Ends the deleting. Its reason is a {@link StopReason}. */
  readonly stopDeleting: AbortSignal;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
}

export interface SweepProgress {
  readonly rowsDeleted: number;
  readonly blocksVisited: number;
  readonly blocksTotal: number;
}

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

/** Enough for rows that died during the run and for locks that were released. */
const MAX_PASSES = 3;

/**
 * Deletes the dead rows of a table.
 *
 * A pass visits the blocks that the table has when it begins. Rows that died behind it, and rows that were locked as it
 * came by, are found by counting afterwards, unless nobody else was there, and the range that holds them gets another
 * pass. Never throws: an error is returned along with what was done until then.
 */
export async function sweep(options: SweepOptions): Promise<SweepOutcome> {
  const tally: Tally = {
    deleted: new DurableCount(options.clock, options.sessions),
    batches: 0,
    longestBatchMs: 0,
    blockedBy: [],
  };
  const end = await deleteAndVerify(options, tally).catch((error: unknown) => endBy(error, options.stopCounting));
  const { deleted, ...rest } = tally;
  return { ...end, rowsDeleted: deleted.rows, ...rest };
}

/** How an error ends the work on a table. A wait for a lock on the whole of it that was to end, or had to, is none. */
export function endBy(error: unknown, stop: AbortSignal): Pick<SweepOutcome, 'stopReason' | 'error'> {
  return stop.aborted && kindOf(error) === 'locked' ? { stopReason: stop.reason as StopReason } : { error };
}

interface Tally {
  readonly deleted: DurableCount;
  batches: number;
  longestBatchMs: number;
  blockedBy: Blockage[];
}

async function deleteAndVerify(
  options: SweepOptions,
  tally: Tally,
): Promise<Pick<SweepOutcome, 'stopReason' | 'rowsRemaining'>> {
  const { sessions, relations, brake, stopDeleting, stopCounting } = options;
  const solitude = await Solitude.begin(sessions[0], relations);
  let pieces = await wholeTable(options);
  for (let pass = 1; ; pass += 1) {
    const deletedBefore = tally.deleted.rows;
    const { end, obstacles } = await deletePass(options, pieces, tally);
    const sawAll = end === 'finished' && obstacles.length === 0;
    if (sawAll && (await solitude.lasted(tally.deleted.transactionIds))) {
      return { stopReason: 'drained', rowsRemaining: 0 };
    }
    const dead = await countDead(options);
    const rowsRemaining = dead.rows === undefined ? {} : { rowsRemaining: dead.rows };
    if (end !== 'finished') {
      const braked = end === 'stopped' && brake?.engaged;
      return { stopReason: braked ? 'replica-lag' : reasonOf(end, stopDeleting), ...rowsRemaining };
    }
    if (dead.rows === undefined) {
      return { stopReason: reasonOf(dead.end, stopCounting) };
    }
    if (dead.rows === 0) {
      tally.blockedBy = [];
      return { stopReason: 'drained', ...rowsRemaining };
    }
    const inVain = pass > 1 && tally.deleted.rows === deletedBefore;
    if (inVain && obstacles.length === 0) {
      tally.blockedBy = [{ reason: 'a trigger, a rule or a policy that skips rows in silence', rows: dead.rows }];
    }
    if (inVain || pass === MAX_PASSES || areAllProtected(dead.rows, obstacles)) {
      return { stopReason: inVain || obstacles.length > 0 ? 'blocked' : 'drained', ...rowsRemaining };
    }
    pieces = dead.pieces;
  }
}

async function deletePass(options: SweepOptions, pieces: readonly Piece[], tally: Tally) {
  const { sessions, brake, stopDeleting, onProgress } = options;
  const { deleted } = tally;
  const blocksTotal = blocksOf(pieces);
  const walk = new Walk<never>(
    {
      ...options,
      statement: deletion,
      until: stopDeleting,
      pause: async (session) => {
        await deleted.confirmSometimes(session);
        await brake?.release(session, stopDeleting);
      },
      onStatement: (durationMs, done) => {
        tally.batches += 1;
        tally.longestBatchMs = Math.max(tally.longestBatchMs, durationMs);
        if (done) {
          deleted.add(done.result.rowCount ?? 0);
          onProgress?.({ rowsDeleted: deleted.rows, blocksVisited: blocksTotal - done.blocksPending, blocksTotal });
        }
      },
    },
    pieces,
  );
  const end = await walk.run().finally(() => deleted.confirm(sessions[0]));
  tally.blockedBy = blockagesOf(walk.obstacles);
  return { end, obstacles: walk.obstacles };
}

export function blockagesOf(obstacles: readonly Obstacle[]): Blockage[] {
  const reasons = [...new Set(obstacles.map((obstacle) => obstacle.reason))];
  return reasons.map((reason) => {
    const found = obstacles.filter((obstacle) => obstacle.reason === reason);
    return found.every(({ rows }) => rows === 1) ? { reason, rows: found.length } : { reason };
  });
}

/** Whether another pass would only find the same constraints and triggers. */
function areAllProtected(deadRows: number, obstacles: readonly Obstacle[]): boolean {
  const lasting = obstacles.filter(({ passing }) => !passing);
  return lasting.length >= deadRows || lasting.some(({ rows }) => rows === undefined);
}

/** How many dead rows there are, unless that could not be established, and where. */
async function countDead(options: SweepOptions): Promise<{ end: WalkEnd; rows: number | undefined; pieces: Piece[] }> {
  const table = options.stopCounting.aborted ? [] : await wholeTable(options);
  const found = table.filter(({ tids }) => tids);
  const ranges = new Map<Relation, Piece>();
  let rows = blocksOf(found); // one each
  const walk = new Walk<{ count: number; first: string | null; last: string | null }>(
    {
      ...options,
      statement: counting,
      until: options.stopCounting,
      onStatement: (_, done) => {
        for (const { count, first, last } of done?.result.rows ?? []) {
          if (done && first && last) {
            const { relation } = done.piece;
            const known = ranges.get(relation);
            const from = Math.min(parsePosition(first), known?.from ?? Number.POSITIVE_INFINITY);
            const to = Math.max(parsePosition(last) + 1, known?.to ?? 0);
            ranges.set(relation, { relation, from, to });
            rows += count;
          }
        }
      },
    },
    table.filter(({ tids }) => !tids),
  );
  const end = options.stopCounting.aborted ? 'stopped' : await walk.run();
  const complete = end === 'finished' && walk.obstacles.length === 0;
  return { end, rows: complete ? rows : undefined, pieces: [...found, ...ranges.values()] };
}

function deletion(relation: Relation, condition: string): string {
  return `delete from only ${relation.quotedName} where ${condition}`;
}

function counting(relation: Relation, condition: string): string {
  return `
    select count(*)::float8 as count, min(ctid)::text as first, max(ctid)::text as last
    from only ${relation.quotedName}
    where ${condition}`;
}

/** Why a walk that did not finish ended. */
export function reasonOf(end: WalkEnd, signal: AbortSignal): StopReason {
  return end === 'stopped' ? (signal.reason as StopReason) : 'blocked';
}
