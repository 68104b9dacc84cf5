import { readFileSync } from 'node:fs';
import { transformSync } from 'esbuild';
import type { Environment } from '../../lambda/configuration/environment';
import type { NamePattern } from '../../lambda/configuration/name-pattern';
import { isLikeTest } from '../../lambda/configuration/settings';
import { LISTS_VARIABLE } from '../../lambda/configuration/target-lists';
import { DEFAULT_TARGETS, parseTargets, type Target, type TargetsInput } from '../../lambda/configuration/targets';
import { InvalidInputError, isObject } from '../../lambda/configuration/validation';
import type { DatabaseConfig } from '../../lib/stage/database-config';
import type { FleetConfig } from '../../lib/stage/fleet-config';
import { readStage } from '../../lib/stage/stage-config';
import type { StageConfig } from '../../lib/stage/stage-schema';

/** The tables to clean, and the settings of the function that cleans them. */
export interface Job {
  readonly targets: readonly Target[];
  /** Variables of the function, `CLEANUP_TARGETS` among them. */
  readonly environment: Environment;
  /** The databases of the server to sweep, in place of one. */
  readonly databases?: NamePattern | undefined;
  /** The timeout of the function, if a stage sets it. */
  readonly timeLimitMs?: number | undefined;
}

/** In the working directory, as for the CDK. */
const CDK_FILE = 'cdk.json';

export function jobOf(targets: TargetsInput): Job {
  return { targets: parseTargets(targets), environment: { CLEANUP_TARGETS: JSON.stringify(targets) } };
}

/** @throws InvalidInputError with every mistake in a file of targets */
export function readTargets(file: string): TargetsInput {
  const input = readJson(file, '--targets');
  parseTargets(input, file);
  return (isObject(input) ? input.targets : input) as TargetsInput;
}

/**
 * The job of a database of a stage, as it is deployed.
 *
 * @param choice the name of the stage, and of its database if it has more than one: `prod/auth`
 * @throws InvalidInputError with every mistake
 */
export function jobOfStage(choice: string): Job {
  const [name = '', chosen, ...rest] = choice.split('/');
  const stage = stageOf(name);
  const { databases } = stage;
  if (!databases) {
    throw new InvalidInputError([`--manifest is required with --stage ${name}, which is a fleet`]);
  }
  const names = Object.keys(databases);
  const database = databases[chosen ?? (names.length === 1 ? String(names[0]) : '')];
  if (!database || rest.length > 0) {
    throw new InvalidInputError([
      `--stage must name a database of the stage: ${names.map((each) => `${name}/${each}`).join(' or ')}, got ${JSON.stringify(choice)}`,
    ]);
  }
  const { targets, environment } = jobOf(database.targets ?? DEFAULT_TARGETS);
  const { names: pattern } = database;
  return {
    targets,
    environment: {
      ...{ ...environment, ...settingsOf(name, stage, database) },
      DB_NAMES: pattern && JSON.stringify(pattern),
    },
    databases: pattern,
    timeLimitMs: timeLimitOf(stage),
  };
}

/**
 * The settings that the servers of a stage's fleet share, as they are deployed.
 *
 * @throws InvalidInputError with every mistake
 */
export function settingsOfFleet(name: string): Pick<Job, 'environment' | 'timeLimitMs'> {
  const stage = stageOf(name);
  const { fleet } = stage;
  if (!fleet) {
    throw new InvalidInputError([`--stage must name a stage that has a fleet, got ${JSON.stringify(name)}`]);
  }
  return {
    environment: {
      ...settingsOf(name, stage, fleet),
      [LISTS_VARIABLE]: fleet.targets && JSON.stringify(fleet.targets),
      DB_SSL_MODE: fleet.sslMode,
      DB_SSL_ROOT_CERT: fleet.rootCertificates,
    },
    timeLimitMs: timeLimitOf(stage),
  };
}

/** `NODE_ENV` of the function: that of a stage, unless the one of this shell is `test`, or looks as if it was meant to be. */
export function nodeEnvOf({ environment }: Pick<Job, 'environment'>): string | undefined {
  const { NODE_ENV: own = '' } = process.env;
  return environment.NODE_ENV !== 'test' && (own === 'test' || isLikeTest(own)) ? own : environment.NODE_ENV;
}

function timeLimitOf({ timeoutSeconds }: StageConfig): number | undefined {
  return timeoutSeconds && 1_000 * timeoutSeconds;
}

function stageOf(name: string): StageConfig {
  const { context } = readJson(CDK_FILE, CDK_FILE) as { context?: { stages?: unknown } };
  return readStage(context?.stages, name);
}

function settingsOf(name: string, { nodeEnv }: StageConfig, pace: DatabaseConfig | FleetConfig): Environment {
  return {
    STAGE: name,
    NODE_ENV: nodeEnv,
    CLEANUP_CONCURRENCY: pace.concurrency?.toString(),
    CLEANUP_MAX_LOAD: pace.maxLoad?.toString(),
    CLEANUP_MAX_ROWS: pace.maxRows?.toString(),
    CLEANUP_MAX_REPLICA_LAG_SECONDS: pace.maxReplicaLagSeconds?.toString(),
  };
}

/** @throws InvalidInputError if it cannot be read */
export function readText(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/^\ufeff/, '');
  } catch (error) {
    throw new InvalidInputError([`${option} must be a readable file: ${(error as Error).message}`]);
  }
}

function readJson(file: string, option: string): unknown {
  const text = readText(file, option);
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidInputError([`${option} must be a file of JSON: ${jsonMistake(file, text)}`]);
  }
}

/** The place of a mistake. The messages of JSON.parse may lack it, and quote several lines of the file instead. */
function jsonMistake(file: string, text: string): string {
  try {
    transformSync(text, { loader: 'json', logLevel: 'silent' });
    return file;
  } catch (error) {
    const [mistake] =
      (error as { errors?: { text: string; location: { line: number; column: number } }[] }).errors ?? [];
    return mistake ? `${file}:${mistake.location.line}:${mistake.location.column + 1}: ${mistake.text}` : file;
  }
}
