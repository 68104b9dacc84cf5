import type { Clock } from '../clock';
import type { Queryable } from '../database/queryable';
import type { Deleted } from './deletion';
import { DurableCount } from './durable-count';
import type { StopReason, SweepOutcome } from './outcome';
import { type Cascades, cascadedBy } from './protection';

export interface TallyOptions {
  readonly clock: Clock;
  /** All sessions that delete. */
  readonly sessions: readonly Queryable[];
  /** The foreign keys through which a delete also deletes rows of other tables. */
  readonly cascades: Cascades;
  /** How many rows may be deleted, and one batch more. */
  readonly maxRows?: number | undefined;
}

/** Adds up the batches of a sweep, over all its passes. */
export class Tally {
  readonly deleted: DurableCount;
  readonly #options: TallyOptions;
  readonly #limit = new AbortController();
  /** The rows that each cascade deleted, if they can be counted. */
  #cascaded: readonly number[] = [];
  #batches = 0;
  #longestBatchMs = 0;

  constructor(options: TallyOptions) {
    this.#options = options;
    this.deleted = new DurableCount(options.clock, options.sessions);
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
    const { cascades, maxRows } = this.#options;
    this.deleted.add(rows);
    this.#cascaded = cascades.known.map((_, index) => (this.#cascaded[index] ?? 0) + (cascaded[index] ?? 0));
    if (maxRows !== undefined && this.deleted.rows >= maxRows) {
      const reason: StopReason = 'max-rows';
      this.#limit.abort(reason);
    }
  }

  get sums(): Pick<SweepOutcome, 'rowsDeleted' | 'batches' | 'longestBatchMs' | 'cascaded'> {
    const cascaded = cascadedBy(this.#options.cascades, this.#cascaded).filter(
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
