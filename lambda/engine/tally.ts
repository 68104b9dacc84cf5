import type { Deleted } from './deletion';
import { DurableCount } from './durable-count';
import type { StopReason, SweepOutcome } from './outcome';
import { type Cascades, cascadedBy } from './protection';
import type { TableOptions } from './whole-table';

/** Adds up the batches of a sweep, over all its passes. */
export class Tally {
  readonly deleted: DurableCount;
  readonly #maxRows: number;
  /** The foreign keys through which a delete also deletes rows of other tables. */
  readonly #cascades: Cascades;
  readonly #limit = new AbortController();
  /** The rows that each cascade deleted, if they can be counted. */
  #cascaded: readonly number[] = [];
  #batches = 0;
  #longestBatchMs = 0;

  /** @param maxRows how many rows may be deleted, and one batch more */
  constructor({ clock, sessions }: TableOptions, cascades: Cascades, maxRows = Number.POSITIVE_INFINITY) {
    this.#maxRows = maxRows;
    this.#cascades = cascades;
    this.deleted = new DurableCount(clock, sessions);
  }

  /** Aborted once `maxRows` are deleted. */
  get limit(): AbortSignal {
    return this.#limit.signal;
  }

  /** Counts a batch, whether it was committed or undone. */
  addBatch(durationMs: number): void {
    this.#batches += 1;
    this.#longestBatchMs = Math.max(this.#longestBatchMs, durationMs);
  }

  addRows({ rows, cascaded }: Deleted): void {
    this.deleted.add(rows);
    this.#cascaded = this.#cascades.known.map((_, index) => (this.#cascaded[index] ?? 0) + (cascaded[index] ?? 0));
    if (this.deleted.rows >= this.#maxRows) {
      const reason: StopReason = 'max-rows';
      this.#limit.abort(reason);
    }
  }

  get sums(): Pick<SweepOutcome, 'rowsDeleted' | 'batches' | 'longestBatchMs' | 'cascaded'> {
    const cascaded = cascadedBy(this.#cascades, this.#cascaded).filter(
      ({ rows }) => (rows === undefined ? this.deleted.rows : this.#batches) > 0,
    );
    return {
      rowsDeleted: this.deleted.rows,
      batches: this.#batches,
      longestBatchMs: this.#longestBatchMs,
      ...(cascaded.length > 0 && { cascaded }),
    };
  }
}
