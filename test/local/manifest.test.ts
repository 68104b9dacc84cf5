import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { SecretsEndpoint } from '../../bin/local/secrets-endpoint';
import { folder, run } from '../support/command';
import { queryIn, startPostgres } from '../support/postgres';

const ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:fleet-AbCdEf';

let secrets: SecretsEndpoint;
let server: EmbeddedPostgres;

beforeAll(async () => {
  secrets = await SecretsEndpoint.start();
  server = await startPostgres({ settings: { fsync: 'off' } });
  secrets.put(ARN, JSON.stringify({ username: EmbeddedPostgres.superuser, password: server.password }));
  for (const database of ['one', 'two', 'broken']) {
    await sql('postgres', `create database ${database}`);
  }
  for (const database of ['one', 'two']) {
    await sql(database, 'create table refresh_tokens (id int, revoked boolean, expires_at timestamptz)');
  }
});

afterAll(async () => {
  await server.remove();
  await secrets.stop();
});

beforeEach(async () => {
  for (const database of ['one', 'two']) {
    await sql(database, 'truncate refresh_tokens');
    await sql(database, 'insert into refresh_tokens values (1, true, null), (2, false, now()), (3, false, null)');
  }
});

const sql = (database: string, text: string) => queryIn(server, database, text);

function manifest(...lines: readonly object[]): string {
  const file = join(folder, 'fleet.jsonl');
  writeFileSync(file, lines.map((line) => JSON.stringify(line)).join('\n'));
  return file;
}

function lineOf(name: string, other: object = {}) {
  const { host, port } = server;
  return { name, host, port, secretArn: ARN, databases: ['one', 'two'], ...other };
}

const command = (file: string, ...args: readonly string[]) => commandWith({ PGSSLMODE: 'disable' }, file, ...args);

const commandWith = (environment: Readonly<Record<string, string>>, file: string, ...args: readonly string[]) =>
  run(['--manifest', file, ...args], { environment: { ...secrets.environment, ...environment } });

/** The rows of a database before a run. */
const ALL = [1, 2, 3];

const left = () => Promise.all(['one', 'two'].map((name) => sql(name, 'select id from refresh_tokens order by id')));

test('shows the mistakes first, then a line for each database, then the sums, and deletes nothing in a dry run', async () => {
  const file = manifest(lineOf('eu', { databases: ['one', 'broken', 'two'] }), lineOf('us', { port: 1 }));

  const { exitCode, stdout } = await command(file, '--dry-run');

  expect(
    stdout
      .replace(/\d+\.\d s/g, 'N s')
      .replace(/ +/g, ' ')
      .split('\n'),
  ).toEqual([
    'Dry run: nothing is deleted',
    ` on 2 servers of ${file}`,
    ` eu 127.0.0.1:${server.port} default in one, broken, two`,
    ' us 127.0.0.1:1 default in one, two',
    '',
    expect.stringMatching(/^ ✗ eu: broken: refresh_tokens: table "public"\."refresh_tokens" does not exist/),
    expect.stringMatching(/^ ✗ us: connect ECONNREFUSED 127\.0\.0\.1:1/),
    ' Server Database Result Would delete Took',
    ' eu broken failed unknown N s',
    ' eu one succeeded 2 N s',
    ' eu two succeeded 2 N s',
    '',
    'failed: 2 servers (1 swept, 1 failed), 3 databases, 4 rows to delete (N s)',
    '',
    '',
  ]);
  expect(exitCode).toBe(1);
  expect(await left()).toEqual([ALL, ALL]);
});

test('deletes with --json, and prints the report of the fleet', async () => {
  const { exitCode, stdout } = await command(manifest(lineOf('eu')), '--json');

  expect(JSON.parse(stdout)).toMatchObject({
    status: 'succeeded',
    servers: { total: 1, swept: 1 },
    databases: { total: 2, succeeded: 2 },
    rowsDeleted: 4,
    results: [
      { server: 'eu', database: 'one', rowsDeleted: 2 },
      { server: 'eu', database: 'two', rowsDeleted: 2 },
    ],
  });
  expect(exitCode).toBe(0);
  expect(await left()).toEqual([[3], [3]]);
});

test('lists every mistake with its line, and reaches no server', async () => {
  const file = manifest(lineOf('eu', { prot: 1 }), lineOf('us'), lineOf('us', { host: 'us', targets: 'tokens' }));

  const { exitCode, stderr } = await command(file, '--dry-run');

  expect(stderr.split('\n')).toEqual([
    `${file}:1: prot is not a known key (did you mean port?)`,
    `${file}:3: targets must be one of default, got "tokens"`,
    'Nothing was touched. All options: npm start -- --help',
    '',
  ]);
  expect(exitCode).toBe(2);
});

test('reads how to encrypt before it reaches a server', async () => {
  const file = manifest(lineOf('eu', { prot: 1 }));

  const { exitCode, stderr } = await commandWith({ PGSSLMODE: 'require', PGSSLROOTCERT: 'absent' }, file, '--dry-run');

  expect(stderr.split('\n')).toEqual([
    `${file}:1: prot is not a known key (did you mean port?)`,
    expect.stringMatching(/^PGSSLMODE must be verify-full or disable, got "require", which sends the password to any /),
    expect.stringMatching(/^PGSSLROOTCERT must be a readable file: ENOENT/),
    'Nothing was touched. All options: npm start -- --help',
    '',
  ]);
  expect(exitCode).toBe(2);
});

test('does nothing if NODE_ENV is test', async () => {
  const environment = { PGSSLMODE: 'disable', NODE_ENV: 'test' };

  expect((await commandWith(environment, manifest(lineOf('eu')), '--yes')).stdout).toContain('skipped');
  expect(await left()).toEqual([
    [1, 2, 3],
    [1, 2, 3],
  ]);
});

test('takes the lists of targets of a stage', async () => {
  const file = manifest(lineOf('eu', { targets: 'tokens' }));

  expect(await command(file, '--stage', 'fleet', '--dry-run')).toMatchObject({ exitCode: 0 });
  expect((await command(file, '--stage', 'prod', '--dry-run')).stderr).toMatch(
    '--stage must name a stage that has a fleet, got "prod"',
  );
});

test('takes the targets of a file with the address of its JSON Schema', async () => {
  const targets = join(folder, 'targets.json');
  const deleteWhen = [{ revoked: true }];
  writeFileSync(targets, JSON.stringify({ $schema: 'x', targets: [{ table: 'refresh_tokens', deleteWhen }] }));
  const { stdout } = await command(manifest(lineOf('eu')), '--targets', targets, '--dry-run', '--json');

  expect(JSON.parse(stdout)).toMatchObject({ status: 'succeeded', rowsRemaining: 2 });
});

test('is refused in a pipe without --yes, and beside a database', async () => {
  const file = manifest(lineOf('eu'));

  expect((await command(file)).stderr).toMatch('--yes is required to delete rows');
  expect((await command(file, '--dry-run', '--database-url', server.url())).stderr).toMatch(
    '--manifest must not be used with --database-url: its servers have addresses of their own',
  );
  expect(await left()).toEqual([ALL, ALL]);
});
