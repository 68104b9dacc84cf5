import * as z from 'zod';
import type { Config } from './environment';
import { CONCURRENCY, MAX_LOAD, numberIn } from './settings';
import { timeOfDay } from './time-of-day';
import { timeZone } from './time-zone';
import { didYouMean, isObject, parse, refuse } from './validation';

/** The settings that an event may refer to. */
type RunSettings = Pick<Config, 'targets' | 'databases'>;

/**
 * Reads the event of an invocation: nothing, an EventBridge envelope, or a request from the console.
 *
 * @throws InvalidInputError with every mistake
 */
export function readRequest(event: unknown, settings: RunSettings): FunctionRequest {
  const schema = requestSchema(settings, executionOf(event) !== undefined);
  if (isObject(event) && ENVELOPES.includes(event.source as string)) {
    const keys = [...Object.keys(event), ...keysOfDetail(event.detail).map((key) => `detail.${key}`)];
    const known = Object.keys(schema.shape);
    const misplaced = keys.filter((key) => didYouMean(key.replace(/^detail\./, ''), known) !== '');
    // The author meant a request, and would get the whole job instead.
    refuse(
      misplaced.map((key) => `event.${key} must not be in an EventBridge envelope, whose source is ${event.source}`),
    );
    return {};
  }
  return parse(schema, event ?? {}, 'event');
}

/** The execution of a state machine that sent an event, even if the event is invalid otherwise. */
export function executionOf(event: unknown): string | undefined {
  return isObject(event) && typeof event.execution === 'string' ? event.execution : undefined;
}

const AFTER_RULE = 'must be the name of a database';

const EXECUTION_RULE = 'must be the id of an execution of a state machine';

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

const COUNT_RULE = 'must be a whole number of 0 or more';
const count = z.int(COUNT_RULE).min(0, COUNT_RULE);

const roundsSchema = z.strictObject(
  {
    count,
    rowsDeleted: count,
    durationMs: count,
    status: z.enum(['succeeded', 'partial', 'skipped', 'failed'], 'must be the status of a run'),
    error: z.string('must be a string').optional(),
    after: z.string(AFTER_RULE).optional(),
  },
  'must be the rounds of an earlier result',
);

/** Rounds of an execution: runs of the function that continue one another. */
export type Rounds = Readonly<z.output<typeof roundsSchema>>;

function requestSchema({ targets, databases }: RunSettings, hasExecution: boolean) {
  const tables = targets.map(({ name }) => name);
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
        .refine(() => databases !== undefined, 'must not be set unless DB_NAMES is')
        .optional(),
      until: timeOfDay.optional(),
      timeZone: timeZone.optional(),
      scheduledAt: z.iso.datetime('must be a time of UTC such as 2027-01-30T03:00:00Z').optional(),
      execution: z.string(EXECUTION_RULE).min(1, EXECUTION_RULE).optional(),
      rounds: roundsSchema.refine(() => hasExecution, 'must not be set unless execution is').optional(),
    },
    'must be an object',
  );
}

/** The event of the function: options of a run, and the window and the execution that it belongs to. */
export interface FunctionRequest extends RunRequest {
  /**
   * The time of day at which the run ends, such as `06:00`.
   *
   * @default - until the timeout of the function
   */
  readonly until?: string | undefined;
  /**
   * The time zone of `until`, by its name in the IANA database.
   *
   * @default UTC
   */
  readonly timeZone?: string | undefined;
  /**
   * `until` is the first such time of day after this moment.
   *
   * @default - now
   */
  readonly scheduledAt?: string | undefined;
  /**
   * The id of the execution of a state machine that invokes the function. It is a key of every log line, and a run that
   * fails throws, since a state machine sees no other failure.
   *
   * @default - no state machine
   */
  readonly execution?: string | undefined;
  /**
   * The rounds of the execution before this one, from the answer of the last.
   *
   * @default - none
   */
  readonly rounds?: Rounds | undefined;
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
  /**
   * The most databases that a run sweeps. If there are more, its report names the last one as `next`.
   *
   * @default - all
   */
  readonly mostDatabases?: number | undefined;
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
  /** Ends the run after the current batch. */
  readonly signal?: AbortSignal | undefined;
}
