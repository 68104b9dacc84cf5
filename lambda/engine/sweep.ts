import { type Aftermath, aftermathOf, alteration, replaced, wasRewritten } from './aftermath';
import { isMissing, type Root } from './conditions/relation';
import type { Doomed } from './deletion';
import { blockagesOf, endBy, reasonOf, type SweepOutcome, TABLE_LOCK, type WalkEnd } from './outcome';
import type { PaceReport } from './pace/pace-report';
import { Pass, type PassOptions } from './pass';
import { blocksOf, type Piece } from './pieces';
import { cascadesOf, type Protections, protectionsOf } from './protection';
import { type Remaining, remainingRows } from './remaining';
import { Tally } from './tally';
import { SMALL_TABLE_BLOCKS, type WholeTable, wholeTable } from './whole-table';

export interface SweepOptions extends PassOptions {
  /** The table whose relations are swept. */
  readonly root: Root;
  /** Whether some of the relations are children by INHERITS. */
  readonly isInherited: boolean;
  /** Opens the connections besides the first. */
  readonly openFurther?: () => Promise<void>;
  /** A share of the table, below one: ranges are visited from there on, if some may have to be left. */
  readonly startAt: number;
  /** Ends the deleting. Its reason is a stop reason. */
  readonly stopDeleting: AbortSignal;
  /** Called if the table is dropped in the meantime. Without it, that is an error. */
  readonly onDropped?: (() => void) | undefined;
}

/** Enough for what a crash or a trigger brought back. */
const MAX_PASSES = 3;

/**
 * Deletes the dead rows of a table.
 *
 * A pass visits the blocks that the table has when it begins, and at its end the rows that were in the way. Another pass
 * follows only if rows may be back: after a lost connection, after the table was rewritten, or if a trigger, a rule or a
 * policy may silently keep rows and a count finds some. Never throws: an error is kept along with the counts.
 */
export class Sweep {
  readonly #options: SweepOptions;
  readonly #protections: Protections;
  readonly #doomed: Doomed;
  readonly #tally: Tally;
  readonly #stop: AbortSignal;
  #pass: Pass;
  #files: WholeTable['files'] = new Map();
  #end: Partial<SweepOutcome> = {};
  #pace: PaceReport | undefined;

  constructor(options: SweepOptions) {
    const { condition, keys, isInherited, stopDeleting } = options;
    const cascades = cascadesOf(keys);
    this.#options = options;
    this.#protections = protectionsOf(keys, isInherited);
    this.#doomed = { condition, protections: this.#protections.known, cascades: cascades.known };
    this.#tally = new Tally(options, cascades, options.maxRows);
    this.#stop = AbortSignal.any([stopDeleting, this.#tally.limit]);
    this.#pass = this.#newPass();
  }

  async run(): Promise<void> {
    const { stopCounting } = this.#options;
    if (stopCounting.aborted) {
      // A round trip for each of thousands of tables would take longer than is left.
      this.#end = { stopReason: stopCounting.reason };
      return;
    }
    await this.#guard(() => this.#sweep());
    this.#pace = this.#options.turns.report();
  }

  /** Whether it left rows only because rows of one of these tables refer to them. */
  waitsFor(oids: ReadonlySet<number>): boolean {
    const visitedAll = this.#end.error === undefined && this.#pass.unvisited.length === 0 && !this.#stop.aborted;
    return visitedAll && this.#pass.kept.isKeptBy(oids);
  }

  /** Tries those rows again, after rows of these tables were deleted. */
  async runAgain(oids: ReadonlySet<number>): Promise<void> {
    const again = this.#pass.kept.takeKeptBy(oids);
    await this.#guard(async () => (await this.#visit(again, true)) ?? {});
  }

  get rowsDeleted(): number {
    return this.#tally.deleted.rows;
  }

