import type { Look } from './others';
import { type PaceReport, type PaceState, REASONS, Times } from './pace-report';
import { type Batch, FIRST_WIDTH_WITH_KEYS_BLOCKS, FULL_SPEED_BATCH_MS, Width } from './width';

/** Signs of other sessions on the server. */
export interface Signs extends Pick<Look, 'unflushedBytes' | 'deadTuplesPileUp' | 'workedMs'> {
  /** Whether other sessions worked since the last look; true if that cannot be read. */
  readonly othersWorked: boolean;
}

/** The interval of the looks while a run is alone. Beside others, it looks before every batch. */
const LOOK_INTERVAL_MS = 25;

/** The first looks follow each other closely, so that few batches are wide before a service is seen. */
const FIRST_LOOKS = 8;

/** After a sign of a service, a run assumes for this long that the service is active. */
const OTHERS_STAY_MS = 5_000;

/**
 * The share of time to work beside others. Measured beside a service of 300 transactions a second: 5 % in batches of 1 ms
 * leave its p99 at 1.06 times what it is alone; from 10 % on it is 1.7 times. The further steps are for a run that would
 * not be done in time.
 */
const SHARES = [0.05, 0.1, 0.2, 0.35, 0.5] as const;

/** The time between two steps. */
const STEP_INTERVAL_MS = 1_000;

/** The part of the time left that work should fill: the estimate is no better than that. */
const PLANNED_PART = 0.8;

/** The time that a batch aims at beside others, and if the deadline demands more than the first share. */
const GENTLE_BATCH_MS = 1;
const HURRIED_BATCH_MS = 2;

/**
 * The most blocks that a batch changes beside others. After a checkpoint each is logged as a whole, which makes 64 kB and
 * the rows: a volume of 125 MB/s writes that in little more than half a millisecond, and the service's next commit waits
 * for it. Twice as many are hardly faster, since a batch is then as long as it should be anyway.
 */
const MOST_CHANGED_BLOCKS = 8;

/** The log that such a volume writes in 1 ms. If more of the log waits, a batch would add to what a commit has to wait for. */
const MOST_UNFLUSHED_BYTES = 125_000;

/** The most blocks of a batch beside others if few hold dead rows: behind them may be one that is full of them. */
const MOST_GENTLE_BLOCKS = 128;

/** A look takes less if it does not wait for a processor. */
const LONGEST_LOOK_MS = 1;

/**
 * What counts at least of the time that a batch took, however long statements wait for a processor: enough for a rest of
 * 12 ms, and so little that a batch of one block grows to two.
 */
const LEAST_BATCH_MS = 0.6;

/** A batch begins at least this often. */
const LONGEST_GENTLE_INTERVAL_MS = 2_000;

/** How fast the estimates follow: the last batch counts for this much. */
const SMOOTHING = 0.05;

/** Some 2,000 dead rows of a token table of which half is dead; from there the width adapts. */
const FIRST_FIXED_WIDTH_BLOCKS = 64;

/** The server ends our sessions after two idle minutes. */
const LONGEST_REST_MS = 60_000;

/**
 * Decides when the next batch of a run may begin and how wide it is. Keeps neither a clock nor a connection.
 *
 * The automatic pace is full speed while no other session is active; beside others, it is short batches and 5 % of the
 * time, unless the deadline demands more. The shares are those of the run: beside others its connections take turns. A
 * fixed pace does not look at others, and is a share of the time of each connection.
 */
export class Pace {
  readonly #maxLoad: number | undefined;
  #width: Width;
  #times = new Times();
  /** When the next batch of a connection may begin at a fixed pace. */
  readonly #nextOf = new WeakMap<object, number>();
  #looks = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #othersAt = Number.NEGATIVE_INFINITY;
  #begunAt = Number.NEGATIVE_INFINITY;
  #endedAt = Number.NEGATIVE_INFINITY;
  /** When the next batch may begin beside others. */
  #nextAt = Number.NEGATIVE_INFINITY;
  #underWay = 0;
  #lookMs = 0;
  #fastestLookMs = LONGEST_LOOK_MS;
  /** How long statements wait for a processor. */
  #queueMs = 0;
  #flushIsDue = false;
  #pilingUp = false;
  #step = 0;
  #steppedAt = Number.NEGATIVE_INFINITY;
  #msPerBlock: number | undefined;
  /** The part of the blocks in which rows were deleted. */
  #changedPart = 1;

