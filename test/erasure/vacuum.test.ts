import { systemClock } from '../../lambda/clock';
import type { ConnectionOptions } from '../../lambda/database/session';
import { adviseOnAutovacuum, vacuum } from '../../lambda/erasure/vacuum';
import { useDatabase } from '../support/database';

const database = useDatabase({ autovacuum: 'off' });

let purge: ConnectionOptions;

beforeEach(async () => {
  purge = await database.createRole('purge');
  await database.sql('create table tokens (id int primary key, hash text unique)');
  await database.sql(`insert into tokens select i, 'hash ' || i from generate_series(1, 20000) i`);
  await database.sql('delete from tokens where id > 100');
});

async function relationsOf(table: string) {
  return [{ oid: await database.oid(table), quotedName: `public.${table}` }];
}

/** Vacuums as a role that owns nothing, or as one that owns the table. */
async function vacuumAs(owner: boolean, timeLeftMs = 60_000, prepare = async () => {}) {
  await database.sql(`alter table tokens owner to ${owner ? 'purge' : 'postgres'}`);
  await prepare();
  const session = database.session(purge);
  try {
    return await vacuum(session, await relationsOf('tokens'), systemClock, () => timeLeftMs);
  } finally {
    await session.close();
  }
}

const pages = async () =>
  (await database.sql(`select pg_relation_size('tokens')::int / 8192 as pages`))[0]?.pages as number;

test('removes the entries of the indexes, and keeps the file as large as it was', async () => {
  const before = await pages();
  await expect(vacuumAs(true)).resolves.toBeUndefined();
  await database.sql('create extension pageinspect');
  const entries = await database.column<number>(`
    select (bt_page_stats('tokens_hash_key', block::int)).live_items
    from generate_series(1, pg_relation_size('tokens_hash_key') / 8192 - 1) as block
    where (bt_page_stats('tokens_hash_key', block::int)).type = 'l'`);
  expect(entries.reduce((sum, items) => sum + items, 0)).toBeLessThan(200);
  await expect(pages()).resolves.toBe(before);
  await expect(database.column('select count(*)::int from tokens')).resolves.toEqual([100]);
});

test('does not believe a vacuum that the server refused with a warning', async () => {
  await expect(vacuumAs(false)).resolves.toBe(
    'the server skipped it: the role may not vacuum the table, or the table was locked',
  );
});

test('does not wait for a lock of the service', async () => {
  const service = await database.connect();
  const reason = await vacuumAs(true, 60_000, async () => {
    await service.query('begin; lock table tokens in share update exclusive mode');
  });
  expect(reason).toMatch(/the table was locked$/);
  await service.query('rollback');
});

test('leaves the count of deleted rows in the report if the run loses its connection and its lock meanwhile', async () => {
  // Large enough for a vacuum of about a second.
  await database.sql(`insert into tokens select i, 'hash ' || i from generate_series(101, 400000) i`);
  const service = database.service({
    targets: [{ table: 'tokens', vacuum: true, deleteWhen: [{ hash: { in: ['hash 101', 'hash 102'] } }] }],
  });
  const running = service.run();
  const other = await database.connect();
  await database.until(`select true from pg_stat_activity where query like 'vacuum%' and state = 'active'`);
  const locked = other.query('select pg_advisory_lock($1, $2)', [0x746f6b65, 0x6e636c6e]);
  await database.until('select true from pg_locks where locktype = $1 and not granted', ['advisory']);
  await database.sql(`select pg_terminate_backend(pid) from pg_stat_activity where query like 'vacuum%'`);
  await locked;
  expect(await running).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 2,
    warnings: [expect.stringMatching('^tokens: not vacuumed: ')],
  });
});

test('leaves the partitions that it has no time for', async () => {
  await expect(vacuumAs(true, 0)).resolves.toBe('the time was up');
});

test('advises the owner on settings that the server takes, under which every vacuum cleans the indexes', async () => {
  const relations = await relationsOf('tokens');
  const session = database.session();
  const [advice = ''] = await adviseOnAutovacuum(session, relations);
  await database.sql(advice);
  await expect(adviseOnAutovacuum(session, relations)).resolves.toEqual([]);
  await session.close();
});

test('advises on the TOAST table, too, if tokens are stored there', async () => {
  await database.sql('create table blobs (id int primary key, token text)');
  await database.sql('alter table blobs alter token set storage external');
  await database.sql(`insert into blobs values (1, repeat('x', 5000))`);
  await database.sql('vacuum blobs');
  const relations = await relationsOf('blobs');
  const session = database.session();
  const [advice = ''] = await adviseOnAutovacuum(session, relations);
  expect(advice).toMatch(/vacuum_index_cleanup = on, .*toast\.vacuum_index_cleanup = on/);
  await database.sql(advice);
  await expect(adviseOnAutovacuum(session, relations)).resolves.toEqual([]);
  await session.close();
});
