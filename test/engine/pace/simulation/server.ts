import type { Simulation } from './simulation';

/** A processor serves a process for this long before the next one that waits. A process that wakes up waits its turn. */
const SLICE_MS = 3;

/** The log device: a write takes the latency and the time for its bytes, 125 MB/s. */
const LOG_LATENCY_MS = 0.5;
const LOG_BYTES_PER_MS = 125_000;
const LOG_WRITER_INTERVAL_MS = 200;

interface Job {
  leftMs: number;
  readonly logBytesPerMs: number;
  readonly done: () => void;
}

export interface SessionState {
  xid: string | null;
  xmin: string | null;
}

/** A database server with processors, a log device, transaction ids and sessions. */
export class Server {
  readonly sessions = new Map<number, SessionState>();
  /** Multiplies the time that the log device takes. A checkpoint keeps it busy. */
  logSlowness = 1;
  nextId = 1_000;
  insertedBytes = 0;
  flushedBytes = 0;
  readonly #simulation: Simulation;
  readonly #runnable: Job[] = [];
  #idleProcessors: number;
  #flushes: { readonly position: number; readonly done: () => void }[] = [];
  #logIsBusy = false;
  #nextPid = 100;

  constructor(simulation: Simulation, processors: number) {
    this.#simulation = simulation;
    this.#idleProcessors = processors;
    this.#writeLogSometimes();
  }

  connect(): number {
    this.#nextPid += 1;
    this.sessions.set(this.#nextPid, { xid: null, xmin: null });
    return this.#nextPid;
  }

  /** Occupies a processor for some time, during which log is written to memory. */
  compute(ms: number, logBytes: number, done: () => void): void {
    this.#runnable.push({ leftMs: ms, logBytesPerMs: logBytes / ms, done });
    this.#dispatch();
  }

  /** Starts processes that never stop computing. */
  saturate(processes: number): void {
    for (let i = 0; i < processes; i += 1) {
      const goOn = () => this.compute(SLICE_MS, 0, goOn);
      goOn();
    }
  }

  /** Waits until all log up to now is on disk. */
  flush(done: () => void): void {
    this.#flushes.push({ position: this.insertedBytes, done });
    this.#writeLog();
  }

  /** Uses a transaction id up. */
  endTransaction(): void {
    this.nextId += 1;
  }

  #dispatch(): void {
    while (this.#idleProcessors > 0) {
      const job = this.#runnable.shift();
      if (!job) {
        return;
      }
      this.#idleProcessors -= 1;
      const sliceMs = Math.min(job.leftMs, SLICE_MS);
      this.#simulation.after(sliceMs, () => {
        this.#idleProcessors += 1;
        job.leftMs -= sliceMs;
        this.insertedBytes += sliceMs * job.logBytesPerMs;
        if (job.leftMs > 0) {
          this.#runnable.push(job);
        } else {
          job.done();
        }
        this.#dispatch();
      });
    }
  }

  #writeLog(): void {
    if (this.#logIsBusy) {
      return;
    }
    this.#logIsBusy = true;
    const position = this.insertedBytes;
    const ms = LOG_LATENCY_MS + (position - this.flushedBytes) / LOG_BYTES_PER_MS;
    this.#simulation.after(ms * this.logSlowness, () => {
      this.#logIsBusy = false;
      this.flushedBytes = position;
      const done = this.#flushes.filter((flush) => flush.position <= position);
      this.#flushes = this.#flushes.filter((flush) => flush.position > position);
      for (const flush of done) {
        flush.done();
      }
      if (this.#flushes.length > 0) {
        this.#writeLog();
      }
    });
  }

  #writeLogSometimes(): void {
    this.#simulation.after(LOG_WRITER_INTERVAL_MS, () => {
      if (this.insertedBytes > this.flushedBytes) {
        this.#writeLog();
      }
      this.#writeLogSometimes();
    });
  }
}
