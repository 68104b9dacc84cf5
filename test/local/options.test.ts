import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Options, parseOptions } from '../../bin/local/options';
import { mistakesOf } from '../support/mistakes';

const folder = mkdtempSync(join(tmpdir(), 'options-'));
afterAll(() => rmSync(folder, { recursive: true }));

const URL = ['--database-url', 'postgres://app@localhost/shop'];

function options(args: readonly string[], { isTerminal = true, environment = {} } = {}): Options {
  return parseOptions(args, environment, () => isTerminal) as Options;
}

function mistakesIn(...given: Parameters<typeof options>): readonly string[] {
  return mistakesOf(() => options(...given));
}

test.each([
  [['--dryrun'], '--dryrun is not an option (did you mean --dry-run?)'],
  [['--databas-url=postgres://u:canary@h/d'], '--databas-url is not an option (did you mean --database-url?)'],
  [['--postgres://u:canary@h/d'], 'an argument is not an option'],
  [
    ['postgres://u:canary@h/d'],
    'unexpected argument: use --database-url URL for a database, --targets FILE for a file',
  ],
  [['--json=canary'], "Option '--json' does not take an argument"],
  [['--database-url', 'postgres://u:canary@h/d', '--targets'], "Option '--targets <value>' argument missing"],
  [['--json', '--json'], '--json is given twice'],
  [['-y', '--yes'], '--yes is given twice'],
  [['--targets', 'a.json', '--stage', 'prod'], '--targets must not be used with --stage, which has targets of its own'],
  [['--discover'], '--discover requires --database-url: the demo has nothing to discover'],
  [[...URL, '--discover', '--stage', 'dev'], '--discover finds targets, and takes none from --targets or --stage'],
  [['--max-load', '2'], '--max-load must be above 0 and at most 1, got "2"'],
  [['--max-rows', '0'], '--max-rows must be a whole number from 1 to 1000000000000, got "0"'],
])('refuses %j without repeating what may be a secret', (args, mistake) => {
  expect(mistakesIn(args)).toEqual([mistake]);
});

test('lists every mistake in values', () => {
  const args = [
    ...['--database-url', 'postgres://u@h/d?sslmode=on&x=y', '--concurrency', 'two'],
    ...['--max-load', '0', '--stage', 'x'],
  ];

  expect(mistakesIn(args, { isTerminal: false, environment: { npm_config_dry_run: 'true' } })).toEqual([
    '--dry-run went to npm, not to this command: npm start -- --dry-run',
    expect.stringContaining('the parameter x is not supported'),
    expect.stringContaining('sslmode must be verify-full or disable, got "on"'),
    'stage must be one of dev, staging, prod, fleet, got "x"',
    '--concurrency must be a whole number from 1 to 16, got "two"',
    '--max-load must be above 0 and at most 1, got "0"',
    expect.stringContaining('--yes is required'),
  ]);
});

describe('a run that deletes from a given database', () => {
  const REQUIRED =
    '--yes is required to delete rows if input or output is not a terminal, since nobody can be asked; ' +
    '--dry-run deletes nothing';

  test.each<[string, readonly string[], boolean, boolean | string]>([
    ['asks on a terminal', URL, true, true],
    ['does not ask with --yes', [...URL, '--yes'], true, false],
    ['asks on a terminal with --json', [...URL, '--json'], true, true],
    ['does not ask with --json --yes', [...URL, '--json', '--yes'], true, false],
    ['is refused in a pipe', URL, false, REQUIRED],
    ['goes on in a pipe with --yes', [...URL, '-y'], false, false],
    ['goes on in a pipe with --json', [...URL, '--json'], false, false],
  ])('%s', (_, args, isTerminal, expected) => {
    if (typeof expected === 'string') {
      expect(mistakesIn(args, { isTerminal })).toEqual([expected]);
    } else {
      expect(options(args, { isTerminal }).asks).toBe(expected);
    }
  });

  test.each([[[...URL, '--dry-run']], [[...URL, '--discover']], [[]]])('is none: %j never asks', (args) => {
    for (const isTerminal of [true, false]) {
      expect(options(args, { isTerminal }).asks).toBe(false);
    }
  });
});

describe('a stage', () => {
  test('gives the targets and settings that are deployed', () => {
    const { job } = options([...URL, '--stage', 'prod/auth', '--concurrency', '3', '--max-rows', '1000']);

    expect(job.targets).toEqual([
      {
        ...{ name: 'refresh_tokens', schema: 'public', table: 'refresh_tokens' },
        deleteWhen: [{ revoked: true, revoked_at: { olderThanMs: 2_592_000_000 } }, { expires_at: { olderThanMs: 0 } }],
      },
      {
        ...{ name: 'password_resets', schema: 'public', table: 'password_resets' },
        deleteWhen: [{ used: true }, { expires_at: { olderThanMs: 604_800_000 } }],
      },
    ]);
    expect(job.environment).toMatchObject({
      ...{ STAGE: 'prod', NODE_ENV: 'production' },
      ...{ CLEANUP_CONCURRENCY: '3', CLEANUP_MAX_LOAD: undefined, CLEANUP_MAX_ROWS: '1000' },
      CLEANUP_MAX_REPLICA_LAG_SECONDS: '30',
    });
  });

  test('with one database needs no name for it, and has the default targets', () => {
    const { job } = options([...URL, '--stage', 'dev']);

    expect(job.targets).toEqual(options(URL).job.targets);
    expect(job.environment.STAGE).toBe('dev');
  });

  test.each(['prod', 'prod/absent', 'prod/auth/x'])('with several databases needs the name of one: %s', (stage) => {
    expect(mistakesIn(['--stage', stage])).toEqual([
      `--stage must name a database of the stage: prod/auth or prod/partners, got "${stage}"`,
    ]);
  });
});

describe('a file of targets', () => {
  test.each([
    [
      'comma.json',
      '[\n  { "table": "a"\n    "deleteWhen": [] }\n]',
      ':3:5: Expected "," in JSON but found "\\"deleteWhen\\""',
    ],
    ['end.json', '[{', ':1:3: Expected string in JSON but found end of file'],
    ['quotes.json', "[{ 'table': 1 }]", ':1:4: JSON strings must use double quotes'],
    ['empty.json', '', ':1:1: Unexpected end of file in JSON'],
  ])('that is not JSON is answered in one line with the place: %s', (name, content, mistake) => {
    const file = join(folder, name);
    writeFileSync(file, content);
    const [message, ...others] = mistakesIn(['--targets', file]);

    expect(others).toEqual([]);
    expect(message).not.toContain('\n');
    expect(message).toContain(`--targets must be a file of JSON: ${file}:`);
    expect(message).toContain(mistake);
  });

  test('may begin with a byte order mark, as Windows editors write it', () => {
    const file = join(folder, 'bom.json');
    writeFileSync(file, '\ufeff[{ "table": "sessions", "deleteWhen": [{ "revoked": true }] }]');

    expect(options(['--targets', file]).job.targets).toMatchObject([{ table: 'sessions' }]);
  });

  test('that is missing is named', () => {
    expect(mistakesIn(['--targets', 'absent.json'])).toEqual([
      expect.stringContaining('--targets must be a readable file: ENOENT'),
    ]);
  });
});
