import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readConfig } from '../../lambda/configuration/environment';
import { DEFAULT_TARGETS, parseTargets, type Target, type TargetsInput } from '../../lambda/configuration/targets';
import { InvalidInputError } from '../../lambda/configuration/validation';
import { type Database, parseDatabaseUrl } from './database-url';
import { DEMO_TARGETS } from './demo-tables';

/** What `npm start` was asked for. */
export interface Options {
  /** Absent for the demo on an embedded server. */
  readonly database: Database | undefined;
  readonly dryRun: boolean;
  readonly targets: readonly Target[];
  /** How the function is told: the variables of its environment that the options stand for. */
  readonly settings: Readonly<Record<string, string | undefined>>;
  readonly json: boolean;
  readonly verbose: boolean;
}

export const HELP = `Usage: npm start -- [options]

Deletes revoked, used and expired rows from token tables, by the function that
runs on Lambda. Without --database-url it does so on a demo: an embedded
PostgreSQL with about 200,000 rows, thrown away afterwards.

  --database-url URL  the database to clean, in which nothing is created:
                      postgres://USER:PASSWORD@HOST:PORT/DATABASE
                      ?sslmode=verify-full  encrypted, the server's certificate
                                            checked; default but for localhost
                      ?sslmode=disable      not encrypted
                      ?sslrootcert=FILE     trusts these authorities too (PEM)
  --dry-run           deletes nothing; tells what would be deleted, what would
                      stay, how long it would take, and what is missing for it
  --targets FILE      tables and rules, as JSON in the form of CLEANUP_TARGETS
                      [default: revoked or expired rows of refresh_tokens; on
                      the demo those of password_resets, too]
  --concurrency N     connections that sweep at once, 1 to 16 [default: 1]
  --max-load X        share of time that a connection works, above 0 up to 1
                      [default: 0.5]
  --json              prints the result alone, as JSON; all else goes to stderr.
                      npm adds lines of its own unless run as npm --silent start
  --verbose           shows the function's log on stderr
  --help              shows this

Ctrl-C ends a run after the batch that is under way; a second one at once.

Exit code: 0 succeeded, or skipped (NODE_ENV is test, or another run is at
work); 1 failed; 2 an option is wrong, and nothing was touched; 3 dead rows
remain, or the run was interrupted; 130 ended at once.
`;

const OPTIONS = {
  'database-url': { type: 'string' },
  'dry-run': { type: 'boolean' },
  targets: { type: 'string' },
  concurrency: { type: 'string' },
  'max-load': { type: 'string' },
  json: { type: 'boolean' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

type OptionName = keyof typeof OPTIONS;

/**
 * Reads the command line.
 *
 * @param environment as npm left it
 * @throws InvalidInputError with every mistake
 */
export function parseOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Options | 'help' {
  const mistakes: string[] = [];
  const values = readValues(args, mistakes);
  if (values.has('help')) {
    return 'help';
  }
  // npm takes what stands before `--` for itself, and the run would delete.
  if (environment.npm_config_dry_run === 'true' && !values.has('dry-run')) {
    mistakes.push('--dry-run went to npm and not to this command: npm start -- --dry-run');
  }
  const collect = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof InvalidInputError)) {
        throw error;
      }
      mistakes.push(...error.mistakes);
      return undefined;
    }
  };
  const url = values.get('database-url');
  const file = values.get('targets');
  const database = collect(() => (url === undefined ? undefined : parseDatabaseUrl(url)));
  const targets = collect(() => readTargets(file, url === undefined ? DEMO_TARGETS : DEFAULT_TARGETS));
  const settings = collect(() => readSettings(values));
  if (!targets || !settings || mistakes.length > 0) {
    throw new InvalidInputError(mistakes);
  }
  return {
    database,
    dryRun: values.has('dry-run'),
    targets: targets.parsed,
    settings: { ...settings, CLEANUP_TARGETS: JSON.stringify(targets.input) },
    json: values.has('json'),
    verbose: values.has('verbose'),
  };
}

/** What each option was given; a flag is there or is not. */
function readValues(args: readonly string[], mistakes: string[]): Map<OptionName, string> {
  const values = new Map<OptionName, string>();
  const { tokens } = parseArgs({ args: [...args], options: OPTIONS, strict: false, tokens: true });
  let strangerAt: number | undefined;
  for (const token of tokens) {
    if (token.kind === 'positional') {
      // Not repeated, since it may be a URL with a password. After an unknown option it is probably its value.
      if (strangerAt !== token.index - 1) {
        mistakes.push('an argument stands alone: a database is given by --database-url URL, a file by --targets FILE');
      }
    } else if (token.kind === 'option') {
      const { rawName } = token;
      if (!isOption(token.name)) {
        strangerAt = token.index;
        mistakes.push(`${rawName} is not an option${suggestion(token.name)}`);
      } else if (values.has(token.name)) {
        mistakes.push(`${rawName} is given twice`);
      } else if (OPTIONS[token.name].type === 'boolean' && token.value !== undefined) {
        mistakes.push(`${rawName} takes no value`);
      } else if (OPTIONS[token.name].type === 'string' && !isValue(token)) {
        mistakes.push(`${rawName} needs a value`);
      } else {
        values.set(token.name, token.value ?? '');
      }
    }
  }
  return values;
}

function isOption(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name);
}

/** The parser takes the option that follows for the value that is missing. */
function isValue(token: { readonly value?: string | undefined; readonly inlineValue?: boolean | undefined }): boolean {
  return Boolean(token.value) && (token.inlineValue === true || !token.value?.startsWith('--'));
}

function suggestion(name: string): string {
  const [closest] = Object.keys(OPTIONS)
    .map((option) => ({ option, distance: editDistance(name, option) }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance);
  return closest ? `, did you mean --${closest.option}?` : '';
}

/** How many letters to insert, remove or replace (Levenshtein). */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [line, letter] of [...from].entries()) {
    const next = [line + 1];
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (row[column - 1] ?? 0) + (letter === to[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

function readTargets(
  file: string | undefined,
  fallback: TargetsInput,
): { readonly input: unknown; readonly parsed: readonly Target[] } {
  const input: unknown = file === undefined ? fallback : readJson(file);
  return { input, parsed: parseTargets(input, file) };
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new InvalidInputError([`--targets must be a file that can be read: ${(error as Error).message}`]);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidInputError([`--targets must be a file of JSON, ${file} is not: ${(error as Error).message}`]);
  }
}

const OPTION_BY_VARIABLE = { CLEANUP_CONCURRENCY: '--concurrency', CLEANUP_MAX_LOAD: '--max-load' } as const;

/** The function itself says what it accepts; the mistakes are put under the names that were typed. */
function readSettings(values: ReadonlyMap<OptionName, string>): Record<string, string | undefined> {
  const settings = {
    CLEANUP_CONCURRENCY: values.get('concurrency'),
    CLEANUP_MAX_LOAD: values.get('max-load'),
  };
  try {
    readConfig({ DB_SECRET_ARN: 'known later', ...settings });
    return settings;
  } catch (error) {
    if (!(error instanceof InvalidInputError)) {
      throw error;
    }
    throw new InvalidInputError(
      error.mistakes.map((mistake) =>
        mistake.replace(/^\w+/, (name) => OPTION_BY_VARIABLE[name as keyof typeof OPTION_BY_VARIABLE] ?? name),
      ),
    );
  }
}
