import { setTimeout as delay } from 'node:timers/promises';

/** The emulator looks at schedules every ten seconds: 80 at most pass, and as much again on a busy machine. */
const PATIENCE_MS = 160_000;

/** Asks again and again until there is an answer. */
export async function until<Answer>(what: string, ask: () => Promise<Answer | undefined>): Promise<Answer> {
  for (const startedAt = Date.now(); Date.now() - startedAt < PATIENCE_MS; await delay(500)) {
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
  }
  throw new Error(`waited in vain for ${what}`);
}
