import * as z from 'zod';
import { type NamePattern, namePattern } from './name-pattern';
import {
  CONCURRENCY,
  DEFAULT_CONCURRENCY,
  DEFAULT_STAGE,
  decimal,
  LAG_SECONDS,
  MAX_LOAD,
  MAX_ROWS,
  PORT,
  SERVICE,
} from './settings';
import { DEFAULT_TARGETS, parseTargets, type Target } from './targets';
import { InvalidInputError, mistakesIn } from './validation';

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The settings of the function. */
export interface Config {
  readonly login: Login;
  /** `false` for a connection that is not encrypted. */
  readonly tls: { readonly rootCertificates?: string | undefined } | false;
  readonly targets: readonly Target[];
  /** The databases of the server to sweep, instead of one. */
  readonly databases?: NamePattern | undefined;
  readonly concurrency: number;
  /** Absent for the automatic pace. */
  readonly maxLoad?: number | undefined;
  readonly maxRows?: number | undefined;
  readonly maxReplicaLagSeconds?: number | undefined;
}

/** The address of the database, and the login. */
export type Login = PasswordLogin | IamLogin;

/** A login with the user and password of a secret. */
export interface PasswordLogin {
  readonly auth: 'password';
  readonly secretArn: string;
  /** Host, port and name override the values in the secret. */
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly name?: string | undefined;
}

/** A login with tokens that the function signs. */
export interface IamLogin {
  readonly auth: 'iam';
  /** The endpoint that RDS shows: the server refuses tokens for an alias. */
  readonly host: string;
  readonly user: string;
  readonly port?: number | undefined;
  readonly name?: string | undefined;
}

/** The settings of a job inside a service. */
export interface ServiceConfig extends Omit<Config, 'login'> {
  readonly login: Partial<ServiceLogin> & Address;
}

interface ServiceLogin {
  readonly host: string;
  readonly user: string;
  readonly password: string;
}

interface Address {
  readonly port?: number | undefined;
  readonly name?: string | undefined;
}

/** Whether the job runs at all. It does not if `NODE_ENV` is `test`. */
export function isEnabled(environment: Environment): boolean {
  return environment.NODE_ENV !== 'test';
}

/** Stage and service name for logs and metrics. Never throws, so that an invalid environment can be reported. */
export function identityOf(environment: Environment): { readonly stage: string; readonly service: string } {
  return {
    stage: environment.STAGE || DEFAULT_STAGE,
    service: environment.POWERTOOLS_SERVICE_NAME || SERVICE,
  };
}

/**
 * Reads the settings of the function.
 *
 * @throws InvalidInputError with every mistake
 */
export function readConfig(environment: Environment): Config {
  return readConfigWith(environment, readLogin);
}

/**
 * Reads the settings of a job inside a service. The environment of a service holds the login itself, not a secret's ARN.
 *
 * @param isConnected whether the options of the service provide the connection, so that the environment need not
 * @throws InvalidInputError with every mistake
 */
export function readServiceConfig(environment: Environment, isConnected = false): ServiceConfig {
  return readConfigWith(environment, isConnected ? () => ({}) : readServiceLogin);
}

function readConfigWith<L extends object>(
  environment: Environment,
  loginFrom: (environment: Environment) => L,
): Omit<Config, 'login'> & { readonly login: L & Address } {
  const mistakes: string[] = [];
  const login = collect(mistakes, () => loginFrom(environment));
  const settings = collect(mistakes, () => parse(settingsSchema, environment));
  const targets = collect(mistakes, () => readTargets(environment.CLEANUP_TARGETS));
  const databases = collect(mistakes, () => readDatabases(environment.DB_NAMES));
  if (!login || !settings || !targets || mistakes.length > 0) {
    throw new InvalidInputError(mistakes);
  }
  return {
    login: { ...login, port: settings.DB_PORT, name: settings.DB_NAME },
    tls: settings.DB_SSL_MODE === 'verify-full' && { rootCertificates: settings.DB_SSL_ROOT_CERT },
    targets,
    databases,
    concurrency: settings.CLEANUP_CONCURRENCY,
    maxLoad: settings.CLEANUP_MAX_LOAD,
    maxRows: settings.CLEANUP_MAX_ROWS,
    maxReplicaLagSeconds: settings.CLEANUP_MAX_REPLICA_LAG_SECONDS,
  };
}

