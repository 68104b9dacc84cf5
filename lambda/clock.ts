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
 * @param timeLeftMs the time until the run must have returned; absent if there is no limit
 * @param interrupt ends deleting and counting early
 */
export function deadlinesOf(clock: Clock, timeLeftMs = Number.POSITIVE_INFINITY, interrupt?: AbortSignal): Deadlines {
  const deadline = ({ ms, share }: { readonly ms: number; readonly share: number }) => {
    const afterMs = Math.max(0, timeLeftMs - Math.min(ms, timeLeftMs * share));
    const controller = new AbortController();
    const abort = (reason: Interruption) => controller.abort(reason);
    const timer = afterMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(abort, afterMs, 'deadline');
    // Every session listens, and Node.js warns of a leak above ten listeners.
    setMaxListeners(0, controller.signal);
    return { signal: controller.signal, until: clock.now() + afterMs, abort, timer };
  };
  const deleting = deadline(RESERVES.stopDeleting);
  const counting = deadline(RESERVES.stopCounting);
  const abandon = deadline(RESERVES.abandon);
  const onInterrupt = () => {
    deleting.abort('interrupted');
    counting.abort('interrupted');
  };
  if (interrupt?.aborted) {
    onInterrupt();
  }
  interrupt?.addEventListener('abort', onInterrupt, { once: true });
  return {
    stopDeleting: deleting.signal,
    stopCounting: counting.signal,
    abandon: abandon.signal,
    deletingUntil: deleting.until,
    countingUntil: counting.until,
    clear: () => {
      for (const { timer } of [deleting, counting, abandon]) {
        clearTimeout(timer);
      }
      interrupt?.removeEventListener('abort', onInterrupt);
    },
  };
}
