import { Client } from 'pg';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { SecretsEndpoint } from '../../bin/local/secrets-endpoint';
import { handler } from '../../lambda/fleet/handler';
import { serverResult } from '../../lambda/fleet/server-result';
import { handler as plainHandler } from '../../lambda/handler';
import { startPostgres } from '../support/postgres';

const SETTINGS = { fsync: 'off', max_connections: 20, shared_buffers: '16MB' };
const CONTEXT = { getRemainingTimeInMillis: () => 60_000 };
const LISTS = {
  default: [{ table: 'refresh_tokens', deleteWhen: [{ revoked: true }] }],
  sessions: [{ table: 'sessions', deleteWhen: [{ expires_at: { olderThan: '0s' } }] }],
  broken: ['refresh_tokens', 'no_table'].map((table) => ({ table, deleteWhen: [{ revoked: true }] })),
};

const names = ['a', 'b'] as const;
let endpoint: SecretsEndpoint;
let servers: Record<(typeof names)[number], EmbeddedPostgres>;
const environment = process.env;

beforeAll(async () => {
  endpoint = await SecretsEndpoint.start();
  const [a, b] = await Promise.all(names.map(() => startPostgres({ settings: SETTINGS })));
  servers = { a, b } as typeof servers;
  for (const name of names) {
    for (const database of DATABASES) {
      await sql(name, 'postgres', `create database ${database}`);
      await sql(name, database, 'create table refresh_tokens (id int, revoked boolean)');
      await sql(name, database, 'create table sessions (id int, expires_at timestamptz)');
    }
  }
});

afterAll(async () => {
  process.env = environment;
  await Promise.all(Object.values(servers).map((server) => server.remove()));
  await endpoint.stop();
});

beforeEach(async () => {
  process.env = {
    ...environment,
    ...endpoint.environment,
    NODE_ENV: 'production',
    STAGE: 'test',
    FLEET_TARGETS: JSON.stringify(LISTS),
    DB_SSL_MODE: 'disable',
    POWERTOOLS_LOG_LEVEL: 'SILENT',
  };
  for (const name of names) {
    const { host, port, password } = servers[name];
    endpoint.put(arnOf(name), JSON.stringify({ username: EmbeddedPostgres.superuser, password, host, port }));
    await Promise.all(DATABASES.map((database) => sql(name, database, ROWS)));
  }
});

const DATABASES = ['tenant_1', 'tenant_2', 'tenant_3', 'other'];

const ROWS = `
  truncate refresh_tokens, sessions;
  insert into refresh_tokens values (1, true), (2, false);
  insert into sessions values (1, now() - interval '1 day'), (2, null)`;

async function sql(server: (typeof names)[number], database: string, text: string): Promise<unknown[]> {
  const client = new Client(servers[server].url(database));
  await client.connect();
  try {
    const { rows = [] } = await client.query(text);
    return rows.map((row) => Object.values(row)[0]);
  } finally {
    await client.end();
  }
}

function arnOf(name: string): string {
  return `arn:aws:secretsmanager:eu-central-1:111122223333:secret:${name}`;
}

function lineOf(name: (typeof names)[number], other: object = {}) {
  const { host, port } = servers[name];
  return { name, host, port, secretArn: arnOf(name), databases: { like: ['tenant_*'] }, ...other };
}

const left = (name: (typeof names)[number], database: string, table: string) =>
  sql(name, database, `select id from ${table} order by id`);

test('sweeps the databases of the server in the event, and of no other', async () => {
  const answer = await handler({ server: lineOf('a'), run: 'nightly' }, CONTEXT);

  expect(answer).toMatchObject({ server: 'a', run: 'nightly', round: 1, status: 'succeeded', rowsDeleted: 3 });
  expect(answer.databases.map(({ database, isSwept, rowsDeleted }) => [database, isSwept, rowsDeleted])).toEqual([
    ['tenant_1', true, 1],
    ['tenant_2', true, 1],
    ['tenant_3', true, 1],
  ]);
  expect(answer).not.toHaveProperty('targets');
  expect(answer).not.toHaveProperty('again');
  expect(await left('a', 'tenant_1', 'refresh_tokens')).toEqual([2]);
  expect(await left('a', 'other', 'refresh_tokens')).toEqual([1, 2]);
  expect(await left('b', 'tenant_1', 'refresh_tokens')).toEqual([1, 2]);
});

test('takes nothing from the server before, whose sandbox it has', async () => {
  const first = await handler({ server: lineOf('a', { targets: 'sessions' }) }, CONTEXT);
  const second = await handler({ server: lineOf('b', { databases: ['tenant_2'] }) }, CONTEXT);
  const third = await handler({ server: lineOf('a', { databases: ['tenant_3'] }) }, CONTEXT);

  expect([first.rowsDeleted, second.rowsDeleted, third.rowsDeleted]).toEqual([3, 1, 1]);
  expect(await left('a', 'tenant_1', 'refresh_tokens')).toEqual([1, 2]);
  expect(await left('a', 'tenant_3', 'refresh_tokens')).toEqual([2]);
  expect(await left('a', 'tenant_3', 'sessions')).toEqual([2]);
  expect(await left('b', 'tenant_2', 'refresh_tokens')).toEqual([2]);
  expect(await left('b', 'tenant_2', 'sessions')).toEqual([1, 2]);
  expect(await left('b', 'tenant_1', 'refresh_tokens')).toEqual([1, 2]);
});

