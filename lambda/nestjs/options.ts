import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { Logger } from '@nestjs/common';
import { CronTime } from 'cron';
import {
  type Environment,
  identityOf,
  readServiceConfig,
  SERVICE_VARIABLES,
  type ServiceConfig,
} from '../configuration/environment';
import { DEFAULT_DATABASE, DEFAULT_PORT } from '../configuration/settings';
import { parseTargets, type TargetsInput } from '../configuration/targets';
import { InvalidInputError, together } from '../configuration/validation';
import { type ConnectionOptions, fixedCredentials } from '../database/session';
import type { RunLogger } from '../run/report';
import { type TokenCleanupOptions, TokenCleanupService } from '../token-cleanup-service';

/** Options of the module. Each overrides a variable of the environment. */
export interface TokenCleanupModuleOptions extends Partial<Omit<TokenCleanupOptions, 'targets'>> {
  /**
   * The tables and their rules.
   *
   * @default - `CLEANUP_TARGETS`, or the revoked and expired rows of `refresh_tokens`
   */
  readonly targets?: TargetsInput;
  /**
   * A five-field crontab.
   *
   * @default - `REFRESH_TOKEN_CLEANUP_CRON`, or `0 3 * * *`
   */
  readonly crontab?: string;
  /**
   * The IANA time zone of the crontab.
   *
   * @default UTC
   */
  readonly timeZone?: string;
}

export interface JobOptions {
  readonly service: TokenCleanupOptions;
  readonly crontab: string;
  readonly timeZone: string;
}

const CRONTAB_VARIABLE = 'REFRESH_TOKEN_CLEANUP_CRON';

const DEFAULT_CRONTAB = '0 3 * * *';

/** A source of variables, such as the ConfigService of Nest. */
export interface VariableSource {
  get(name: string): unknown;
}

/** The variables of the job as text. A ConfigService may hold numbers, and objects if it parses JSON. */
export function environmentFrom(source: VariableSource): Environment {
  const textOf = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  return Object.fromEntries(
    [...SERVICE_VARIABLES, CRONTAB_VARIABLE].flatMap((name) => {
      const value = source.get(name);
      return value === undefined || value === null ? [] : [[name, textOf(value)]];
    }),
  );
}

/** @throws InvalidInputError with every mistake */
export function jobOptions(options: TokenCleanupModuleOptions, environment: Environment): JobOptions {
  const { crontab = environment[CRONTAB_VARIABLE] ?? DEFAULT_CRONTAB, timeZone = 'UTC', targets, ...given } = options;
  const [, service] = together(
    () => checkCrontab(options.crontab === undefined ? CRONTAB_VARIABLE : 'crontab', crontab),
    () => {
      const { login, tls, ...config } = readServiceConfig(environment, given.connection !== undefined);
      return {
        connection: connectionFrom(login, tls),
        stage: identityOf(environment).stage,
        logger: nestLogger(),
        ...config,
        ...given,
        ...(targets && { targets: parseTargets(targets) }),
      };
    },
  );
  return { service, crontab, timeZone };
}

/** The same five fields as for the deployed function. The scheduling library would read a sixth as seconds. */
function checkCrontab(name: string, crontab: string): void {
  if (crontab.trim().split(/\s+/).length !== 5 || !isReadByCron(crontab)) {
    throw new InvalidInputError([`${name} must be a crontab of five fields, got ${JSON.stringify(crontab)}`]);
  }
}

/** `validateCronExpression` is missing in the versions of cron that NestJS 10 uses. */
function isReadByCron(crontab: string): boolean {
  try {
    new CronTime(crontab);
    return true;
  } catch {
    return false;
  }
}

function connectionFrom(login: ServiceConfig['login'], tls: ServiceConfig['tls']): ConnectionOptions {
  const { host = '', user = '', password = '', port = DEFAULT_PORT, name: database = DEFAULT_DATABASE } = login;
  return {
    credentials: fixedCredentials({ host, port, database, user, password }),
    trustedCertificates: tls && trustedCertificates(tls.rootCertificates),
  };
}

function trustedCertificates(file: string | undefined): string[] {
  try {
    return [...rootCertificates, ...(file === undefined ? [] : [readFileSync(file, 'utf8')])];
  } catch {
    throw new InvalidInputError([`DB_SSL_ROOT_CERT must be a readable file, got ${JSON.stringify(file)}`]);
  }
}

function nestLogger(): RunLogger {
  const logger = new Logger(TokenCleanupService.name);
  return {
    debug: () => {}, // progress, four times a second
    info: (message) => logger.log(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
  };
}
