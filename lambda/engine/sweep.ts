import { type Aftermath, aftermathOf, type Root } from './aftermath';
import { deletion } from './deletion';
import { DurableCount } from './durable-count';
import {
  type Blockage,
  blockagesOf,
  endBy,
  type Obstacle,
  reasonOf,
  type StopReason,
  type SweepOutcome,
  TABLE_LOCK,
  type WalkEnd,
} from './outcome';
import { blocksOf, type Piece } from './pieces';
import { isMissing, type Relation } from './relation';
import { countDead } from './remaining';
import type { ReplicaLagBrake } from './replica-lag';
import { type Pace, Walk } from './walk';
import { type TableOptions, type WholeTable, wholeTable } from './whole-table';

export interface SweepOptions extends TableOptions {
  /** The table whose relations are swept. */
  readonly root: Root;
  readonly pace: Pace;
  readonly brake?: ReplicaLagBrake | undefined;
  /** Ends the deleting. Its reason is a stop reason. */
  readonly stopDeleting: AbortSignal;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
}

export interface SweepProgress {
  readonly rowsDeleted: number;
  readonly blocksVisited: number;
  readonly blocksTotal: number;
}

/** Enough for what a crash or a trigger brought back. */
const MAX_PASSES = 3;

/** Before rows that were locked are tried again: most transactions of a service are over by then. */
const LOCK_GRACE_MS = 250;

/**
 * Deletes the dead rows of a table.
 *
 * A pass visits the blocks that the table has when it begins, and at its end what was in the way. Another pass follows
 * only if rows may be back: after a lost connection, after the table was rewritten, or where a trigger, a rule or a
 * policy may keep rows in silence and a count finds some. Never throws: an error is returned along with what was done
 * until then.
 */
export async function sweep(options: SweepOptions): Promise<SweepOutcome> {
  return await new Sweep(options).run();
}

class Sweep {
  readonly #options: SweepOptions;
  readonly #deleted: DurableCount;
  #batches = 0;
  #longestBatchMs = 0;
  /** What the last pass left: the rows in the way, and what it did not visit. */
  #obstacles: readonly Obstacle[] = [];
  #unvisited: readonly Piece[] = [];
  #tableLock: readonly Blockage[] = [];

  constructor(options: SweepOptions) {
    this.#options = options;
    this.#deleted = new DurableCount(options.clock, options.sessions);
  }

  async run(): Promise<SweepOutcome> {
    const end = await this.#sweep().catch((error: unknown) => this.#failure(error));
    return {
      blockedBy: [],
      ...end,
      rowsDeleted: this.#deleted.rows,
      batches: this.#batches,
      longestBatchMs: this.#longestBatchMs,
    };
  }

  #failure(error: unknown) {
    const { quotedName } = this.#options.root;
    return endBy(isMissing(error) ? new ReplacedError(quotedName, error) : error, this.#options.stopCounting);
  }

  async #sweep(): Promise<Partial<SweepOutcome>> {
    const { sessions, root, relations } = this.#options;
    for (let pass = 1; ; pass += 1) {
      const deletedBefore = this.#deleted.rows;
      const reconnectionsBefore = this.#reconnections;
      const table = await wholeTable(this.#options);
      const end = await this.#pass(table.pieces);
      const aftermath = await aftermathOf(sessions[0], root, relations);
      if (aftermath.isReplaced) {
        throw new ReplacedError(root.quotedName);
      }
      const isLast = end !== 'finished' || pass === MAX_PASSES;
      const mayBeBack = this.#reconnections > reconnectionsBefore || wasRewritten(table, aftermath);
      if (mayBeBack && !isLast) {
        continue;
      }
      const left = await this.#remaining(aftermath, mayBeBack || aftermath.mayKeepInSilence);
      if (left.keptInSilence > 0 && this.#deleted.rows > deletedBefore && !isLast) {
        continue;
      }
      return this.#outcome(end, left);
    }
  }

  #outcome(end: WalkEnd, { rows, keptInSilence, added }: Remaining): Partial<SweepOutcome> {
    const { brake, stopDeleting, stopCounting } = this.#options;
    const isBraked = end === 'stopped' && brake?.engaged;
    if (end === 'finished' && rows === 0) {
      return { stopReason: 'drained', rowsRemaining: 0, blockedBy: [] };
    }
    const ofCounting = stopCounting.aborted ? (stopCounting.reason as StopReason) : 'blocked';
    const ofDeleting = isBraked ? 'replica-lag' : reasonOf(end, stopDeleting);
    return {
      stopReason: end === 'finished' && rows === undefined ? ofCounting : ofDeleting,
      ...(rows !== undefined && { rowsRemaining: rows }),
      blockedBy: [
        ...blockagesOf(this.#obstacles),
        ...this.#tableLock,
        ...(keptInSilence > 0 && end === 'finished' ? [{ reason: KEPT_IN_SILENCE, rows: keptInSilence }] : []),
        ...added,
      ],
    };
  }

