import { DurableCount } from './durable-count';
import { type Blockage, blockagesOf, endBy, type Obstacle, reasonOf, type SweepOutcome } from './outcome';
import { blocksOf, type Piece, type PieceOptions, type Relation, wholeTable } from './pieces';
import { countDead, Solitude } from './remaining';
import type { ReplicaLagBrake } from './replica-lag';
import { Walk } from './walk';

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

/** Whether another pass would only find the same constraints and triggers. */
function areAllProtected(deadRows: number, obstacles: readonly Obstacle[]): boolean {
  const lasting = obstacles.filter(({ passing }) => !passing);
  return lasting.length >= deadRows || lasting.some(({ rows }) => rows === undefined);
}

function deletion(relation: Relation, condition: string): string {
  return `delete from only ${relation.quotedName} where ${condition}`;
}
