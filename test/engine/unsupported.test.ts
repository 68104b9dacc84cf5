import { Client } from 'pg';
import type { ConnectionOptions } from '../../lambda/database/session';
import { useDatabase } from '../support/database';

// Aurora lacks some functions that report on the log. A server that does not let the role call them is treated alike.

const database = useDatabase();

let connection: ConnectionOptions;

beforeEach(async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens select id, id % 2 = 0 from generate_series(1, 30000) as id; -- enough for a second connection
    create table commits (synchronous text, pid int);
    create function remember() returns trigger language plpgsql security definer as $$
      begin insert into commits values (current_setting('synchronous_commit'), pg_backend_pid()); return null; end $$;
    create trigger remember after delete on refresh_tokens for each statement execute function remember()`);
  connection = await database.createRole('cleaner', 'delete, select (ctid, revoked, expires_at) on refresh_tokens');
});

async function forbid(name: string): Promise<void> {
  await database.sql(`
    do $$ declare function regprocedure; begin
      for function in select oid from pg_proc where proname = '${name}' loop
        execute format('revoke execute on function %s from public', function);
      end loop;
    end $$`);
}

function run() {
  return database.service({ connection, maxReplicaLagSeconds: 1, concurrency: 2 }).run({ timeLeftMs: 60_000 });
}

const DONE = { status: 'succeeded', rowsDeleted: 15_000, targets: [{ stopReason: 'drained', rowsRemaining: 0 }] };

test('deletes without waiting for the disk if it can confirm its deletes later', async () => {
  expect(await run()).toMatchObject(DONE);
  expect(await database.column('select distinct synchronous from commits')).toEqual(['off']);
});

test('waits for the disk after each delete if the server cannot confirm them later', async () => {
  await forbid('pg_logical_emit_message');

  expect(await run()).toMatchObject(DONE);
  expect(await database.column('select distinct synchronous from commits')).toEqual(['on']);
  expect(await database.column('select count(distinct pid)::int from commits')).toEqual([2]);
});

test('continues without the brake if the server does not show its log', async () => {
  await forbid('pg_current_wal_lsn');

  expect(await run()).toMatchObject({
    ...DONE,
    warnings: [
      'the replicas are not visible, so their lag is not checked: permission denied for function pg_current_wal_lsn (SQLSTATE 42501)',
    ],
  });
});

test('does not count a client that only copies the log as a replica', async () => {
  const receiver = new Client({ connectionString: database.url, replication: 'true' } as object);
  receiver.on('error', () => {});
  await receiver.connect();
  const [position] = await database.sql('select pg_current_wal_lsn() as here');
  receiver.query(`START_REPLICATION PHYSICAL ${position?.here}`).catch(() => {});
  await database.until(`select count(*) = 1 from pg_stat_replication where state in ('streaming', 'catchup')`);

  const dryRun = await database.service().run({ dryRun: true });
  const report = await database.service({ maxReplicaLagSeconds: 0.001 }).run();
  (receiver as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();

  expect(dryRun.server?.replicas).toEqual([]);
  expect(report).toMatchObject(DONE);
  expect(report).not.toHaveProperty('warnings');
});
