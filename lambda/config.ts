import * as z from 'zod';
import { SERVICE } from './report';
import { DEFAULT_TARGETS, parseTargets, type Target } from './targets';
import type { RunRequest } from './token-cleanup-service';
import { InvalidInputError, mistakesIn } from './validation';

/** The environment, as `process.env` holds it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What the environment says about the job. */
export interface Config {
  readonly login: Login;
  /** `false` for a connection that is not encrypted. */
  readonly tls: { readonly rootCertificates?: string | undefined } | false;
  readonly targets: readonly Target[];
  readonly concurrency: number;
  readonly maxLoad: number;
  readonly maxReplicaLagSeconds?: number | undefined;
}

/** Where the database is and how to log in. */
export type Login = PasswordLogin | IamLogin;

/** With the user and the password of a secret. */
export interface PasswordLogin {
  readonly auth: 'password';
  readonly secretArn: string;
  /** This and what follows wins over what the secret says. */
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly name?: string | undefined;
}

/** With tokens that the function signs by itself. */
export interface IamLogin {
  readonly auth: 'iam';
  /** As RDS names it: a token for an alias is refused. */
  readonly host: string;
  readonly user: string;
  readonly port?: number | undefined;
  readonly name?: string | undefined;
}

export const DEFAULT_PORT = 5432;
export const DEFAULT_DATABASE = 'postgres';
export const DEFAULT_CONCURRENCY = 1;
export const DEFAULT_MAX_LOAD = 0.5;
export const DEFAULT_STAGE = 'local';

/** Whether the job runs at all: it does not where `NODE_ENV` is `test`. */
export function isEnabled(environment: Environment): boolean {
  return environment.NODE_ENV !== 'test';
}

/** The names that all logs and metrics carry, also where the rest of the environment is in disorder. */
export function identityOf(environment: Environment): { readonly stage: string; readonly service: string } {
  return {
    stage: environment.STAGE || DEFAULT_STAGE,
    service: environment.POWERTOOLS_SERVICE_NAME || SERVICE,
  };
}

/** @throws InvalidInputError with every mistake */
export function readConfig(environment: Environment): Config {
  const mistakes: string[] = [];
  const login = collect(mistakes, () => readLogin(environment));
  const settings = collect(mistakes, () => parse(settingsSchema, environment));
  const targets = collect(mistakes, () => readTargets(environment.CLEANUP_TARGETS));
  if (!login || !settings || !targets) {
    throw new InvalidInputError(mistakes);
  }
  return {
    login: { ...login, port: settings.DB_PORT, name: settings.DB_NAME },
    tls: settings.DB_SSL_MODE === 'verify-full' && { rootCertificates: settings.DB_SSL_ROOT_CERT },
    targets,
    concurrency: settings.CLEANUP_CONCURRENCY,
    maxLoad: settings.CLEANUP_MAX_LOAD,
    maxReplicaLagSeconds: settings.CLEANUP_MAX_REPLICA_LAG_SECONDS,
  };
}

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

export const CONCURRENCY: Range = {
  rule: 'must be a whole number from 1 to 16',
  accepts: (n: number) => Number.isInteger(n) && n >= 1 && n <= 16,
};
export const MAX_LOAD: Range = { rule: 'must be above 0 and at most 1', accepts: (n: number) => n > 0 && n <= 1 };
export const PORT: Range = {
  rule: 'must be a whole number from 1 to 65535',
  accepts: (n: number) => Number.isInteger(n) && n >= 1 && n <= 65_535,
};
// A lag is looked at once a second; a day is beyond any use.
const LAG_SECONDS: Range = {
  rule: 'must be a number of seconds from 1 to 86400',
  accepts: (n: number) => n >= 1 && n <= 86_400,
};

interface Range {
  readonly rule: string;
  readonly accepts: (value: number) => boolean;
}

/** A number as JSON holds it. */
export function numberIn({ rule, accepts }: Range) {
  return z.number(rule).refine(accepts, rule);
}

