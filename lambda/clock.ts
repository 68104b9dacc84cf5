/** The time, and the deadlines of a run. */

import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/** The clock of a run. A test can replace it. */
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

/** Why a signal of a run was aborted. */
export type Interruption = 'deadline' | 'interrupted';

/** When a run stops deleting, stops counting, and gives up waiting. Each signal is aborted with an {@link Interruption}. */
export interface Deadlines {
  readonly stopDeleting: AbortSignal;
  readonly stopCounting: AbortSignal;
  /** Aborts queries and requests in flight. */
  readonly abandon: AbortSignal;
  /** The end of the deleting, on the clock of the run; Infinity if there is no limit. */
  readonly deletingUntil: number;
  /** The end of the counting, likewise. */
  readonly countingUntil: number;
  /** Call this at the end of the run: timers keep a process alive. */
  clear(): void;
}

/**
 * The time reserved for the steps that follow, at most this long and at most this share of the time left. It covers, in
 * turn: the batch under way and the count of the remaining rows; the end of the count and the report; the return.
 */
const RESERVES = {
  stopDeleting: { ms: 20_000, share: 0.3 },
  stopCounting: { ms: 8_000, share: 0.15 },
  abandon: { ms: 1_500, share: 0.05 },
};

/**
 * @param timeLeftMs the time until the run must have returned; undefined if there is no limit
 * @param interrupt ends deleting and counting early
 */
export function deadlinesOf(clock: Clock, timeLeftMs: number | undefined, interrupt?: AbortSignal): Deadlines {
  const after = (reserve: keyof typeof RESERVES) => {
    const { ms, share } = RESERVES[reserve];
    return timeLeftMs === undefined ? undefined : Math.max(0, timeLeftMs - Math.min(ms, timeLeftMs * share));
  };
  const deleting = abortAfter(after('stopDeleting'));
  const counting = abortAfter(after('stopCounting'));
  const abandon = abortAfter(after('abandon'));
  // Every session listens, and Node.js warns of a leak above ten listeners.
  setMaxListeners(0, ...[deleting, counting, abandon].map(({ controller }) => controller.signal));
  const interrupted: Interruption = 'interrupted';
  const onInterrupt = () => {
    deleting.controller.abort(interrupted);
    counting.controller.abort(interrupted);
  };
  if (interrupt?.aborted) {
    onInterrupt();
  }
  interrupt?.addEventListener('abort', onInterrupt, { once: true });
  return {
    stopDeleting: deleting.controller.signal,
    stopCounting: counting.controller.signal,
    abandon: abandon.controller.signal,
    deletingUntil: clock.now() + (after('stopDeleting') ?? Number.POSITIVE_INFINITY),
    countingUntil: clock.now() + (after('stopCounting') ?? Number.POSITIVE_INFINITY),
    clear: () => {
      for (const { timer } of [deleting, counting, abandon]) {
        clearTimeout(timer);
      }
      interrupt?.removeEventListener('abort', onInterrupt);
    },
  };
}

function abortAfter(ms: number | undefined) {
  const controller = new AbortController();
  const reason: Interruption = 'deadline';
  return { controller, timer: ms === undefined ? undefined : setTimeout(() => controller.abort(reason), ms) };
}