test('does not use the password of the server before', async () => {
  await handler({ server: lineOf('a') }, CONTEXT);
  endpoint.remove(arnOf('b'));

  await expect(handler({ server: lineOf('b') }, CONTEXT)).rejects.toThrow(/^the secret could not be read/);
  expect(await left('b', 'tenant_1', 'refresh_tokens')).toEqual([1, 2]);
});

test('reports a database that fails, and one that does not exist, beside those that were swept', async () => {
  await sql('a', 'tenant_2', 'alter table refresh_tokens rename to gone');

  const answer = await handler({ server: lineOf('a', { databases: ['tenant_1', 'tenant_2', 'tenant_9'] }) }, CONTEXT);
  await sql('a', 'tenant_2', 'alter table gone rename to refresh_tokens');

  expect(answer).toMatchObject({ status: 'failed', rowsDeleted: 1 });
  expect(answer.databases).toMatchObject([
    { database: 'tenant_1', status: 'succeeded', isSwept: true },
    { database: 'tenant_2', status: 'failed', isSwept: false, error: expect.stringContaining('does not exist') },
    { database: 'tenant_9', status: 'failed', isSwept: false, error: expect.stringContaining('"tenant_9"') },
  ]);
});

test('reports what it deleted even if no database of the server was swept to its end', async () => {
  const answer = await handler({ server: lineOf('a', { databases: ['tenant_1'], targets: 'broken' }) }, CONTEXT);

  expect(answer).toMatchObject({ status: 'failed', rowsDeleted: 1, databases: [{ isSwept: false, rowsDeleted: 1 }] });
  expect(answer.databases[0]?.error).toContain('no_table');
  expect(await left('a', 'tenant_1', 'refresh_tokens')).toEqual([2]);
});

test('tells a server that was left in its first database from one that is done, and goes on with it', async () => {
  await sql('a', 'tenant_1', 'insert into refresh_tokens select id, true from generate_series(3, 50000) as id');

  const event = { server: lineOf('a'), run: 'nightly', execution: 'id', maxLoad: 0.01 };
  const first = await handler(event, { getRemainingTimeInMillis: () => 2_000 });
  const { again = {} } = first;
  const last = await handler({ ...again, maxLoad: 1 }, CONTEXT);

  expect(first).toMatchObject({ status: 'partial', isCutShort: true, again: { server: event.server, run: 'nightly' } });
  expect(first).not.toHaveProperty('next');
  expect(last).toMatchObject({ status: 'succeeded', round: 2, databases: { length: 3 } });
  expect(last).not.toHaveProperty('isCutShort');
  const results = [serverResult('a', [first]), serverResult('a', [first, last])];
  expect(results.map(({ isComplete }) => isComplete)).toEqual([false, true]);
});

test('deletes nothing once its window is over, and leaves the rest of the server to the next run', async () => {
  const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
  const window = { until: hourAgo.slice(11, 16), scheduledAt: new Date(Date.now() - 7_200_000).toISOString() };
  const rounds = { count: 1, rowsDeleted: 7, durationMs: 100, status: 'succeeded' };
  const event = { server: lineOf('a'), run: 'nightly', execution: 'id', ...window };

  const first = await handler(event, CONTEXT);
  const later = await handler({ ...event, rounds, after: 'tenant_1' }, CONTEXT);

  expect([first, later]).toMatchObject([
    { status: 'skipped', round: 1, databases: [] },
    { status: 'skipped', round: 2, databases: [] },
  ]);
  expect([first, later].filter((answer) => 'again' in answer)).toEqual([]);
  expect(serverResult('a', [first]).outcome).toBe('skipped');
  expect(await left('a', 'tenant_2', 'refresh_tokens')).toEqual([1, 2]);
});

test('throws if no database of the server was swept, and nothing was deleted', async () => {
  await expect(handler({ server: lineOf('a', { databases: ['nobody'] }) }, CONTEXT)).rejects.toMatchObject({
    name: 'RunFailed',
    message: expect.stringContaining('"nobody" does not exist'),
  });
});

test('refuses a line and a request with mistakes, and a list of targets that the fleet does not have', async () => {
  const server = { ...lineOf('a'), targets: 'session', hots: 'x' };

  await expect(handler({ server }, CONTEXT)).rejects.toThrow(
    'server.targets must be one of default, sessions, broken (did you mean sessions?), got "session"\n' +
      'server.hots is not a known key (did you mean host?)',
  );
  await expect(handler({}, CONTEXT)).rejects.toThrow('server is required');
  await expect(handler({ server: lineOf('a'), dryRum: true }, CONTEXT)).rejects.toThrow(
    'event.dryRum is not a known key (did you mean dryRun?)',
  );
  expect(await left('a', 'tenant_1', 'refresh_tokens')).toEqual([1, 2]);
});

test('deletes nothing in a dry run', async () => {
  const answer = await handler({ server: lineOf('a'), dryRun: true }, CONTEXT);

  expect(answer).toMatchObject({ status: 'succeeded', dryRun: true, rowsDeleted: 0 });
  expect(answer.databases.map(({ rowsRemaining }) => rowsRemaining)).toEqual([1, 1, 1]);
  expect(await left('a', 'tenant_1', 'refresh_tokens')).toEqual([1, 2]);
});

test('is the only entry point that takes a server from an event', async () => {
  process.env.DB_SECRET_ARN = arnOf('a');

  expect(await plainHandler({ server: lineOf('b') }, CONTEXT)).toMatchObject({
    status: 'failed',
    error: 'event.server is not a known key',
  });
});