/** A number as a variable holds it. Only plain decimals: Number() would take '', ' 1 ' and '0x10' too. */
function decimal({ rule, accepts }: Range) {
  return z.string().transform((text, context) => {
    if (/^\d+(\.\d+)?$/.test(text) && accepts(Number(text))) {
      return Number(text);
    }
    context.addIssue(rule);
    return z.NEVER;
  });
}

const text = z.string().min(1, 'must not be empty');

const settingsSchema = z.object({
  DB_PORT: decimal(PORT).optional(),
  DB_NAME: text.optional(),
  DB_SSL_MODE: z.enum(['verify-full', 'disable'], 'must be verify-full or disable').default('verify-full'),
  DB_SSL_ROOT_CERT: text.optional(),
  CLEANUP_CONCURRENCY: decimal(CONCURRENCY).default(DEFAULT_CONCURRENCY),
  CLEANUP_MAX_LOAD: decimal(MAX_LOAD).default(DEFAULT_MAX_LOAD),
  CLEANUP_MAX_REPLICA_LAG_SECONDS: decimal(LAG_SECONDS).optional(),
  STAGE: text.optional(),
});

const authSchema = z.object({
  DB_AUTH: z.enum(['password', 'iam'], 'must be password or iam').default('password'),
});

const passwordSchema = z.object({
  DB_SECRET_ARN: text,
  DB_USER: z.undefined('must not be set unless DB_AUTH is iam: the secret names the user').optional(),
  DB_HOST: text.optional(),
});

const iamSchema = passwordSchema.extend({
  DB_SECRET_ARN: z.undefined('must not be set where DB_AUTH is iam, which needs no secret').optional(),
  DB_USER: requiredWithIam(),
  DB_HOST: requiredWithIam(),
  // RDS would refuse it as well, but only after the token had passed the network.
  DB_SSL_MODE: z
    .string()
    .refine((mode) => mode !== 'disable', 'must be verify-full where DB_AUTH is iam: who reads the token can log in')
    .optional(),
});

function requiredWithIam() {
  return z.string('is required where DB_AUTH is iam').min(1, 'must not be empty');
}

/** Every variable that the function reads, besides those of the SDK and of Lambda itself. */
export const VARIABLES: readonly string[] = [
  ...new Set(
    [authSchema, passwordSchema, iamSchema, settingsSchema].flatMap(({ shape }): string[] => Object.keys(shape)),
  ),
  'CLEANUP_TARGETS',
  'NODE_ENV',
  'POWERTOOLS_SERVICE_NAME',
];

function readLogin(environment: Environment): Login {
  const { DB_AUTH: auth } = parse(authSchema, environment);
  if (auth === 'iam') {
    const { DB_HOST: host, DB_USER: user } = parse(iamSchema, environment);
    return { auth, host, user };
  }
  const { DB_SECRET_ARN: secretArn, DB_HOST: host } = parse(passwordSchema, environment);
  return { auth, secretArn, host };
}

function readTargets(json: string | undefined): Target[] {
  const name = 'CLEANUP_TARGETS';
  let input: unknown = DEFAULT_TARGETS;
  if (json !== undefined) {
    try {
      input = JSON.parse(json);
    } catch {
      throw new InvalidInputError([`${name} must be JSON, got ${JSON.stringify(json)}`]);
    }
  }
  return parseTargets(input, name);
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

function parse<T>(schema: z.ZodType<T>, environment: Environment): T {
  const result = schema.safeParse(environment);
  if (!result.success) {
    throw new InvalidInputError(mistakesIn(result.error, '', environment));
  }
  return result.data;
}

/** Runs a step whose mistakes join those that are known already. */
function collect<T>(mistakes: string[], step: () => T): T | undefined {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof InvalidInputError)) {
      throw error;
    }
    mistakes.push(...error.mistakes);
    return undefined;
  }
}
