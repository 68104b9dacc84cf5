import { setTimeout as delay } from 'node:timers/promises';

/** Asks until the answer is neither false nor undefined. Fails after a time that no healthy machine needs. */
export async function eventually<Answer>(
  ask: () => Answer | Promise<Answer>,
  { what = String(ask), patienceMs = 20_000, intervalMs = 5 } = {},
): Promise<Exclude<Answer, false | undefined>> {
  for (const startedAt = performance.now(); performance.now() - startedAt < patienceMs; await delay(intervalMs)) {
    const answer = await ask();
    if (answer !== false && answer !== undefined) {
      return answer as Exclude<Answer, false | undefined>;
    }
  }
  throw new Error(`waited ${patienceMs / 1_000} s in vain for: ${what}`);
}
