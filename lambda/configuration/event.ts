import * as z from 'zod';
import { CONCURRENCY, MAX_LOAD, numberIn } from './settings';
import type { Target } from './targets';
import { InvalidInputError, mistakesIn } from './validation';

/**
 * Reads what the function was invoked with: nothing, the envelope of EventBridge, or a request from the console.
 *
 * @throws InvalidInputError with every mistake
 */
export function readRequest(event: unknown, targets: readonly Target[]): RunRequest {
  const { source } = (event ?? {}) as { source?: unknown };
  if (source === 'aws.scheduler' || source === 'aws.events') {
    return {};
  }
  const result = requestSchema(targets.map(({ name }) => name)).safeParse(event ?? {});
  if (!result.success) {
    throw new InvalidInputError(mistakesIn(result.error, 'event', event));
  }
  return result.data;
}

function requestSchema(tables: readonly string[]) {
  const tablesRule = `must be a list of configured tables (${tables.join(', ')})`;
  return z.strictObject(
    {
      dryRun: z.boolean('must be true or false').optional(),
      tables: z.array(z.enum(tables, tablesRule), tablesRule).min(1, tablesRule).optional(),
      concurrency: numberIn(CONCURRENCY).optional(),
      maxLoad: numberIn(MAX_LOAD).optional(),
    },
    'must be an object',
  );
}

/** What may differ from run to run. */
export interface RunRequest {
  /**
   * Counts what would be deleted, and deletes nothing.
   *
   * @default false
   */
  readonly dryRun?: boolean | undefined;
  /**
   * The tables to sweep, by their names.
   *
   * @default - all
   */
  readonly tables?: readonly string[] | undefined;
  /** @default - as configured */
  readonly concurrency?: number | undefined;
  /** @default - as configured */
  readonly maxLoad?: number | undefined;
  /**
   * The time until the run must have returned, in milliseconds. It ends in time for that.
   *
   * @default - no limit
   */
  readonly timeLeftMs?: number | undefined;
  /** Ends the run after the batch that is under way. */
  readonly signal?: AbortSignal | undefined;
}
