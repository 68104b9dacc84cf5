import type { Credentials } from '../../lambda/database/connection';
import type { ConnectionOptions, CredentialSource, Session, SessionContext } from '../../lambda/database/session';
import { useDatabase } from '../support/database';
import { TcpProxy } from '../support/tcp-proxy';

const database = useDatabase();

const retries: string[] = [];
const sessions: Session[] = [];

beforeEach(() => {
  retries.length = 0;
});
afterEach(async () => {
  await Promise.all(sessions.splice(0).map((session) => session.close()));
});

function open(options?: Partial<ConnectionOptions>, context?: Partial<SessionContext>): Session {
  const session = database.session(options, { onRetry: (warning) => retries.push(warning), ...context });
  sessions.push(session);
  return session;
}

async function pidOf(session: Session): Promise<number> {
  const { rows } = await session.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]?.pid ?? 0;
}

test("works in UTC, read committed, without waiting for the disk, regardless of the role's settings", async () => {
  await database.sql(`
    alter role postgres set timezone to 'Asia/Tokyo';
    alter role postgres set default_transaction_isolation to 'serializable';
    alter role postgres set plan_cache_mode to 'force_generic_plan'`);
  const { rows } = await open().query(
    `select name, setting from pg_settings
     where name in ('TimeZone', 'default_transaction_isolation', 'plan_cache_mode', 'synchronous_commit', 'application_name')
     order by name`,
  );
  await database.sql('alter role postgres reset all');

  expect(Object.fromEntries(rows.map((row) => Object.values(row as object)))).toEqual({
    application_name: 'token-cleanup',
    default_transaction_isolation: 'read committed',
    plan_cache_mode: 'auto',
    synchronous_commit: 'off',
    TimeZone: 'UTC',
  });
});

test('gives each statement its own limits', async () => {
  const session = open();
  const limits = { statementTimeoutMs: 50, lockTimeoutMs: 7 };

  const slow = session.query('select pg_sleep(5)', [], limits);
  await expect(slow).rejects.toMatchObject({ code: '57014' });
  expect((await session.query('show lock_timeout', [], limits)).rows).toEqual([{ lock_timeout: '7ms' }]);
  expect((await session.query('show lock_timeout')).rows).toEqual([{ lock_timeout: '1s' }]);
});

test('reconnects when its connection is terminated, and warns once', async () => {
  const session = open();
  const before = await pidOf(session);
  await database.sql('select pg_terminate_backend($1)', [before]);

  expect((await session.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  expect((await session.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  expect(session.reconnections).toBe(1);
});

test('repeats a statement whose connection is terminated under it', async () => {
  const session = open();
  const pid = await pidOf(session);

  const result = session.query<{ pid: number }>('select pg_sleep(0.3), pg_backend_pid() as pid');
  await database.sql('select pg_terminate_backend($1)', [pid]);

  const { rows } = await result;
  expect(session.reconnections).toBe(1);
  expect(rows[0]?.pid).not.toBe(pid);
});

test('outlasts a restart of the server', async () => {
  const session = open();
  await pidOf(session);
  await database.server.stop('SIGKILL');
  const answer = session.query('select 1 as one');
  await new Promise((resolve) => setTimeout(resolve, 300)); // some attempts are refused meanwhile
  await database.server.start();

  expect((await answer).rows).toEqual([{ one: 1 }]);
});

test('gives up once its patience is over, and is quick to do so from then on', async () => {
  const connection = database.connection({ port: 1 });
  const session = open({ ...connection, reconnectTimeoutMs: 500 });

  await expect(session.query('select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  const { length } = retries;
  expect(length).toBeGreaterThan(1);
  expect(new Set(retries)).toEqual(new Set(['the database is unreachable, trying again']));
  await expect(session.query('select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(retries).toHaveLength(length);
});

test('repeats a statement that a change by another session undid, without calling the database unreachable', async () => {
  await database.sql(`
    create sequence attempts;
    create function conflict() returns int language plpgsql as $$ begin
      if nextval('public.attempts') = 1 then raise sqlstate '40001'; end if;
      return currval('public.attempts');
    end $$`);
  const isOutdated = ({ length }: readonly unknown[]) =>
    length > 0 ? { text: `select where nextval('public.attempts') = 3`, values: [] } : undefined;

  const { rows } = await open().query('select public.conflict() as attempt', [], undefined, isOutdated);

  expect(rows).toEqual([{ attempt: 4 }]);
  expect(retries).toEqual(Array(2).fill('a change by another session undid a statement, trying again'));
});

test('repeats no statement after a refused password or an error in the statement', async () => {
  await expect(open(database.connection({ password: 'wrong' })).query('select 1')).rejects.toMatchObject({
    code: '28P01',
  });
  await expect(open().query('select nothing')).rejects.toMatchObject({ code: '42703' });
  expect(retries).toEqual([]);
});

test('gets other credentials when the server refuses its own', async () => {
  const [right, wrong] = [database.login(), database.login({ password: 'wrong' })];
  const asked: Credentials[] = [];
  const credentials: CredentialSource = {
    current: async () => wrong,
    otherThan: async (refused) => {
      asked.push(refused);
      return right;
    },
  };

  expect((await open({ credentials }).query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  expect(asked).toEqual([wrong]);
});

test('ends the backend of its lost connection before it continues', async () => {
  const proxy = await TcpProxy.start(database.server.host, database.server.port);
  const session = open(database.connection({ port: proxy.port }));
  const pid = await pidOf(session);
  proxy.cut();

  expect(await pidOf(session)).not.toBe(pid);
  expect(await database.sql('select from pg_stat_activity where pid = $1', [pid])).toEqual([]);
  await proxy.stop();
});

test("treats a server that does not answer as lost, a little after the statement's timeout", async () => {
  const proxy = await TcpProxy.start(database.server.host, database.server.port);
  const session = open({ ...database.connection({ port: proxy.port }), reconnectTimeoutMs: 0 });
  await pidOf(session);
  proxy.stall();

  await expect(session.query('select 1', [], { statementTimeoutMs: 100, lockTimeoutMs: 0 })).rejects.toThrow(
    'the connection was lost: Query read timeout',
  );
  await proxy.stop();
});

test('is cut off when the time is up, in the middle of a statement and of a connection attempt', async () => {
  const abandon = new AbortController();
  const session = open({}, { abandon: abandon.signal });
  await pidOf(session);
  const answer = session.query('select pg_sleep(30)', [], { statementTimeoutMs: 60_000, lockTimeoutMs: 0 });
  abandon.abort();

  await expect(answer).rejects.toThrow('the time was up before the database or Secrets Manager answered');
  await expect(session.query('select 1')).rejects.toThrow(
    'the time was up before the database or Secrets Manager answered',
  );
});