  get outcome(): SweepOutcome {
    return { blockedBy: [], ...this.#end, ...this.#tally.sums, ...(this.#pace && { pace: this.#pace }) };
  }

  async #guard(work: () => Promise<Partial<SweepOutcome>>): Promise<void> {
    const { stopCounting } = this.#options;
    try {
      this.#end = await work();
    } catch (error) {
      const aftermath = isMissing(error) ? await aftermathOf(this.#options).catch(() => undefined) : undefined;
      this.#end = aftermath?.isReplaced ? this.#replaced(aftermath, error) : endBy(error, stopCounting);
    }
  }

  #replaced({ isGone }: Aftermath, cause?: unknown): Partial<SweepOutcome> {
    const { root, onDropped } = this.#options;
    if (isGone && onDropped) {
      onDropped();
      return DRAINED;
    }
    return { error: replaced(root.quotedName, cause) };
  }

  async #sweep(): Promise<Partial<SweepOutcome>> {
    const { sessions, turns, openFurther } = this.#options;
    for (let number = 1; ; number += 1) {
      const [table] = await Promise.all([
        wholeTable(this.#options),
        number === 1 ? turns.commit(() => this.#tally.deleted.begin(sessions[0])) : undefined,
      ]);
      if (blocksOf(table.pieces) > SMALL_TABLE_BLOCKS) {
        await openFurther?.();
      }
      this.#files = table.files;
      this.#pass = this.#newPass();
      const outcome = await this.#visit(this.#rotated(table), number === MAX_PASSES);
      if (outcome) {
        return outcome;
      }
    }
  }

  #newPass(): Pass {
    return new Pass(this.#options, this.#doomed, this.#tally, this.#stop);
  }

  /** Visits pieces. Returns the outcome; undefined if another pass is needed. */
  async #visit(pieces: readonly Piece[], isLast: boolean): Promise<Partial<SweepOutcome> | undefined> {
    const { deleted } = this.#tally;
    const { rows, reconnections } = deleted;
    const end = await this.#pass.visit(pieces);
    const aftermath = await aftermathOf(this.#options);
    if (aftermath.isReplaced) {
      return this.#replaced(aftermath);
    }
    const altered = alteration(aftermath);
    if (altered) {
      return { error: altered };
    }
    const goesOn = end === 'finished' && !isLast;
    const mayBeBack = deleted.reconnections > reconnections || wasRewritten(this.#files, aftermath);
    if (mayBeBack && goesOn) {
      return undefined;
    }
    const mayHideMore = mayBeBack || aftermath.mayKeepInSilence || this.#movesOwnRows;
    const remaining = await remainingRows(this.#options, this.#pass, aftermath.added, mayHideMore);
    if (remaining.unmet > 0 && deleted.rows > rows && goesOn) {
      return undefined;
    }
    return this.#outcomeOf(end, remaining);
  }

  #outcomeOf(end: WalkEnd, { rows, unmet, added }: Remaining): Partial<SweepOutcome> {
    const { brake, stopCounting } = this.#options;
    if (end === 'finished' && rows === 0) {
      return DRAINED;
    }
    const isBraked = end === 'stopped' && brake?.engaged && !this.#tally.limit.aborted;
    const isUncounted = end === 'finished' && rows === undefined && stopCounting.aborted;
    const { kept, obstacles, isTableLocked } = this.#pass;
    return {
      stopReason: isBraked ? 'replica-lag' : isUncounted ? stopCounting.reason : reasonOf(end, this.#stop),
      ...(rows !== undefined && { rowsRemaining: rows }),
      blockedBy: [
        ...kept.blockages,
        ...blockagesOf(obstacles),
        ...(isTableLocked ? [TABLE_LOCK] : []),
        ...(unmet > 0 && end === 'finished' ? [{ reason: KEPT_IN_SILENCE, rows: unmet }] : []),
        ...added,
      ],
    };
  }

  /** If there may be no time for all ranges, each night begins elsewhere. */
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
}

const DRAINED = { stopReason: 'drained', rowsRemaining: 0 } as const;

const KEPT_IN_SILENCE = 'a trigger, a rule or a policy that silently skips rows or writes them back';
