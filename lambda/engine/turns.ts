import type { Clock } from '../clock';
import type { Queryable } from '../database/queryable';
import type { Look } from './cluster-state';
import { Others } from './others';
import type { Pace } from './pace';
import type { PaceReport } from './pace-report';

export interface TurnsOptions {
  readonly pace: Pace;
  readonly clock: Clock;
  /** Reads the state of the cluster and of a table; nothing if the server refuses. */
  readonly look: (session: Queryable, oid: number) => Promise<Look | undefined>;
  /** Brings the log of the batches to the disk, and takes one transaction id. */
  readonly flush: (session: Queryable) => Promise<void>;
  /** The time until the run stops deleting, in milliseconds; Infinity if there is no deadline. */
  readonly msLeft: () => number;
}

/** The work that a session asks a turn for. */
export interface Work {
  /** The table, or the leaf of it. */
  readonly oid: number;
  readonly blocksLeft: number;
  /** Ends the waiting. */
  readonly until: AbortSignal;
}

/** How a turn ended. */
export interface Outcome {
  /** The part of the turn that was spent on waiting for a lock or for another connection, as far as that is known. */
  readonly waitedMs: number;
  /** Absent if the server undid it. */
  readonly batch?: { readonly blocks: number; readonly rows: number };
}

/** Less than this is lost in the network. */
const SHORTEST_WORK_MS = 0.05;

/** The estimate of the network follows a faster round trip at once, and a slower one by this much. */
const NETWORK_SMOOTHING = 0.05;

/** Lets the sessions of a run have their turns at a pace, and looks at the other sessions of the cluster in between. */
export class Turns {
  readonly #options: TurnsOptions;
  readonly #others = new Others();
  /** The connection that a session had when it last looked: another one has another pid. */
  readonly #looked = new WeakMap<Queryable, number>();
  #lastAdmission: Promise<void> = Promise.resolve();
  #turnEnded = gate();
  #networkMs: number | undefined;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** Begins a table. */
  start(): void {
    this.#options.pace.start(this.#options.clock.now());
  }

  /** How the pace was since the table was begun. */
  report(): PaceReport {
    return this.#options.pace.report(this.#options.clock.now());
  }

  /**
   * Waits for the turn of a session.
   *
   * @returns ends the turn, to be called after a batch of at most `pace.width` blocks; nothing if the signal came first
   */
  async next(session: Queryable, work: Work): Promise<((outcome: Outcome) => void) | undefined> {
    const { pace } = this.#options;
    const before = this.#lastAdmission;
    const admitted = gate();
    if (pace.shared) {
      this.#lastAdmission = admitted.opened;
      await before;
    }
    try {
      await this.#admit(session, work);
      return work.until.aborted ? undefined : this.#begin(session);
    } finally {
      admitted.open();
    }
  }

  async #admit(session: Queryable, { oid, blocksLeft, until }: Work): Promise<void> {
    const { pace, clock, msLeft } = this.#options;
    while (!until.aborted) {
      pace.plan(blocksLeft, msLeft(), clock.now());
      const restMs = pace.restMs(session, clock.now());
      const isNew = pace.shared && this.#looked.get(session) !== session.reconnections;
      if (restMs === Number.POSITIVE_INFINITY) {
        await this.#turnEnded.opened;
      } else if (restMs > 0) {
        await clock.sleep(restMs, until);
      } else if (isNew || pace.lookIsDue(clock.now())) {
        await this.#look(session, oid);
      } else {
        return;
      }
    }
  }

  #begin(session: Queryable): (outcome: Outcome) => void {
    const { pace, clock } = this.#options;
    const begunAt = clock.now();
    pace.begin(session, begunAt);
    this.#others.began();
    return ({ waitedMs, batch }) => {
      const now = clock.now();
      const workedMs = Math.max(now - begunAt - waitedMs - (this.#networkMs ?? 0), SHORTEST_WORK_MS);
      this.#others.ended(batch?.rows !== 0);
      pace.end(session, workedMs, batch, now);
      this.#turnEnded.open();
      this.#turnEnded = gate();
    };
  }

  async #look(session: Queryable, oid: number): Promise<void> {
    const { pace, clock, look, flush } = this.#options;
    const begunAt = clock.now();
    const reading = await look(session, oid);
    const now = clock.now();
    this.#looked.set(session, session.reconnections);
    if (reading) {
      const { workedMs, unflushedBytes = 0, deadTuplesPileUp } = reading;
      this.#noteNetwork(now - begunAt - workedMs);
      pace.see({ othersWorked: this.#others.compare(reading), unflushedBytes, deadTuplesPileUp }, workedMs, now);
    } else {
      pace.see({ othersWorked: true, unflushedBytes: 0, deadTuplesPileUp: false }, 0, now);
    }
    if (pace.flushIsDue) {
      this.#others.began();
      await flush(session).finally(() => this.#others.ended(true));
    }
  }

  #noteNetwork(ms: number): void {
    const known = this.#networkMs ?? ms;
    this.#networkMs = Math.max(0, Math.min(ms, known + NETWORK_SMOOTHING * (ms - known)));
  }
}

/** A promise, and the means to fulfil it. */
function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
