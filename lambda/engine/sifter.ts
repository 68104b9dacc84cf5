import type { Condition } from './conditions/condition';
import type { Doomed } from './deletion';
import { FULL_SPEED_BATCH_MS } from './pace/width';
import type { Piece } from './pieces';
import { type Sifted, sifting } from './sifting';

/** The first blocks to sift: a refused row is seldom alone. Twice as many follow after those in which none was refused. */
const FIRST_BLOCKS = 1;

const FIRST_GROUP = 16;

/** Such a statement takes half a millisecond before its first group. */
const GENTLE_BATCH_MS = 1.5;

/** Each takes a transaction id and some 50 µs, and leaves no trace in the server's log. After them the rest is left. */
const MOST_REFUSED = 1_000_000;

/** Decides how a walk sifts: how many blocks at once, and in groups of how many rows. */
export class Sifter {
  readonly #doomed: Doomed;
  readonly #backwards: boolean;
  #blocks = FIRST_BLOCKS;
  #groupSize = FIRST_GROUP;
  #refused = 0;

  constructor(doomed: Doomed, backwards: boolean) {
    this.#doomed = doomed;
    this.#backwards = backwards;
  }

  /** The most blocks for the next statement. */
  get width(): number {
    return this.#blocks;
  }

  /** Whether so many rows were refused that the rest of the table has to wait for another run. */
  get isExhausted(): boolean {
    return this.#refused >= MOST_REFUSED;
  }

  /** @param isAlone whether no other session is at work */
  statement(piece: Piece, isAlone: boolean): Condition {
    const ms = isAlone ? FULL_SPEED_BATCH_MS : GENTLE_BATCH_MS;
    const options = { size: this.#groupSize, backwards: this.#backwards, ms };
    return { text: sifting(this.#doomed, piece, options), values: [] };
  }

  /** Makes the groups smaller after one that took too long. Returns whether that was possible. */
  shrink(): boolean {
    const before = this.#groupSize;
    this.#groupSize = Math.max(1, Math.floor(before / 4));
    return this.#groupSize < before;
  }

  /** Learns from the result for a piece. Returns the part that was visited and, if there is one, the rest. */
  split(piece: Piece, { border, isFinished, size, undone, refused }: Sifted): [Piece, Piece?] {
    this.#groupSize = size;
    this.#blocks = isFinished && undone === 0 ? 2 * this.#blocks : FIRST_BLOCKS;
    this.#refused += refused.length;
    if (isFinished) {
      return [piece];
    }
    const [first, second] = border === null ? piece.splitAt(piece.blocks) : piece.splitBefore(border);
    return this.#backwards ? [second, first] : [first, second];
  }
}
