import type { Clock } from '../clock';
import { kindOf } from '../database/database-error';
import type { Limits, Queryable, QueryResult } from '../database/queryable';

/** How long a run waits for a lock on the whole table, such as a migration's. */
export const TABLE_LOCK_PATIENCE_MS = 60_000;

export const TABLE_LOCK_RETRY_MS = 250;

export interface LockWaitOptions {
  readonly sessions: readonly [Queryable, ...Queryable[]];
  readonly clock: Clock;
  readonly stopCounting: AbortSignal;
}

/** Repeats a query until a lock on the whole table, such as a migration's, is released. */
export async function patiently<Row>(
  options: LockWaitOptions,
  text: string,
  values: readonly unknown[],
  limits?: Limits,
): Promise<QueryResult<Row>> {
  const { sessions, clock, stopCounting } = options;
  for (const startedAt = clock.now(); ; ) {
    try {
      return await sessions[0].query<Row>(text, values, limits);
    } catch (error) {
      const waitedMs = clock.now() - startedAt;
      if (kindOf(error) !== 'locked' || stopCounting.aborted || waitedMs > TABLE_LOCK_PATIENCE_MS) {
        throw error;
      }
      await clock.sleep(TABLE_LOCK_RETRY_MS, stopCounting);
    }
  }
}
