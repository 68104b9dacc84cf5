import type { Statement } from '../database/queryable';
import type { PaceReport } from '../pace/pace-report';
import type { Turns } from '../pace/turns';
import type { ReferringKey } from '../preflight/referring-key';
import { type Aftermath, aftermathOf, type Root } from './aftermath';
import type { DeathCondition, Recheck } from './condition';
import { type Deleted, deletedIn, deletion } from './deletion';
import { DurableCount } from './durable-count';
import { KeptRows } from './kept-rows';
import {
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
import { cascadesOf, type Path, type Protections, protectionsOf } from './protection';
import { isMissing } from './relation';
import { type Remaining, remainingRows } from './remaining';
import type { ReplicaLagBrake } from './replica-lag';
import { Walk, type WalkOptions } from './walk';
import { SMALL_TABLE_BLOCKS, type TableOptions, type WholeTable, wholeTable } from './whole-table';

export interface SweepOptions extends TableOptions {
  readonly condition: DeathCondition;
  /** The table whose relations are swept. */
  readonly root: Root;
  /** The foreign keys that point at it. */
  readonly keys: readonly ReferringKey[];
  /** Whether some of the relations are children by INHERITS. */
  readonly isInherited: boolean;
  readonly turns: Turns;
  /** Opens the connections besides the first. */
  readonly openFurther?: () => Promise<void>;
  readonly brake?: ReplicaLagBrake | undefined;
  /** A share of the table, below one: ranges are visited from there on, if some may have to be left. */
  readonly startAt: number;
  /** How many rows may be deleted, and one batch more. */
  readonly maxRows?: number | undefined;
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
 * policy may keep rows in silence and a count finds some. Never throws: an error is kept along with what was done until
 * then.
 */
export class Sweep {
  readonly #options: SweepOptions;
  readonly #protections: Protections;
  readonly #cascades: readonly Path[];
  readonly #deleted: DurableCount;
  readonly #cascaded = new Map<string, number>();
  readonly #maxRowsReached = new AbortController();
  readonly #stop: AbortSignal;
  #batches = 0;
  #longestBatchMs = 0;
  /** What the last pass left: the rows in the way, those that are protected, and what it did not visit. */
  #obstacles: readonly Obstacle[] = [];
  readonly #kept: KeptRows;
  #unvisited: readonly Piece[] = [];
  #isTableLocked = false;
  #files: WholeTable['files'] = new Map();
  #end: Partial<SweepOutcome> = {};
  #pace: PaceReport | undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
    this.#protections = protectionsOf(options.keys, options.isInherited);
    this.#kept = new KeptRows(this.#protections.known);
    this.#cascades = cascadesOf(options.keys).filter((path) => path.every(({ canRead }) => canRead));
    this.#deleted = new DurableCount(options.clock, options.sessions);
    this.#stop = AbortSignal.any([options.stopDeleting, this.#maxRowsReached.signal]);
  }

  async run(): Promise<void> {
    await this.#guard(() => this.#sweep());
    this.#pace = this.#options.turns.report();
  }

  /** Whether it left rows only because rows of one of these tables refer to them. */
  waitsFor(oids: ReadonlySet<number>): boolean {
    const visitedAll = this.#end.error === undefined && this.#unvisited.length === 0 && !this.#stop.aborted;
    return visitedAll && this.#kept.isKeptBy(oids);
  }

  /** Tries those again, once rows of these tables are gone. */
  async runAgain(oids: ReadonlySet<number>): Promise<void> {
    const again = this.#kept.takeKeptBy(oids);
    await this.#guard(async () => {
      const before = this.#state(this.#files);
      const end = await this.#rounds(again);
      return (await this.#conclude(end, before, true)) ?? {};
    });
  }

  get rowsDeleted(): number {
    return this.#deleted.rows;
  }

  get outcome(): SweepOutcome {
    const cascaded = [...this.#cascaded].map(([table, rows]) => ({ table, rows }));
    return {
      blockedBy: [],
      ...this.#end,
      rowsDeleted: this.#deleted.rows,
      batches: this.#batches,
      longestBatchMs: this.#longestBatchMs,
      ...(cascaded.length > 0 && { cascaded }),
      ...(this.#pace && { pace: this.#pace }),
    };
  }

  async #guard(work: () => Promise<Partial<SweepOutcome>>): Promise<void> {
    const { root, stopCounting } = this.#options;
    try {
      this.#end = await work();
    } catch (error) {
      const isReplaced = isMissing(error) && (await this.#aftermath().catch(() => undefined))?.isReplaced;
      this.#end = endBy(isReplaced ? new ReplacedError(root.quotedName, error) : error, stopCounting);
    }
  }

  async #sweep(): Promise<Partial<SweepOutcome>> {
    for (let pass = 1; ; pass += 1) {
      const table = await wholeTable(this.#options);
      if (blocksOf(table.pieces) > SMALL_TABLE_BLOCKS) {
        await this.#options.openFurther?.();
      }
      if (pass === 1 && blocksOf(table.pieces) > 0) {
        await this.#options.turns.commit(() => this.#deleted.begin(this.#options.sessions[0]));
      }
      const before = this.#state(table.files);
      this.#obstacles = [];
      this.#kept.clear();
      const end = await this.#rounds(this.#rotated(table));
      const outcome = await this.#conclude(end, before, pass === MAX_PASSES);
      if (outcome) {
        return outcome;
      }
    }
  }

  /** What a pass is compared with at its end. */
  #state(files: WholeTable['files']): State {
    this.#files = files;
    return { rowsDeleted: this.#deleted.rows, reconnections: this.#reconnections };
  }

  /** What came of a pass; nothing if another one is needed. */
  async #conclude(
    end: WalkEnd,
    { rowsDeleted, reconnections }: State,
    isLast: boolean,
  ): Promise<Partial<SweepOutcome> | undefined> {
    const aftermath = await this.#aftermath();
    if (aftermath.isReplaced) {
      throw new ReplacedError(this.#options.root.quotedName);
    }
    const goesOn = end === 'finished' && !isLast;
    const mayBeBack = this.#reconnections > reconnections || wasRewritten(this.#files, aftermath);
    if (mayBeBack && goesOn) {
      return undefined;
    }
    const remaining = await remainingRows(this.#options, {
      obstacles: this.#obstacles,
      unvisited: this.#unvisited,
      protectedRows: this.#kept.rows,
      added: aftermath.added,
      mayHideMore: mayBeBack || aftermath.mayKeepInSilence || this.#movesOwnRows,
    });
    if (remaining.unmet > 0 && this.#deleted.rows > rowsDeleted && goesOn) {
      return undefined;
    }
    return this.#outcomeOf(end, remaining);
  }

  async #aftermath(): Promise<Aftermath> {
    const { sessions, root, relations } = this.#options;
    return await aftermathOf(sessions[0], root, relations);
  }

  #outcomeOf(end: WalkEnd, { rows, unmet, added }: Remaining): Partial<SweepOutcome> {
    const { brake, stopCounting } = this.#options;
    if (end === 'finished' && rows === 0) {
      return { stopReason: 'drained', rowsRemaining: 0 };
    }
    const isBraked = end === 'stopped' && brake?.engaged && !this.#maxRowsReached.signal.aborted;
    const isUncounted = end === 'finished' && rows === undefined && stopCounting.aborted;
    return {
      stopReason: isBraked ? 'replica-lag' : isUncounted ? stopCounting.reason : reasonOf(end, this.#stop),
      ...(rows !== undefined && { rowsRemaining: rows }),
      blockedBy: [
        ...this.#kept.blockages,
        ...blockagesOf(this.#obstacles),
        ...(this.#isTableLocked ? [TABLE_LOCK] : []),
        ...(unmet > 0 && end === 'finished' ? [{ reason: KEPT_IN_SILENCE, rows: unmet }] : []),
        ...added,
      ],
    };
  }

  /**
   * Visits pieces, then those that are worth it once more, the other way round: if the rows of a table refer to older
   * ones, a chain of dead ones goes from its newest end.
   */
  async #rounds(pieces: readonly Piece[]): Promise<WalkEnd> {
    let walk = this.#walk(pieces, { defersForeignKeys: true });
    let end = await this.#run(walk);
    const locked = walk.obstacles.filter(({ passing }) => passing).map(({ piece }) => piece);
    this.#obstacles = [...this.#obstacles, ...walk.obstacles.filter(({ passing }) => !passing)];
    if (locked.length > 0 && end === 'finished') {
      await this.#options.clock.sleep(LOCK_GRACE_MS, this.#stop);
    }
    let again = [...walk.deferred, ...locked, ...this.#kept.takeWaiting()];
    for (let backwards = true; end === 'finished' && again.length > 0; backwards = !backwards) {
      const deletedBefore = this.#deleted.rows;
      walk = this.#walk(backwards ? again : again.reverse(), { backwards });
      end = await this.#run(walk);
      this.#obstacles = [...this.#obstacles, ...walk.obstacles];
      again = this.#deleted.rows > deletedBefore && end === 'finished' ? this.#kept.takeWaiting() : [];
    }
    this.#unvisited = [...walk.unvisited, ...(end === 'finished' ? [] : again)];
    return end;
  }

  #walk(pieces: readonly Piece[], order: Pick<WalkOptions<Deleted>, 'backwards' | 'defersForeignKeys'>): Walk<Deleted> {
    const { sessions, condition, turns, brake, maxRows, onProgress } = this.#options;
    const { isolation, recheck } = condition;
    const deleted = this.#deleted;
    const doomed = { condition, protections: this.#protections.known, cascades: this.#cascades };
    const blocksTotal = blocksOf(pieces);
    const walk = new Walk<Deleted>(
      {
        ...this.#options,
        ...order,
        // Several would exceed the limit by a batch each.
        sessions: maxRows === undefined ? sessions : [sessions[0]],
        statement: (piece) => deletion(doomed, piece),
        rowsIn: (result) => deletedIn(result).rows,
        isolation,
        check: recheck && ((results) => recheckOf(recheck, results as Deleted[])),
        until: this.#stop,
        pause: async (session) => {
          await turns.commit(() => deleted.confirmSometimes(session));
          await brake?.release(session, this.#stop);
        },
        flush: (session) => deleted.confirm(session),
        onStatement: (durationMs, done) => {
          this.#batches += 1;
          this.#longestBatchMs = Math.max(this.#longestBatchMs, durationMs);
          if (done) {
            this.#add(done.piece, deletedIn(done.result));
            onProgress?.({ rowsDeleted: deleted.rows, blocksVisited: blocksTotal - walk.blocksPending, blocksTotal });
          }
        },
      },
      pieces,
    );
    return walk;
  }

  #add(piece: Piece, { rows, kept, cascaded }: Deleted): void {
    const { maxRows } = this.#options;
    this.#deleted.add(rows);
    this.#kept.add(piece, kept);
    this.#cascades.forEach((path, index) => {
      const table = path.at(-1)?.quotedTable ?? '';
      this.#cascaded.set(table, (this.#cascaded.get(table) ?? 0) + (cascaded[index] ?? 0));
    });
    if (maxRows !== undefined && this.#deleted.rows >= maxRows) {
      const reason: StopReason = 'max-rows';
      this.#maxRowsReached.abort(reason);
    }
  }

  async #run(walk: Walk<Deleted>): Promise<WalkEnd> {
    const { sessions, turns } = this.#options;
    const end = await walk.run().finally(() => turns.commit(() => this.#deleted.confirm(sessions[0])));
    this.#isTableLocked = walk.isTableLocked;
    return end;
  }

  /** If not every range can be tried, each night begins elsewhere. */
  #rotated({ pieces, mayRefuse }: WholeTable): readonly Piece[] {
    if (!mayRefuse && !this.#protections.areIncomplete) {
      return pieces;
    }
    const parts = pieces.map((piece) => piece.splitAt(Math.floor(piece.blocks * this.#options.startAt)));
    return [...parts.map(([, last]) => last), ...parts.map(([first]) => first)];
  }

  /** Whether deleting a row changes others of the table, dead ones among them: a changed row gets another place. */
  get #movesOwnRows(): boolean {
    return this.#options.keys.some(({ isSelf, onDelete }) => isSelf && ['set null', 'set default'].includes(onDelete));
  }

  get #reconnections(): number {
    return this.#options.sessions.reduce((sum, { reconnections }) => sum + reconnections, 0);
  }
}

const KEPT_IN_SILENCE = 'a trigger, a rule or a policy that skips rows in silence or writes them back';

interface State {
  readonly rowsDeleted: number;
  readonly reconnections: number;
}

function wasRewritten(files: WholeTable['files'], aftermath: Aftermath): boolean {
  return Object.entries(aftermath.files).some(([oid, file]) => files.get(Number(oid)) !== file);
}

/** The name of the table leads to another one, or to none. */
class ReplacedError extends Error {
  override readonly name = 'ReplacedError';

  constructor(quotedName: string, cause?: unknown) {
    super(`${quotedName} was replaced or dropped while the sweep was at work`, { cause });
  }
}

function recheckOf(recheck: Recheck, [deleted]: readonly Deleted[]): Statement | undefined {
  return deleted?.rechecked ? recheck.statement(deleted.rechecked) : undefined;
}
