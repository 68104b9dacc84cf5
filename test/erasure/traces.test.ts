import { useDatabase } from '../support/database';

const database = useDatabase({ autovacuum: 'off' });

const TARGETS = [{ table: 'tokens', deleteWhen: [{ revoked: true }] }];

beforeEach(() =>
  database.sql(`
    create table tokens (id int primary key, hash text unique, revoked bool not null default false);
    insert into tokens select i, 'hash ' || i from generate_series(1, 20000) i`),
);

/** Deletes as the service does, and makes the server's statistics show it. */
async function deleteRows(condition: string): Promise<void> {
  await database.sql(`delete from tokens where ${condition}`);
  await database.flushStatistics();
  await database.until(`select n_dead_tup > 0 from pg_stat_user_tables where relname = 'tokens'`);
}

/** Waits until the server's statistics show that many vacuums of the table. */
async function untilVacuumed(times: number): Promise<void> {
  await database.until(`select vacuum_count = ${times} from pg_stat_user_tables where relname = 'tokens'`);
}

/** The state of the table after a run that deletes nothing. */
async function quietRun() {
  const report = await database.service({ targets: TARGETS }).run();
  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 0 });
  return report.targets[0]?.erasure;
}

/** How many entries of the index of hashes lead to something, dead or not. */
async function indexEntries(): Promise<number> {
  await database.sql('create extension if not exists pageinspect');
  const [row] = await database.sql<{ entries: number }>(`
    select count(*)::int as entries
    from generate_series(1, pg_relation_size('tokens_hash_key') / 8192 - 1) as block,
      lateral bt_page_stats('tokens_hash_key', block::int) as page,
      lateral bt_page_items('tokens_hash_key', block::int) as item
    where page.type = 'l' and (page.btpo_next = 0 or item.itemoffset > 1)`);
  return row?.entries ?? 0;
}

const SURE = 'alter table tokens set (vacuum_index_cleanup = on)';

test('reports in a run that deletes nothing how long deleted rows have not been unlinked, until they are', async () => {
  await database.sql(SURE);
  await database.sql('vacuum tokens');
  await deleteRows('id <= 10');
  const held = await quietRun();
  expect(held).toMatchObject({ deleted: true, unreadable: true, unlinked: false, vacuumedAt: expect.any(String) });
  expect(held?.hoursUnlinked).toBeGreaterThan(0);

  await database.sql('vacuum tokens');
  await untilVacuumed(2);
  await expect(quietRun()).resolves.toMatchObject({ unreadable: true, unlinked: true, hoursUnlinked: 0 });
});

test('does not take rows for unlinked after a vacuum that passed over the indexes', async () => {
  await database.sql('vacuum tokens');
  await deleteRows('id <= 10');
  await database.sql('vacuum tokens');
  await database.until(`select n_dead_tup = 0 and vacuum_count = 2 from pg_stat_user_tables where relname = 'tokens'`);
  const passedOver = await quietRun();
  expect(await indexEntries()).toBe(20_000);
  expect(passedOver).toMatchObject({ unlinked: false, vacuumedAt: expect.any(String) });
  expect(passedOver).not.toHaveProperty('hoursUnlinked');

  await database.sql('vacuum (index_cleanup on) tokens');
  expect(await indexEntries()).toBe(19_990);
  await expect(quietRun()).resolves.toMatchObject({ unlinked: true, hoursUnlinked: 0 });
});

test.each(['vacuum_index_cleanup = off', 'vacuum_index_cleanup = auto'])(
  'knows no hours on a table with %s',
  async (setting) => {
    await database.sql(`alter table tokens set (${setting})`);
    await deleteRows('id % 2 = 0');
    await database.sql('vacuum tokens');
    await deleteRows('id = 1');
    expect(await quietRun()).not.toHaveProperty('hoursUnlinked');
  },
);

test('knows the hours of a table without an index, on which no vacuum can pass over one', async () => {
  await database.sql('alter table tokens drop constraint tokens_pkey, drop constraint tokens_hash_key');
  await database.sql('vacuum tokens');
  await deleteRows('id = 1');
  await expect(quietRun()).resolves.toMatchObject({ unlinked: false, hoursUnlinked: expect.any(Number) });
});

test('proves nothing by statistics that were lost, as after a failover', async () => {
  await database.sql(SURE);
  await database.sql('vacuum tokens');
  await deleteRows('id <= 10');
  await database.sql('select pg_stat_reset()');
  await database.until(`select n_dead_tup = 0 from pg_stat_user_tables where relname = 'tokens'`);
  const lost = await quietRun();
  expect(lost).toMatchObject({ unlinked: false });
  expect(lost).not.toHaveProperty('hoursUnlinked');
});

test('knows no hours if no vacuum was ever recorded', async () => {
  await database.sql(SURE);
  await deleteRows('id <= 10');
  expect(await quietRun()).not.toHaveProperty('hoursUnlinked');
});

test('does not take rows for unlinked that a snapshot kept from a vacuum', async () => {
  await database.sql(SURE);
  await database.sql('vacuum tokens');
  const reader = await database.snapshot();
  await deleteRows('id <= 10');
  await database.sql('vacuum tokens');
  const held = await quietRun();
  expect(held).toMatchObject({ unreadable: false, heldBackBy: [{ kind: 'session' }], unlinked: false });
  await reader.query('commit');
  await expect(quietRun()).resolves.toMatchObject({ unreadable: true, unlinked: false });
});

test('does not know the hours while a session holds back every vacuum whose age the role may not see', async () => {
  await database.sql(SURE);
  const connection = await database.createRole('watcher', 'pg_read_all_data, pg_write_all_data');
  const reader = await database.snapshot();
  await deleteRows('id <= 10');
  await database.sql('vacuum tokens');
  const report = await database.service({ targets: TARGETS, connection }).run();
  expect(report.targets[0]?.erasure).toMatchObject({ unreadable: false, heldBackBy: [{ kind: 'session' }] });
  expect(report.targets[0]?.erasure).not.toHaveProperty('hoursUnlinked');
  await reader.query('commit');
});

test('does not take rows for unlinked whose token is still in the TOAST table', async () => {
  await database.sql(SURE);
  await database.sql('alter table tokens alter hash set storage external');
  await database.sql(`insert into tokens values (0, repeat('x', 2500))`);
  await database.sql('vacuum tokens');
  await deleteRows('id = 0');
  await database.sql('vacuum (process_toast off) tokens');
  await untilVacuumed(2);
  await expect(quietRun()).resolves.toMatchObject({ unlinked: false });
  await database.sql('vacuum (index_cleanup on) tokens');
  await untilVacuumed(3);
  await expect(quietRun()).resolves.toMatchObject({ unlinked: true });
});
