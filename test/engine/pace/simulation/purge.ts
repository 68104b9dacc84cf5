import type { Look } from '../../../../lambda/engine/pace/others';
import type { Pace } from '../../../../lambda/engine/pace/pace';
import type { PaceReport } from '../../../../lambda/engine/pace/pace-report';
import { Turns } from '../../../../lambda/engine/pace/turns';
import type { Server, SessionState } from './server';
import type { Simulation } from './simulation';

const NETWORK_MS = 0.3;
const STATEMENT_MS = 0.15;
const LOOK_MS = 0.1;
/** Of a block of 8 kB with 50 rows, half of them dead; it is logged as a whole, since a checkpoint was not long ago. */
const ROWS_PER_BLOCK = 25;
const BLOCK_MS = 0.07;
const LOG_BYTES_PER_BLOCK = 8_192 + ROWS_PER_BLOCK * 60;

export interface PurgeOptions {
  readonly blocks: number;
  readonly connections?: number;
  /** When the purge has to stop deleting, in virtual time. */
  readonly deadlineMs?: number;
  /** How long a block that is not in memory waits for the disk. */
  readonly readMs?: (block: number) => number;
  /** How long a batch waits for a lock before it succeeds. */
  readonly lockWaitMs?: (batch: number) => number;
  readonly canLook?: boolean;
  readonly deadTuplesPileUp?: boolean;
}

/** A batch as the simulated server saw it. */
interface BatchSeen {
  readonly pid: number;
  readonly first: number;
  readonly begunAt: number;
  readonly endedAt: number;
  readonly blocks: number;
}

/** A purge with the real pace, turns and comparison of signs, on a simulated table. */
export class Purge {
  readonly batches: BatchSeen[] = [];
  doneAt = Number.NaN;
  readonly #simulation: Simulation;
  readonly #server: Server;
  readonly #pace: Pace;
  readonly #options: PurgeOptions;
  readonly #turns: Turns;
  readonly #stop = new AbortController();
  visited = 0;
  #report: PaceReport | undefined;

