import { Client } from 'pg';
import type { RunRequest } from '../lambda/configuration/event';
import type { NamePattern } from '../lambda/configuration/name-pattern';
import { useDatabase } from './support/database';

const database = useDatabase();

const NAMES = ['tenant_a', 'tenant_b', 'tenant_c', 'tenant_demo'];

/** Runs a statement in another database of the server. */
async function sqlIn(name: string, text: string): Promise<unknown[]> {
  const client = new Client(database.server.url(name));
  await client.connect();
  try {
    return (await client.query(text)).rows.map((row) => Object.values(row)[0]);
  } finally {
    await client.end();
  }
}

beforeEach(async () => {
  for (const name of NAMES) {
    await database.sql(`drop database if exists ${name} with (force)`);
    await database.sql(`create database ${name}`);
    await sqlIn(name, 'create table refresh_tokens (id int, revoked bool, expires_at timestamptz)');
    await sqlIn(
      name,
      `insert into refresh_tokens values (1, true, null), (2, false, now() - interval '1s'), (3, false, null)`,
    );
  }
});

const run = (request: RunRequest = {}, databases: NamePattern = { like: ['tenant_*'], except: ['tenant_demo'] }) =>
  database.service({ databases }).run(request);

const survivors = () => Promise.all(NAMES.map((name) => sqlIn(name, 'select id from refresh_tokens order by id')));

test('sweeps each database that matches, in the order of their names, and no other', async () => {
  const report = await run();
  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 6 });
  expect(report.targets.map(({ database: name, rowsDeleted }) => [name, rowsDeleted])).toEqual([
    ['tenant_a', 2],
    ['tenant_b', 2],
    ['tenant_c', 2],
  ]);
  expect(report).not.toHaveProperty('next');
  expect(await survivors()).toEqual([[3], [3], [3], [1, 2, 3]]);
});

test('continues behind the database that the event names', async () => {
  const report = await run({ after: 'tenant_a' });
  expect(report.targets.map((target) => target.database)).toEqual(['tenant_b', 'tenant_c']);
  expect(await survivors()).toEqual([[1, 2, 3], [3], [3], [1, 2, 3]]);
});

test('reports a database that fails, and passes it over', async () => {
  await sqlIn('tenant_b', 'drop table refresh_tokens');
  await database.sql('create role tenant login');
  const report = await run();
  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 4 });
  expect(report.error).toMatch(/^tenant_b: refresh_tokens: table "public"\."refresh_tokens" does not exist/);
  expect(await survivors().catch(() => [])).toEqual([]);
  expect(await sqlIn('tenant_c', 'select id from refresh_tokens')).toEqual([3]);
  await database.sql('drop role tenant');
});

test('reports a name without a pattern whose database does not exist', async () => {
  const report = await run({}, { like: ['tenant_a', 'tenant_x'] });

  expect(report.targets.map(({ database: name, status }) => [name, status])).toEqual([
    ['tenant_a', 'succeeded'],
    ['tenant_x', 'failed'],
  ]);
  expect(report.error).toMatch(/^tenant_x: .*"tenant_x" does not exist/);
});

test('ends behind as many databases as the request allows', async () => {
  const report = await run({ mostDatabases: 2 });

  expect(report).toMatchObject({ status: 'partial', next: 'tenant_b' });
  expect(await survivors()).toEqual([[3], [3], [1, 2, 3], [1, 2, 3]]);
});

test('deletes nothing in a dry run', async () => {
  const report = await run({ dryRun: true });
  expect(report.targets.map(({ database: name, rowsRemaining }) => [name, rowsRemaining])).toEqual([
    ['tenant_a', 2],
    ['tenant_b', 2],
    ['tenant_c', 2],
  ]);
  expect(await survivors()).toEqual([
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
  ]);
});

test('names the last database that it finished, if it is stopped before the last one', async () => {
  const stop = new AbortController();
  const service = database.service({
    databases: { like: ['tenant_*'] },
    logger: {
      ...database.logger,
      debug: (_, { progress }) => progress && stop.abort(),
    },
  });
  const report = await service.run({ signal: stop.signal });
  expect(report).toMatchObject({ status: 'partial', next: 'tenant_a' });
  expect(report.targets.map((target) => target.database)).toEqual(['tenant_a']);
  expect(await survivors()).toEqual([[3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]);
});

test('is skipped while another run on the server is at work', async () => {
  const other = await database.connect();
  await other.query('select pg_advisory_lock($1, $2)', [0x746f6b65, 0x6e636c6e]);
  expect(await run()).toMatchObject({ status: 'skipped', rowsDeleted: 0 });
  expect(await survivors()).toEqual([
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
  ]);
});

test('fails if no database matches', async () => {
  expect(await run({}, { like: ['nobody_*'] })).toMatchObject({
    status: 'failed',
    error: 'DB_NAMES must match at least one database of the server, got {"like":["nobody_*"]}',
  });
});
