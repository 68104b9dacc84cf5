import * as z from 'zod';
import { loginMistakes } from './login';
import { type NamePattern, namePattern } from './name-pattern';
import {
  CONCURRENCY,
  DEFAULT_CONCURRENCY,
  DEFAULT_STAGE,
  decimal,
  isLikeTest,
  LAG_SECONDS,
  MAX_LOAD,
  MAX_ROWS,
  NODE_ENV_RULE,
  PORT,
  SERVICE,
} from './settings';
import { DEFAULT_TARGETS, parseTargets, type Target } from './targets';
import { parse, parseJson, together } from './validation';

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The settings of the function. */
export interface Config extends Settings {
  readonly login: Login;
}

/** The settings of a job inside a service. The environment of a service holds the login itself, not a secret's ARN. */
export interface ServiceConfig extends Settings {
  readonly login: Address & Partial<ServiceLogin>;
}

interface Settings {
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
  /** About settings that are valid, and may be a mistake. */
  readonly warnings?: readonly string[] | undefined;
}

interface Address {
  readonly port?: number | undefined;
  readonly name?: string | undefined;
}

/** The address of the database, and the login. */
export type Login = PasswordLogin | IamLogin;

/** A login with the user and password of a secret. Host, port and name override the values in the secret. */
export interface PasswordLogin extends Address {
  readonly auth: 'password';
  readonly secretArn: string;
  readonly host?: string | undefined;
}

/** A login with tokens that the function signs. */
export interface IamLogin extends Address {
  readonly auth: 'iam';
  /** The endpoint that RDS shows: the server refuses tokens for an alias. */
  readonly host: string;
  readonly user: string;
}

interface ServiceLogin {
  readonly host: string;
  readonly user: string;
  readonly password: string;
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

/** @throws InvalidInputError with every mistake */
export function readConfig(environment: Environment): Config {
  return readConfigWith(environment, () => readLogin(environment));
}

/**
 * @param isConnected whether the options of the service provide the connection, so that the environment need not
 * @throws InvalidInputError with every mistake
 */
export function readServiceConfig(environment: Environment, isConnected = false): ServiceConfig {
  return readConfigWith(environment, () => (isConnected ? {} : readServiceLogin(environment)));
}

function readConfigWith<L>(environment: Environment, loginIn: () => L): Settings & { readonly login: L & Address } {
  const { CLEANUP_TARGETS, DB_NAMES, NODE_ENV = '' } = environment;
  const [login, settings, targets, databases] = together(
    loginIn,
    () => parse(settingsSchema, environment),
    () => parseTargets(json('CLEANUP_TARGETS', CLEANUP_TARGETS, DEFAULT_TARGETS), 'CLEANUP_TARGETS'),
    () => parse(namePattern.optional(), json('DB_NAMES', DB_NAMES), 'DB_NAMES'),
  );
  return {
    login: { ...login, port: settings.DB_PORT, name: settings.DB_NAME },
    tls: settings.DB_SSL_MODE === 'verify-full' && { rootCertificates: settings.DB_SSL_ROOT_CERT },
    targets,
    databases,
    concurrency: settings.CLEANUP_CONCURRENCY,
    maxLoad: settings.CLEANUP_MAX_LOAD,
    maxRows: settings.CLEANUP_MAX_ROWS,
    maxReplicaLagSeconds: settings.CLEANUP_MAX_REPLICA_LAG_SECONDS,
    warnings: isLikeTest(NODE_ENV) ? [`NODE_ENV ${NODE_ENV_RULE}, got ${JSON.stringify(NODE_ENV)}`] : undefined,
  };
}

function json(name: string, text: string | undefined, absent?: unknown): unknown {
  return text === undefined ? absent : parseJson(name, text);
}

const text = z.string().min(1, 'must not be empty');

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

const loginSchema = z
  .object({
    DB_AUTH: z.enum(['password', 'iam'], 'must be password or iam').default('password'),
    DB_SECRET_ARN: text.optional(),
    DB_USER: text.optional(),
    DB_HOST: text.optional(),
    DB_SSL_MODE: z.string().optional(),
  })
  .superRefine(
    (variables, context) => {
      for (const { field, rule } of loginMistakes(variables, LOGIN_VARIABLES, variables.DB_AUTH === 'iam')) {
        context.addIssue({ code: 'custom', path: [field], message: rule });
      }
    },
    // Together with other mistakes, but without a guess at the needs of an unknown DB_AUTH.
    { when: ({ issues }) => !issues.some(({ path }) => path?.includes('DB_AUTH')) },
  );

const LOGIN_VARIABLES = {
  secret: 'DB_SECRET_ARN',
  iam: 'DB_AUTH=iam',
  user: 'DB_USER',
  host: 'DB_HOST',
  sslMode: 'DB_SSL_MODE',
};

const serviceLoginSchema = z.object({ DB_HOST: text, DB_USER: text, DB_PASSWORD: text });

/** Every variable that the function reads, except those of the SDK and of Lambda itself. */
export const VARIABLES: readonly string[] = [
  ...Object.keys({ ...loginSchema.shape, ...settingsSchema.shape }),
  'CLEANUP_TARGETS',
  'DB_NAMES',
  'NODE_ENV',
  'POWERTOOLS_SERVICE_NAME',
];

/** Variables that accept any text, even one that is not known before the deployment. */
export const ANY_TEXT_VARIABLES: ReadonlySet<string> = new Set([
  'DB_HOST',
  'DB_NAME',
  'DB_SECRET_ARN',
  'DB_SSL_ROOT_CERT',
  'DB_USER',
  'STAGE',
]);

/** Every variable that a job inside a service reads. */
export const SERVICE_VARIABLES: readonly string[] = [
  ...Object.keys({ ...serviceLoginSchema.shape, ...settingsSchema.shape }),
  'CLEANUP_TARGETS',
  'NODE_ENV',
];

function readServiceLogin(environment: Environment): ServiceLogin {
  const { DB_HOST: host, DB_USER: user, DB_PASSWORD: password } = parse(serviceLoginSchema, environment);
  return { host, user, password };
}

function readLogin(environment: Environment): Login {
  const { DB_AUTH: auth, DB_SECRET_ARN, DB_USER, DB_HOST: host } = parse(loginSchema, environment);
  return auth === 'iam'
    ? { auth, host: host as string, user: DB_USER as string }
    : { auth, secretArn: DB_SECRET_ARN as string, host };
}
