import type { Clock } from '../../clock';
import type { Queryable } from '../../database/queryable';
import { type Look, Others } from './others';
import type { Pace, Signs } from './pace';
import type { PaceReport } from './pace-report';
import type { Batch } from './width';

export interface TurnsOptions {
  readonly pace: Pace;
  readonly clock: Clock;
  /** The end of the deleting, on the clock; the automatic pace hurries in order to be done by then. Absent without a limit. */
  readonly deletingUntil?: number;
  /** Reads the state of the cluster and of a table; undefined if the server refuses. */
  readonly look: (session: Queryable, oid: number) => Promise<Look | undefined>;
  /** Called with the reason whenever the pace changes. */
  readonly onChange?: (reason: string) => void;
}

/** The work that a session needs a turn for. */
export interface Work {
  /** The table, or the partition. */
  readonly oid: number;
  readonly blocksLeft: number;
  /** Awaited before the turn begins. */
  readonly pause?: ((session: Queryable) => Promise<void>) | undefined;
  /** Waits until the log of all batches is on disk. Resolves to whether it took a transaction id. */
  readonly flush?: ((session: Queryable) => Promise<boolean>) | undefined;
  /** Ends the waiting. */
  readonly until: AbortSignal;
}

/** How a turn ended. */
export interface Outcome extends Omit<Batch, 'workedMs'> {
  /** The part of the turn that was spent waiting for a lock or for another connection, as far as it is known. */
  readonly waitedMs: number;
  /** How many transaction ids it took, or may have taken. */
  readonly ids: number;
}

/** The network alone may take this long. */
const SHORTEST_WORK_MS = 0.05;

/** The estimate of the network follows a faster round trip at once, and a slower one by this much. */
const NETWORK_SMOOTHING = 0.05;

/** Gives the sessions of a run their turns, at a pace, and looks at the other sessions of the cluster in between. */
export class Turns {
  readonly #options: TurnsOptions;
  readonly #others = new Others();
  /** The connection that a session had when it last looked: another one has another pid. */
  readonly #looked = new WeakMap<Queryable, number>();
  #lastAdmission: Promise<void> = Promise.resolve();
  #turnEnded = gate();
  #networkMs: number | undefined;
  #deadline = Number.POSITIVE_INFINITY;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /**
   * Begins a table.
   *
   * @param share the part of the time left that it should take, above 0 up to 1
   * @param hasKeys whether foreign keys point at it
   */
  start(share = 1, hasKeys = false): void {
    const { pace, clock, deletingUntil = Number.POSITIVE_INFINITY } = this.#options;
    const now = clock.now();
    this.#deadline = now + (deletingUntil - now) * share;
    pace.start(now, hasKeys);
  }

  /** The sum of the shares that the connections may work now. */
  load(connections: number): number {
    return this.#options.pace.load(connections, this.#options.clock.now());
  }

  /** A report on the pace since the table was begun; undefined if there was nothing to do. */
  report(): PaceReport | undefined {
    return this.#options.pace.report(this.#options.clock.now());
  }

  /** The most blocks for the turn that has just begun. */
  get width(): number {
    return this.#options.pace.width;
  }

  /**
   * Waits for the turn of a session.
   *
   * @returns ends the turn, to be called after a batch of at most {@link width} blocks; nothing if the signal came first
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

  /**
   * Runs a transaction outside of a turn, so that its id is not taken for that of another session.
   *
   * @param transaction resolves to whether it took an id
   */
  async commit(transaction: () => Promise<boolean>): Promise<void> {
    this.#others.began();
    let tookId = true;
    try {
      tookId = await transaction();
    } finally {
      this.#others.ended(tookId ? 1 : 0);
    }
  }

  async #admit(session: Queryable, { oid, blocksLeft, pause, flush, until }: Work): Promise<void> {
    const { pace, clock } = this.#options;
    let hasPaused = false;
    while (!until.aborted) {
      pace.plan(blocksLeft, this.#deadline - clock.now(), clock.now());
      const restMs = pace.restMs(session, clock.now());
      const isNew = pace.shared && this.#looked.get(session) !== session.reconnections;
      if (restMs === Number.POSITIVE_INFINITY) {
        await this.#turnEnded.opened;
      } else if (restMs > 0) {
        await clock.sleep(restMs, until);
      } else if (pause && !hasPaused) {
        await pause(session);
        hasPaused = true;
      } else if (isNew || pace.lookIsDue(clock.now())) {
        await this.#look(session, oid);
        if (pace.flushIsDue && flush) {
          await this.commit(() => flush(session));
        }
      } else {
        return;
      }
    }
  }

  #begin(session: Queryable): (outcome: Outcome) => void {
    const { pace, clock } = this.#options;
    const begunAt = clock.now();
    pace.begin(begunAt);
    this.#others.began();
    return ({ waitedMs, ids, ...batch }) => {
      const now = clock.now();
      const workedMs = Math.max(now - begunAt - waitedMs - (this.#networkMs ?? 0), SHORTEST_WORK_MS);
      this.#others.ended(ids);
      pace.end(session, { ...batch, workedMs }, now);
      this.#turnEnded.open();
      this.#turnEnded = gate();
    };
  }

  async #look(session: Queryable, oid: number): Promise<void> {
    const { pace, clock, look, onChange } = this.#options;
    const reasonBefore = pace.reason(clock.now());
    const begunAt = clock.now();
    const seen = await look(session, oid);
    const now = clock.now();
    this.#looked.set(session, session.reconnections);
    if (seen) {
      this.#noteNetwork(now - begunAt - seen.workedMs);
    }
    pace.see(seen ? { ...seen, othersWorked: this.#others.compare(seen) } : UNSEEN, now);
    if (pace.reason(now) !== reasonBefore) {
      onChange?.(pace.reason(now));
    }
  }

  #noteNetwork(ms: number): void {
    const known = this.#networkMs ?? ms;
    this.#networkMs = Math.max(0, Math.min(ms, known + NETWORK_SMOOTHING * (ms - known)));
  }
}

const UNSEEN: Signs = { othersWorked: true, unflushedBytes: 0, deadTuplesPileUp: false, workedMs: 0 };

/** A promise, and the means to fulfil it. */
function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
