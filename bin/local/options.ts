import type { Environment } from '../../lambda/configuration/environment';
import { CONCURRENCY, decimal, MAX_LOAD, MAX_ROWS } from '../../lambda/configuration/settings';
import { DEFAULT_TARGETS } from '../../lambda/configuration/targets';
import { parse, refuse, together } from '../../lambda/configuration/validation';
import { type Arguments, readArguments } from './arguments';
import { type Database, parseDatabaseUrl } from './database-url';
import { DEMO_TARGETS } from './demo-tables';
import { encryptionOfFleet } from './encryption';
import { type Fleet, readFleet } from './fleet';
import { type Job, jobOf, jobOfStage, readTargets } from './job';

/** The options of `npm start`. */
export interface Options {
  /** Absent for the demo on an embedded server. */
  readonly database: Database | undefined;
  /** The servers of a manifest, in place of one database. */
  readonly fleet: Fleet | undefined;
  readonly dryRun: boolean;
  /** Whether to look for tables instead of running the job. */
  readonly discover: boolean;
  /** Whether to ask before rows are deleted. */
  readonly asks: boolean;
  readonly job: Job;
  readonly json: boolean;
  readonly verbose: boolean;
}

// Not commander: its messages quote stray arguments, such as a URL with a password, and it requires Node.js 22.12.
const OPTIONS = {
  'database-url': { type: 'string' },
  'dry-run': { type: 'boolean' },
  discover: { type: 'boolean' },
  yes: { type: 'boolean', short: 'y' },
  manifest: { type: 'string' },
  targets: { type: 'string' },
  stage: { type: 'string' },
  concurrency: { type: 'string' },
  'max-load': { type: 'string' },
  'max-rows': { type: 'string' },
  json: { type: 'boolean' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Options that set a variable of the function, and override the stage's. */
const NUMBERS = [
  { option: 'concurrency', variable: 'CLEANUP_CONCURRENCY', range: CONCURRENCY },
  { option: 'max-load', variable: 'CLEANUP_MAX_LOAD', range: MAX_LOAD },
  { option: 'max-rows', variable: 'CLEANUP_MAX_ROWS', range: MAX_ROWS },
] as const;

/**
 * Reads the command line.
 *
 * @param environment the environment that npm passes on
 * @param isTerminal whether input and this output are a terminal, so that a question can be answered
 * @throws InvalidInputError with every mistake
 */
export function parseOptions(
  args: readonly string[],
  environment: Environment,
  isTerminal: (output: 'stdout' | 'stderr') => boolean,
): Options | 'help' {
  const values = readArguments(args, OPTIONS, 'use --database-url URL for a database, --targets FILE for a file');
  if (values.help) {
    return 'help';
  }
  const { 'database-url': url, manifest, 'dry-run': dryRun = false, discover = false, json = false } = values;
  const needsConsent = (url ?? manifest) !== undefined && !dryRun && !discover && !values.yes;
  const canAsk = isTerminal(json ? 'stderr' : 'stdout');
  const hasSource = values.targets !== undefined || values.stage !== undefined;
  const [, database, job, fleet, encryption, numbers] = together(
    // npm keeps options before `--` for itself, and the run would delete.
    () => refuseIf(environment.npm_config_dry_run === 'true' && !dryRun, NPM_RULE),
    () => (url === undefined ? undefined : parseDatabaseUrl(url, environment)),
    () => (manifest === undefined ? readJob(values) : jobOf(DEFAULT_TARGETS)),
    () => (manifest === undefined ? undefined : readFleet(manifest, sourceOf(values))),
    () => (manifest === undefined ? {} : encryptionOfFleet(environment)),
    () => readNumbers(values),
    () => refuseIf(discover && url === undefined, DISCOVER_RULE),
    () => refuseIf(discover && hasSource, '--discover finds targets, and takes none from --targets or --stage'),
    () => refuseIf(url !== undefined && manifest !== undefined, MANIFEST_RULE),
    // With --json nothing is refused, since programs rely on it.
    () => refuseIf(needsConsent && !canAsk && !json, YES_RULE),
  );
  return {
    ...{ database, dryRun, discover, json, verbose: values.verbose ?? false },
    fleet: fleet && { ...fleet, settings: { ...fleet.settings, ...encryption, ...numbers } },
    asks: needsConsent && canAsk,
    job: { ...job, environment: { ...job.environment, ...numbers } },
  };
}

const NPM_RULE = '--dry-run went to npm, not to this command: npm start -- --dry-run';
const DISCOVER_RULE = '--discover requires --database-url: the demo has nothing to discover';
const MANIFEST_RULE = '--manifest must not be used with --database-url: its servers have addresses of their own';
const YES_RULE =
  '--yes is required to delete rows if input or output is not a terminal, since nobody can be asked; ' +
  '--dry-run deletes nothing';

function refuseIf(isMistaken: boolean, rule: string): void {
  refuse(isMistaken ? [rule] : []);
}

type Values = Arguments<typeof OPTIONS>;

/** @throws InvalidInputError if there are two sources of targets */
function sourceOf({ targets, stage }: Values) {
  const isTwofold = targets !== undefined && stage !== undefined;
  refuseIf(isTwofold, '--targets must not be used with --stage, which has targets of its own');
  return { targets, stage };
}

/** @throws InvalidInputError with every mistake */
function readJob(values: Values): Job {
  const { targets, stage } = sourceOf(values);
  if (stage !== undefined) {
    const job = jobOfStage(stage);
    refuseIf(
      job.databases !== undefined && values['database-url'] === undefined,
      `--database-url is required with --stage ${stage}, which sweeps databases that the demo lacks`,
    );
    return job;
  }
  return targets === undefined
    ? jobOf(values['database-url'] === undefined ? DEMO_TARGETS : DEFAULT_TARGETS)
    : jobOf(readTargets(targets));
}

/** @throws InvalidInputError with every mistake */
function readNumbers(values: Values): Environment {
  const variables: Record<string, string> = {};
  const steps = NUMBERS.map(({ option, variable, range }) => () => {
    const text = values[option];
    if (text !== undefined) {
      parse(decimal(range), text, `--${option}`);
      variables[variable] = text;
    }
  });
  together(...steps);
  return variables;
}
