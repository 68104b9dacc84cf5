/** Work on one range of blocks. */
export interface Batch {
  readonly blocks: number;
  /** The number of changed rows. */
  readonly rows: number;
  /** Whether the server rolled it back: it was slow, or a row was in the way. */
  readonly undone: boolean;
  /** The time that the server worked: without the network, and without a lock wait that ended in a timeout. */
  readonly workedMs: number;
}

/**
 * The target time of a batch while a run is alone. Measured: a longer one fills the buffers of the server's log and has to
 * write them itself; a shorter one gains nothing.
 */
export const FULL_SPEED_BATCH_MS = 10;

/** Deleting a row that foreign keys point at takes ten times as long, or more. */
export const FIRST_WIDTH_WITH_KEYS_BLOCKS = 4;

/** A fast statement does not prove that one twice as wide is fast: the width grows slowly and shrinks quickly. */
const GREATEST_GROWTH = 2;

/** From this multiple of the expected time, a statement may have waited for a row lock. */
const DOUBTFUL_MULTIPLE = 3;

/** Longer than any lock wait (`lock_timeout` is 25 ms): from here on it was work. */
const LONGEST_LOCK_WAIT_MS = 30;

/** Adapts the number of blocks in a range to the time that a batch should take. */
export class Width {
  #blocks: number;
  #msPerBlock: number | undefined;
  /** The width to return to if one slow batch turns out to be an exception. */
  #doubted: number | undefined;

  constructor(blocks: number) {
    this.#blocks = blocks;
  }

  get blocks(): number {
    return Math.max(1, Math.round(this.#blocks));
  }

  /** Narrows the next batch to at most so many blocks. */
  limit(blocks: number): void {
    this.#blocks = Math.min(this.#blocks, blocks);
  }

  /**
   * Learns from a batch.
   *
   * A success may hide a lock wait, which the server reports nowhere. So one batch that is slow beyond expectation only
   * halves the width; the next one decides whether it was work.
   *
   * @returns the time to rest from: less than the batch took if that is in doubt
   */
  learn({ blocks, undone, workedMs }: Batch, targetMs: number): number {
    if (blocks < 1 || (undone && workedMs <= targetMs)) {
      return workedMs; // the walk searches for a row that is in the way
    }
    const expectedMs = this.#msPerBlock === undefined ? workedMs : this.#msPerBlock * blocks;
    const excessMs = workedMs - expectedMs;
    const slow = workedMs > DOUBTFUL_MULTIPLE * expectedMs && workedMs > targetMs;
    if (slow && excessMs < LONGEST_LOCK_WAIT_MS && this.#doubted === undefined) {
      this.#doubted = this.#blocks;
      this.#blocks = Math.max(1, blocks / 2);
      return Math.max(expectedMs, targetMs);
    }
    const restored = slow ? undefined : this.#doubted;
    this.#doubted = undefined;
    this.#msPerBlock = workedMs / blocks;
    if (restored !== undefined) {
      this.#blocks = restored;
    } else if (blocks >= this.blocks || workedMs > targetMs) {
      // The rest of a table, or half of a range, may be fast for being short; that is no reason to narrow the next.
      this.#blocks = Math.max(1, blocks * Math.min(targetMs / workedMs, GREATEST_GROWTH));
    }
    return workedMs;
  }
}