  /** @param maxLoad the share of a fixed pace, above 0 up to 1; absent for the automatic one */
  constructor(maxLoad?: number) {
    this.#maxLoad = maxLoad;
    this.#width = this.#firstWidth(false);
  }

  /** Whether the connections of a run share the pace, so that each waits for those before it. */
  get shared(): boolean {
    return this.#maxLoad === undefined;
  }

  /** Blocks for the next batch. */
  get width(): number {
    return this.#width.blocks;
  }

  /** Whether log should be flushed before the next batch, so that no commit of the service has to do it. */
  get flushIsDue(): boolean {
    return this.#flushIsDue;
  }

  /**
   * Begins a table. The pace forgets the batches of the previous one.
   *
   * @param hasKeys whether foreign keys point at it
   */
  start(now: number, hasKeys: boolean): void {
    this.#width = this.#firstWidth(hasKeys);
    this.#times = new Times();
    this.#times.tick(now, this.#state(now));
    this.#msPerBlock = undefined;
    this.#changedPart = 1;
  }

  /** Whether to look at the other sessions before the next batch. */
  lookIsDue(now: number): boolean {
    if (!this.shared) {
      return false;
    }
    if (this.#looks < FIRST_LOOKS || this.#besideOthers(now)) {
      return this.#lookedAt <= this.#endedAt || this.#looks === 0;
    }
    return now - this.#lookedAt >= LOOK_INTERVAL_MS;
  }

  /** Takes note of a look at the other sessions. */
  see({ othersWorked, unflushedBytes, deadTuplesPileUp, workedMs }: Signs, now: number): void {
    this.#times.tick(now, this.#state(now));
    const wasAlone = !this.#besideOthers(now);
    this.#looks += 1;
    this.#lookedAt = now;
    // A look does the same each time, and reads no disk: if it takes longer than another, it waited for a processor.
    this.#fastestLookMs = Math.min(this.#fastestLookMs, workedMs);
    const excessMs = workedMs - this.#fastestLookMs;
    const waitedMs = excessMs > LONGEST_LOOK_MS ? excessMs : 0;
    this.#queueMs = Math.max(waitedMs, follow(this.#queueMs, waitedMs));
    this.#lookMs += Math.min(workedMs, LONGEST_LOOK_MS);
    if (othersWorked) {
      this.#othersAt = now;
    }
    this.#pilingUp = deadTuplesPileUp;
    const beside = this.#besideOthers(now);
    this.#flushIsDue = beside && unflushedBytes > MOST_UNFLUSHED_BYTES;
    if (beside && wasAlone) {
      this.#step = 0;
      this.#steppedAt = now;
    }
    if (beside) {
      this.#limitWidth();
    }
  }

