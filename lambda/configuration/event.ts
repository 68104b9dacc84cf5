import * as z from 'zod';
import type { NamePattern } from './name-pattern';
import { CONCURRENCY, MAX_LOAD, numberIn } from './settings';
import type { Target } from './targets';
import { didYouMean, InvalidInputError, isObject, mistakesIn } from './validation';

/** The settings that an event may refer to. */
interface RunSettings {
  readonly targets: readonly Target[];
  readonly databases?: NamePattern | undefined;
}

/**
 * Reads the event of an invocation: nothing, an envelope of EventBridge, or a request from the console.
 *
 * @throws InvalidInputError with every mistake
 */
export function readRequest(event: unknown, { targets, databases }: RunSettings): RunRequest {
  const schema = requestSchema(
    targets.map(({ name }) => name),
    databases !== undefined,
  );
  if (isObject(event) && ENVELOPES.includes(event.source as string)) {
    const keys = [...Object.keys(event), ...keysOfDetail(event.detail).map((key) => `detail.${key}`)];
    const known = Object.keys(schema.shape);
    const misplaced = keys.filter((key) => didYouMean(key.replace(/^detail\./, ''), known) !== '');
    if (misplaced.length > 0) {
      // The author meant a request, and would get the whole job instead.
      throw new InvalidInputError(
        misplaced.map(
          (key) => `event.${key} must not stand in an envelope of EventBridge, whose source is ${event.source}`,
        ),
      );
    }
    return {};
  }
  const result = schema.safeParse(event ?? {});
  if (!result.success) {
    throw new InvalidInputError(mistakesIn(result.error, 'event', event, { schema }));
  }
  return result.data;
}

const AFTER_RULE = 'must be the name of a database';

const ENVELOPES = ['aws.scheduler', 'aws.events'];

/** EventBridge Scheduler sends the detail as text. */
function keysOfDetail(detail: unknown): string[] {
  if (typeof detail !== 'string') {
    return isObject(detail) ? Object.keys(detail) : [];
  }
  try {
    return keysOfDetail(JSON.parse(detail) ?? undefined);
  } catch {
    return [];
  }
}

function requestSchema(tables: readonly string[], hasDatabases: boolean) {
  const tablesRule = `must be a list of configured tables (${tables.join(', ')})`;
  return z.strictObject(
    {
      dryRun: z.boolean('must be true or false').optional(),
      tables: z.array(z.enum(tables, tablesRule), tablesRule).min(1, tablesRule).optional(),
      concurrency: numberIn(CONCURRENCY).optional(),
      maxLoad: numberIn(MAX_LOAD).optional(),
      after: z
        .string(AFTER_RULE)
        .min(1, AFTER_RULE)
        .refine(() => hasDatabases, 'must not be set unless DB_NAMES is')
        .optional(),
    },
    'must be an object',
  );
}

/** Options of a single run. Each overrides the configured value. */
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
  /**
   * Sweeps only the databases whose names come after this one.
   *
   * @default - all
   */
  readonly after?: string | undefined;
  /** @default - as configured */
  readonly concurrency?: number | undefined;
  /** @default - as configured */
  readonly maxLoad?: number | undefined;
  /**
   * The time until the run must have returned, in milliseconds.
   *
   * @default - no limit
   */
  readonly timeLeftMs?: number | undefined;
  /** Ends the run after the batch that is under way. */
  readonly signal?: AbortSignal | undefined;
}