  /** @param mayHideRows whether rows may be left that the sweep has not met */
  async #remaining({ added }: Aftermath, mayHideRows: boolean): Promise<Remaining> {
    const inTheWay = this.#obstacles.map(({ piece }) => piece);
    const rowsInTheWay = inTheWay.filter(({ isRow }) => isRow).length;
    if (this.#options.stopCounting.aborted) {
      const isAll = !mayHideRows && added.length === 0 && this.#unvisited.length + inTheWay.length === rowsInTheWay;
      return { rows: isAll ? rowsInTheWay : undefined, keptInSilence: 0, added: [] };
    }
    const unseen = [...this.#unvisited, ...inTheWay.filter(({ isRow }) => !isRow)];
    const counted = await countDead(this.#options, mayHideRows ? (await wholeTable(this.#options)).pieces : unseen);
    const own = counted === undefined || mayHideRows ? counted : counted + rowsInTheWay;
    const blockages = await Promise.all(added.map((partition) => this.#addedBlockage(partition)));
    return {
      rows: sumOf([own, ...blockages.map(({ rows }) => rows)]),
      keptInSilence: mayHideRows ? Math.max(0, (counted ?? 0) - rowsInTheWay) : 0,
      added: blockages.filter(({ rows }) => rows !== 0),
    };
  }

  /** What keeps the rows of a partition that nobody has inspected: they are counted, not deleted. */
  async #addedBlockage(partition: Relation): Promise<Blockage> {
    const reason = `partition ${partition.quotedName} was attached while the sweep was at work`;
    try {
      const options = { ...this.#options, relations: [partition] };
      const rows = await countDead(options, (await wholeTable(options)).pieces);
      return { reason, ...(rows !== undefined && { rows }) };
    } catch {
      return { reason }; // the role may have no right to read it
    }
  }

  /** Visits the pieces, then what was in the way, the last rows first. */
  async #pass(pieces: readonly Piece[]): Promise<WalkEnd> {
    const { clock, stopDeleting } = this.#options;
    const first = this.#walk(pieces, { defersForeignKeys: true });
    const end = await this.#run(first);
    const locked = first.obstacles.filter(({ passing }) => passing).map(({ piece }) => piece);
    this.#obstacles = first.obstacles.filter(({ passing }) => !passing);
    if (locked.length > 0 && end === 'finished') {
      await clock.sleep(LOCK_GRACE_MS, stopDeleting);
    }
    const again = [...first.deferred, ...locked];
    if (end !== 'finished' || again.length === 0) {
      this.#unvisited = [...first.unvisited, ...again];
      return end;
    }
    // If the rows of a table refer to older ones, a chain of dead ones goes from its newest end.
    const second = this.#walk(again, { backwards: true });
    const secondEnd = await this.#run(second);
    this.#obstacles = [...this.#obstacles, ...second.obstacles];
    this.#unvisited = second.unvisited;
    return secondEnd;
  }

  #walk(pieces: readonly Piece[], order: { backwards?: true; defersForeignKeys?: true }): Walk<never> {
    const { condition, brake, stopDeleting, onProgress } = this.#options;
    const deleted = this.#deleted;
    const blocksTotal = blocksOf(pieces);
    const walk = new Walk<never>(
      {
        ...this.#options,
        ...order,
        statement: (piece) => deletion(condition, piece),
        until: stopDeleting,
        pause: async (session) => {
          await deleted.confirmSometimes(session);
          await brake?.release(session, stopDeleting);
        },
        onStatement: (durationMs, done) => {
          this.#batches += 1;
          this.#longestBatchMs = Math.max(this.#longestBatchMs, durationMs);
          if (done) {
            deleted.add(done.result.rowCount ?? 0);
            onProgress?.({ rowsDeleted: deleted.rows, blocksVisited: blocksTotal - walk.blocksPending, blocksTotal });
          }
        },
      },
      pieces,
    );
    return walk;
  }

  async #run(walk: Walk<never>): Promise<WalkEnd> {
    const end = await walk.run().finally(() => this.#deleted.confirm(this.#options.sessions[0]));
    this.#tableLock = walk.isTableLocked ? [TABLE_LOCK] : [];
    return end;
  }

  get #reconnections(): number {
    return this.#options.sessions.reduce((sum, { reconnections }) => sum + reconnections, 0);
  }
}

/** The dead rows that are left, and why. */
interface Remaining {
  /** Absent if they could not be counted. */
  readonly rows: number | undefined;
  /** How many of them the sweep has not met. */
  readonly keptInSilence: number;
  readonly added: readonly Blockage[];
}

/** Unknown if any of them is. */
function sumOf(numbers: readonly (number | undefined)[]): number | undefined {
  return numbers.includes(undefined) ? undefined : numbers.reduce((sum = 0, number = 0) => sum + number, 0);
}

const KEPT_IN_SILENCE = 'a trigger, a rule or a policy that skips rows in silence or writes them back';

function wasRewritten({ files }: WholeTable, aftermath: Aftermath): boolean {
  return Object.entries(aftermath.files).some(([oid, file]) => files.get(Number(oid)) !== file);
}

/** The name of the table leads to another one, or to none. */
class ReplacedError extends Error {
  override readonly name = 'ReplacedError';

  constructor(quotedName: string, cause?: unknown) {
    super(`${quotedName} was replaced or dropped while the sweep was at work`, { cause });
  }
}