  /** Takes note of the work that is left, and of the time until the run stops deleting. */
  plan(blocksLeft: number, msLeft: number, now: number): void {
    if (this.#msPerBlock === undefined || !this.#besideOthers(now) || now - this.#steppedAt < STEP_INTERVAL_MS) {
      return;
    }
    const needed = (blocksLeft * this.#msPerBlock) / (msLeft * PLANNED_PART);
    const [lower, share] = [SHARES[this.#step - 1], SHARES[this.#step]];
    const change = needed > (share ?? 1) ? 1 : lower !== undefined && needed < lower * PLANNED_PART ? -1 : 0;
    this.#step = Math.min(this.#step + change, SHARES.length - 1);
    this.#steppedAt = now;
  }

  /**
   * The time to wait before the next batch of a connection, in milliseconds; 0 if it may begin, and Infinity if another
   * batch has to end first.
   */
  restMs(connection: object, now: number): number {
    if (!this.#besideOthers(now)) {
      return Math.max(0, (this.#nextOf.get(connection) ?? now) - now);
    }
    return this.#underWay > 0 ? Number.POSITIVE_INFINITY : Math.max(0, this.#nextAt - now);
  }

  begin(now: number): void {
    this.#times.tick(now, this.#state(now));
    this.#begunAt = now;
    this.#underWay += 1;
  }

  end(connection: object, batch: Batch, now: number): void {
    const { blocks, rows } = batch;
    this.#underWay -= 1;
    this.#endedAt = now;
    const beside = this.#besideOthers(now);
    const workedMs = Math.max(batch.workedMs - this.#queueMs, Math.min(batch.workedMs, LEAST_BATCH_MS));
    const restFromMs = this.#width.learn({ ...batch, workedMs }, this.#targetMs(now));
    const restMs = restFromMs * (1 / (this.#maxLoad ?? 1) - 1);
    this.#nextOf.set(connection, now + Math.min(restMs, LONGEST_REST_MS));
    // Beside others the rest counts from the beginning of the batch: the network is a rest, too.
    const costMs = restFromMs + this.#lookMs;
    const paidFrom = Math.max(beside ? this.#nextAt : Number.NEGATIVE_INFINITY, this.#begunAt);
    this.#nextAt = Math.min(paidFrom + costMs / this.#share, this.#begunAt + LONGEST_GENTLE_INTERVAL_MS);
    this.#times.work(workedMs + this.#lookMs, now, this.#state(now));
    this.#lookMs = 0;
    if (blocks >= 1 && !batch.undone) {
      const msPerBlock = costMs / blocks;
      this.#msPerBlock = follow(this.#msPerBlock ?? msPerBlock, msPerBlock);
      const changedPart = Math.min(rows, blocks) / blocks;
      // Up at once, down slowly: a batch that changes too much does harm, one that changes too little does not.
      this.#changedPart = Math.max(changedPart, follow(this.#changedPart, changedPart));
    }
    if (beside) {
      this.#limitWidth();
    }
  }

  /** The sum of the shares of time that the connections may work, at most their number. */
  load(connections: number, now: number): number {
    return this.#besideOthers(now) ? this.#share : connections * (this.#maxLoad ?? 1);
  }

  /** The reason for the current pace. */
  reason(now: number): string {
    return this.shared ? REASONS[this.#state(now)] : `maxLoad is ${this.#maxLoad}`;
  }

  /** A report on the time since the table was begun; undefined if there was no batch. */
  report(now: number): PaceReport | undefined {
    const report = this.#times.report(now);
    return report && { ...report, ...(!this.shared && { reason: this.reason(now) }) };
  }

  #besideOthers(now: number): boolean {
    return now - this.#othersAt < OTHERS_STAY_MS;
  }

  get #share(): number {
    const share = SHARES[this.#step] ?? 1;
    // Autovacuum gets time to catch up, unless the deadline leaves none.
    return this.#pilingUp && this.#step === 0 ? share / 2 : share;
  }

  #targetMs(now: number): number {
    if (!this.#besideOthers(now)) {
      return FULL_SPEED_BATCH_MS;
    }
    return this.#step === 0 ? GENTLE_BATCH_MS : HURRIED_BATCH_MS;
  }

  #firstWidth(hasKeys: boolean): Width {
    const blocks = this.shared ? MOST_CHANGED_BLOCKS : FIRST_FIXED_WIDTH_BLOCKS;
    return new Width(hasKeys ? FIRST_WIDTH_WITH_KEYS_BLOCKS : blocks);
  }

  #limitWidth(): void {
    const unchanged = MOST_CHANGED_BLOCKS / Math.max(this.#changedPart, Number.EPSILON);
    this.#width.limit(Math.min(unchanged, MOST_GENTLE_BLOCKS));
  }

  #state(now: number): PaceState {
    if (!this.#besideOthers(now)) {
      return 'alone';
    }
    if (this.#step > 0) {
      return 'hurried';
    }
    return this.#pilingUp ? 'vacuum' : 'beside';
  }
}

function follow(average: number, value: number): number {
  return average + SMOOTHING * (value - average);
}
