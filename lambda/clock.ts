import { setTimeout as delay } from 'node:timers/promises';

/** The time as a run sees it. */
export interface Clock {
  /** Milliseconds on a clock that only goes forward. */
  now(): number;
  /** The date and time of this machine. */
  date(): Date;
  /** Waits, at most until the signal is aborted. Never throws. */
  sleep(ms: number, until?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  sleep: (ms, until) => delay(ms, undefined, until && { signal: until }).catch(() => {}),
};