  constructor(simulation: Simulation, server: Server, pace: Pace, options: PurgeOptions) {
    this.#simulation = simulation;
    this.#server = server;
    this.#pace = pace;
    this.#options = options;
    this.#turns = new Turns({
      pace,
      clock: simulation,
      ...(options.deadlineMs !== undefined && { deletingUntil: options.deadlineMs }),
      look: (session) => this.#look((session as unknown as Lane).pid),
    });
  }

  start(): void {
    const { connections = 1, deadlineMs } = this.#options;
    const msLeft = deadlineMs && deadlineMs - this.#simulation.now();
    this.#turns.start();
    if (msLeft !== undefined) {
      this.#simulation.after(msLeft, () => this.#stop.abort());
    }
    for (let i = 0; i < connections; i += 1) {
      const pid = this.#server.connect();
      void this.#work({ pid, reconnections: 0, query: async () => ({ rows: [], rowCount: 0 }) });
    }
  }

  /** At the end of the purge; before that, up to now. */
  get report(): PaceReport | undefined {
    return this.#report ?? this.#turns.report();
  }

  /** The share of this time in which batches were under way, the network not counted. */
  share(fromMs: number, toMs: number): number {
    const within = this.#begun(fromMs, toMs);
    return within.reduce((sum, { begunAt, endedAt }) => sum + endedAt - begunAt, 0) / (toMs - fromMs);
  }

  rowsPerSecond(fromMs: number, toMs: number): number {
    const within = this.#begun(fromMs, toMs);
    return (within.reduce((sum, { blocks }) => sum + blocks, 0) * ROWS_PER_BLOCK * 1_000) / (toMs - fromMs);
  }

  /** The longest batch that began in this time. */
  longestMs(fromMs: number, toMs: number): number {
    return Math.max(...this.#begun(fromMs, toMs).map(({ begunAt, endedAt }) => endedAt - begunAt));
  }

  /** The longest time in which no batch began. */
  longestRestMs(fromMs: number, toMs: number): number {
    const begun = this.#begun(fromMs, toMs).map(({ begunAt }) => begunAt);
    return Math.max(...[...begun, toMs].map((at, index) => at - (begun[index - 1] ?? fromMs)));
  }

  /** How many batches each connection had. */
  turnsOfEach(fromMs: number, toMs: number): number[] {
    const turns = new Map<number, number>();
    for (const { pid } of this.#begun(fromMs, toMs)) {
      turns.set(pid, (turns.get(pid) ?? 0) + 1);
    }
    return [...turns.values()];
  }

  #begun(fromMs: number, toMs: number): BatchSeen[] {
    return this.batches.filter(({ begunAt }) => begunAt >= fromMs && begunAt < toMs);
  }

  async #work(lane: Lane): Promise<void> {
    const { blocks, readMs = () => 0, lockWaitMs = () => 0 } = this.#options;
    const session = this.#server.sessions.get(lane.pid) as SessionState;
    for (;;) {
      const work = { oid: 1, blocksLeft: blocks - this.visited, flush: () => this.#flush(), until: this.#stop.signal };
      const end = work.blocksLeft > 0 ? await this.#turns.next(lane, work) : undefined;
      const first = this.visited;
      const width = Math.min(this.#pace.width, blocks - first);
      if (!end || width <= 0) {
        end?.({ blocks: 0, rows: 0, undone: true, waitedMs: 0, ids: 0 });
        break;
      }
      this.visited += width;
      await this.#simulation.sleep(NETWORK_MS / 2);
      const begunAt = this.#simulation.now();
      session.xid = String(this.#server.nextId);
      const readsMs = Array.from({ length: width }, (_, index) => readMs(first + index)).reduce((a, b) => a + b, 0);
      await this.#simulation.sleep(readsMs + lockWaitMs(this.batches.length));
      await this.#compute(STATEMENT_MS + width * BLOCK_MS, width * LOG_BYTES_PER_BLOCK);
      this.#server.endTransaction();
      session.xid = null;
      this.batches.push({ pid: lane.pid, first, begunAt, endedAt: this.#simulation.now(), blocks: width });
      await this.#simulation.sleep(NETWORK_MS / 2);
      end({ blocks: width, rows: width * ROWS_PER_BLOCK, undone: false, waitedMs: 0, ids: 1 });
    }
    this.doneAt = this.#simulation.now();
    this.#report = this.#turns.report();
  }

  async #look(pid: number): Promise<Look | undefined> {
    if (this.#options.canLook === false) {
      return undefined;
    }
    await this.#simulation.sleep(NETWORK_MS / 2);
    const begunAt = this.#simulation.now();
    await this.#compute(LOOK_MS, 0);
    const look = {
      pid,
      nextId: this.#server.nextId,
      unflushedBytes: this.#server.insertedBytes - this.#server.flushedBytes,
      walSenders: [],
      sessions: [...this.#server.sessions].map(([its, { xid, xmin }]) => ({ pid: its, xid, xmin })),
      deadTuplesPileUp: this.#options.deadTuplesPileUp ?? false,
      workedMs: this.#simulation.now() - begunAt,
    };
    await this.#simulation.sleep(NETWORK_MS / 2);
    return { ...look, sessions: look.sessions.filter(({ xid, xmin }) => xid !== null || xmin !== null) };
  }

  async #flush(): Promise<boolean> {
    await this.#simulation.promise((done) => this.#server.flush(done));
    this.#server.endTransaction();
    return true;
  }

  #compute(ms: number, logBytes: number): Promise<void> {
    return this.#simulation.promise((done) => this.#server.compute(ms, logBytes, done));
  }
}

interface Lane {
  readonly pid: number;
  readonly reconnections: number;
  readonly query: () => Promise<{ rows: never[]; rowCount: number }>;
}
