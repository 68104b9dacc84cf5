import type { Server } from './server';
import type { Simulation } from './simulation';

const CONNECTIONS = 20;
const NETWORK_MS = 0.2;
const STATEMENT_MS = 0.25;
const WRITING_SHARE = 0.3;
const WRITING_STATEMENTS = 4;
const LOG_BYTES = 4_000;

/** A token service: most of its operations look a token up, the others rotate one in a transaction and wait for its commit. */
export class TokenService {
  /** From the arrival of an operation to its end, with the time of its arrival. */
  readonly latencies: { readonly at: number; readonly ms: number }[] = [];
  readonly #simulation: Simulation;
  readonly #server: Server;
  readonly #writes: boolean;
  readonly #free: number[] = [];
  readonly #queue: ((pid: number) => void)[] = [];
  #perSecond = 0;
  #generation = 0;

  constructor(simulation: Simulation, server: Server, { writes = true } = {}) {
    this.#simulation = simulation;
    this.#server = server;
    this.#writes = writes;
    for (let i = 0; i < CONNECTIONS; i += 1) {
      this.#free.push(server.connect());
    }
  }

  /** Sets how many operations arrive in a second, at random. */
  serve(perSecond: number): void {
    this.#perSecond = perSecond;
    this.#generation += 1;
    this.#awaitArrival(this.#generation);
  }

  /** @param percent of the operations that arrived in this time */
  percentile(percent: number, fromMs: number, toMs: number): number {
    const sorted = this.latencies
      .filter(({ at }) => at >= fromMs && at < toMs)
      .map(({ ms }) => ms)
      .sort((a, b) => a - b);
    return sorted[Math.ceil((percent / 100) * sorted.length) - 1] ?? Number.NaN;
  }

  #awaitArrival(generation: number): void {
    if (this.#perSecond > 0) {
      this.#simulation.after(this.#simulation.exponential(1_000 / this.#perSecond), () => {
        if (generation === this.#generation) {
          this.#arrive();
          this.#awaitArrival(generation);
        }
      });
    }
  }

  #arrive(): void {
    const at = this.#simulation.now();
    const statements = this.#writes && this.#simulation.random() < WRITING_SHARE ? WRITING_STATEMENTS : 1;
    this.#withConnection((pid, release) => {
      this.#work(pid, statements, statements > 1, () => {
        this.latencies.push({ at, ms: this.#simulation.now() - at });
        release();
      });
    });
  }

  #withConnection(use: (pid: number, release: () => void) => void): void {
    const take = (pid: number) =>
      use(pid, () => {
        const next = this.#queue.shift();
        if (next) {
          next(pid);
        } else {
          this.#free.push(pid);
        }
      });
    const pid = this.#free.shift();
    if (pid === undefined) {
      this.#queue.push(take);
    } else {
      take(pid);
    }
  }

  #work(pid: number, statements: number, writing: boolean, done: () => void): void {
    const session = this.#server.sessions.get(pid) ?? { xid: null, xmin: null };
    session.xmin = String(this.#server.nextId);
    this.#server.compute(this.#simulation.exponential(STATEMENT_MS), writing ? LOG_BYTES : 0, () => {
      session.xmin = null;
      if (statements > 1) {
        session.xid ??= String(this.#server.nextId);
        this.#simulation.after(NETWORK_MS, () => this.#work(pid, statements - 1, writing, done));
      } else if (writing) {
        this.#server.flush(() => {
          session.xid = null;
          this.#server.endTransaction();
          this.#simulation.after(NETWORK_MS, done);
        });
      } else {
        this.#simulation.after(NETWORK_MS, done);
      }
    });
  }
}
