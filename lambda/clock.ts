import { setMaxListeners } from 'node:events';
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

/** Why a signal of a run was aborted. */
export type Interruption = 'deadline' | 'interrupted';

/** What a run has to leave undone as its time goes by. Each signal is aborted with an {@link Interruption}. */
export interface Deadlines {
  readonly stopDeleting: AbortSignal;
  readonly stopCounting: AbortSignal;
  /** Not even an answer that is under way is waited for any more. */
  readonly abandon: AbortSignal;
  /** The moment at which deleting ends, on the clock of the run; Infinity if there is no limit. */
  readonly deletingUntil: number;
  /** The moment at which counting ends, likewise. */
  readonly countingUntil: number;
  /** To be called at the end of the run: timers keep a process alive. */
  clear(): void;
}

/**
 * What is kept back for the steps that follow, at most this long and at most this share of the time: enough to finish the
 * batch and count what is left; to finish the count, report and return; to return with what is known.
 */
const RESERVES = {
  stopDeleting: { ms: 20_000, share: 0.3 },
  stopCounting: { ms: 8_000, share: 0.15 },
  abandon: { ms: 1_500, share: 0.05 },
};

/**
 * @param timeLeftMs the time until the run must have returned; nothing when there is no such limit
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
  // Every session listens, and Node.js takes more than ten listeners for a leak.
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