const text = anyText(z.string());

/** A variable that accepts any text. */
function anyText(schema: z.ZodString) {
  return schema.min(1, 'must not be empty').meta({ anyText: true });
}

const settingsSchema = z.object({
  DB_PORT: decimal(PORT).optional(),
  DB_NAME: text.optional(),
  DB_SSL_MODE: z.enum(['verify-full', 'disable'], 'must be verify-full or disable').default('verify-full'),
  DB_SSL_ROOT_CERT: text.optional(),
  CLEANUP_CONCURRENCY: decimal(CONCURRENCY).default(DEFAULT_CONCURRENCY),
  CLEANUP_MAX_LOAD: decimal(MAX_LOAD).optional(),
  CLEANUP_MAX_ROWS: decimal(MAX_ROWS).optional(),
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
  DB_SECRET_ARN: z.undefined('must not be set if DB_AUTH is iam, which needs no secret').optional(),
  DB_USER: requiredWithIam(),
  DB_HOST: requiredWithIam(),
  // RDS refuses this too, but only after the token has crossed the network in plain text.
  DB_SSL_MODE: z
    .string()
    .refine(
      (mode) => mode !== 'disable',
      'must be verify-full if DB_AUTH is iam: anyone who reads the token can log in',
    )
    .optional(),
});

function requiredWithIam() {
  return anyText(z.string('is required if DB_AUTH is iam'));
}

const SHAPES: readonly Readonly<Record<string, z.core.$ZodType>>[] = [
  authSchema.shape,
  passwordSchema.shape,
  iamSchema.shape,
  settingsSchema.shape,
];

/** Every variable that the function reads, except those of the SDK and of Lambda itself. */
export const VARIABLES: readonly string[] = [
  ...new Set(SHAPES.flatMap((shape) => Object.keys(shape))),
  'CLEANUP_TARGETS',
  'DB_NAMES',
  'NODE_ENV',
  'POWERTOOLS_SERVICE_NAME',
];

/** Variables that accept any text, even one that is not known before the deployment. */
export const ANY_TEXT_VARIABLES: ReadonlySet<string> = new Set(
  SHAPES.flatMap((shape) => Object.entries(shape).flatMap(([name, schema]) => (isAnyText(schema) ? [name] : []))),
);

function isAnyText(schema: z.core.$ZodType): boolean {
  return schema instanceof z.ZodOptional ? isAnyText(schema.unwrap()) : z.globalRegistry.get(schema)?.anyText === true;
}

/** Every variable that a job inside a service reads. The function reads its password from a secret instead. */
export const SERVICE_VARIABLES: readonly string[] = [
  'DB_HOST',
  'DB_USER',
  'DB_PASSWORD',
  'CLEANUP_TARGETS',
  'NODE_ENV',
  ...Object.keys(settingsSchema.shape),
];

const serviceLoginSchema = z.object({
  DB_HOST: requiredText(),
  DB_USER: requiredText(),
  DB_PASSWORD: requiredText(),
});

function requiredText() {
  return anyText(z.string('is required'));
}

function readServiceLogin(environment: Environment): ServiceLogin {
  const { DB_HOST: host, DB_USER: user, DB_PASSWORD: password } = parse(serviceLoginSchema, environment);
  return { host, user, password };
}

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
  return parseTargets(json === undefined ? DEFAULT_TARGETS : parseJson('CLEANUP_TARGETS', json), 'CLEANUP_TARGETS');
}

function readDatabases(json: string | undefined): NamePattern | undefined {
  if (json === undefined) {
    return undefined;
  }
  const input = parseJson('DB_NAMES', json);
  const result = namePattern.safeParse(input);
  if (!result.success) {
    throw new InvalidInputError(mistakesIn(result.error, 'DB_NAMES', input, { schema: namePattern }));
  }
  return result.data;
}

function parseJson(name: string, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new InvalidInputError([`${name} must be JSON, got ${JSON.stringify(json)}`]);
  }
}

function parse<T>(schema: z.ZodType<T>, environment: Environment): T {
  const result = schema.safeParse(environment);
  if (!result.success) {
    throw new InvalidInputError(mistakesIn(result.error, '', environment));
  }
  return result.data;
}

/** Runs a step, and adds its mistakes to the list. */
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
