import type { Clock } from '../clock';
import { kindOf } from '../database/database-error';
import type { Limits, Queryable, QueryResult } from '../database/queryable';
import { BATCH_LIMITS } from './batch-limits';

/** How long a run waits for a lock on the whole table, such as a migration's. */
export const TABLE_LOCK_PATIENCE_MS = 60_000;

export const TABLE_LOCK_RETRY_MS = 250;

export interface LockWaitOptions {
  /** The connections to work on. More may be added while the work goes on. */
  readonly sessions: readonly [Queryable, ...Queryable[]];
  readonly clock: Clock;
  /** Ends the counting, and the waiting for a lock. Its reason is a stop reason. */
  readonly stopCounting: AbortSignal;
}

/** How long a query may work on a busy server if the time for a batch is too short for it. */
const SLOW_LIMITS: Limits = { ...BATCH_LIMITS, statementTimeoutMs: 30_000 };

/**
 * Repeats a query until a lock on the whole table, such as a migration's, is released. One that takes longer than a batch
 * may gets more time.
 */
export async function patiently<Row>(
  options: LockWaitOptions,
  text: string,
  values: readonly unknown[],
  limits?: Limits,
): Promise<QueryResult<Row>> {
  const { sessions, clock, stopCounting } = options;
  let allowed = limits;
  for (const startedAt = clock.now(); ; ) {
    try {
      return await sessions[0].query<Row>(text, values, allowed);
    } catch (error) {
      if (kindOf(error) === 'slow' && allowed === BATCH_LIMITS) {
        allowed = SLOW_LIMITS;
        continue;
      }
      const waitedMs = clock.now() - startedAt;
      if (kindOf(error) !== 'locked' || stopCounting.aborted || waitedMs > TABLE_LOCK_PATIENCE_MS) {
        throw error;
      }
      await clock.sleep(TABLE_LOCK_RETRY_MS, stopCounting);
    }
  }
}
