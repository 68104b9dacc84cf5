import type { Limits } from '../database/queryable';

/** No statement of a walk takes longer: the server cancels it, and its range is cut. */
export const TIMEOUT_MS = 200;

/** Well before the server looks for deadlocks (1 s), so that in a conflict the service wins. */
const LOCK_TIMEOUT_MS = 25;

/**
 * Of every statement that is not part of a search for a row, and of the short ones between batches, since setting others
 * takes a round trip. All names in such a statement must be qualified.
 */
export const BATCH_LIMITS: Limits = {
  statementTimeoutMs: TIMEOUT_MS,
  lockTimeoutMs: LOCK_TIMEOUT_MS,
  ownSearchPath: true,
};
