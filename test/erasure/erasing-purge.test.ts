import { useDatabase } from '../support/database';
import { documentedSql } from '../support/readme';

const database = useDatabase({ autovacuum: 'off' });

const OLD = { deleteWhen: [{ expires_at: { olderThan: '1d' } }] };

beforeEach(async () => {
  await database.sql(`
    create table sessions (id int not null, expires_at timestamptz not null) partition by range (expires_at);
    create table sessions_2020 partition of sessions for values from ('2020-01-01') to ('2021-01-01');
    create table sessions_since partition of sessions for values from ('2021-01-01') to (maxvalue);
    insert into sessions values (1, '2020-05-01'), (2, '2020-12-31'), (3, '2021-01-01'), (4, '2100-01-01'), (5, now());
    analyze sessions`);
  await database.createRole('token_cleanup');
  await database.sql(documentedSql('drop-partition'));
});

const run = (options: object, settings: object = {}) =>
  database.service({ targets: [{ table: 'sessions', ...OLD, ...options }], ...settings }).run();

/** The last figures of a session come at its end. */
async function untilCounted(): Promise<void> {
  await database.untilGone();
  await database.until(`select sum(n_dead_tup) > 0 from pg_stat_user_tables where relname like 'sessions%'`);
}

const remaining = () => database.column<number>('select id from sessions');

test('drops the dead partition and sweeps the others', async () => {
  const report = await run({ dropPartitions: true });
  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 1,
    targets: [{ rowsDeleted: 1, partitionsDropped: [{ partition: 'public.sessions_2020', estimatedRows: 2 }] }],
  });
  expect(await remaining()).toEqual([4, 5]);
  expect(await database.column(`select relname from pg_class where relname = 'sessions_2020'`)).toEqual([]);
});

test('drops no partition unless the target demands it', async () => {
  const report = await run({});
  expect(report.targets[0]).toMatchObject({ status: 'succeeded', rowsDeleted: 3 });
  expect(report.targets[0]).not.toHaveProperty('partitionsDropped');
  expect(await remaining()).toEqual([4, 5]);
});

test("sweeps the partition if the owner's function is missing, and warns", async () => {
  await database.sql('drop function token_cleanup_drop_partition');
  const report = await run({ dropPartitions: true });
  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 3,
    warnings: [expect.stringMatching(/^sessions: partition public.sessions_2020 is swept instead of dropped: .*42883/)],
  });
  expect(await remaining()).toEqual([4, 5]);
});

test('warns of a partition that one rule could not drop, if another one concerns none', async () => {
  await database.sql('drop function token_cleanup_drop_partition');
  const deleteWhen = [...OLD.deleteWhen, { expires_at: { olderThan: '20000d' } }];
  const report = await run({ dropPartitions: true, deleteWhen });
  expect(report.warnings).toEqual([
    expect.stringMatching(/^sessions: partition public.sessions_2020 is swept instead of dropped: /),
  ]);
});

test('drops nothing in a dry run', async () => {
  const service = database.service({ targets: [{ table: 'sessions', ...OLD, dropPartitions: true }] });
  await service.run({ dryRun: true });
  expect(await remaining()).toEqual([1, 2, 3, 4, 5]);
});

test('drops nothing if a run is limited to a number of rows', async () => {
  const report = await run({ dropPartitions: true }, { maxRows: 1_000 });
  expect(report.warnings).toEqual(['sessions: no partition is dropped, because the rows per run are limited']);
  expect(report.rowsDeleted).toBe(3);
});

test('drops no partition by a rule of two columns', async () => {
  const deleteWhen = [{ expires_at: { olderThan: '1d' }, id: { in: [1, 2] } }];
  const report = await run({ dropPartitions: true, deleteWhen });
  expect(report).toMatchObject({ rowsDeleted: 2 });
  expect(report.targets[0]).not.toHaveProperty('partitionsDropped');
});

test('vacuums the table if the target demands it, and reports its rows as unlinked', async () => {
  const report = await run({ vacuum: true });
  expect(report.targets[0]?.erasure).toMatchObject({
    deleted: true,
    unreadable: true,
    unlinked: true,
    hoursUnlinked: 0,
  });
  expect(report).not.toHaveProperty('warnings');
});

test('vacuums also if a run deletes nothing, as long as something is left of earlier deletes', async () => {
  await run({});
  await untilCounted();
  const report = await run({ vacuum: true });
  expect(report.targets[0]).toMatchObject({ rowsDeleted: 0, erasure: { unlinked: true, hoursUnlinked: 0 } });
  const vacuums = () =>
    database.column(`select vacuum_count::int from pg_stat_user_tables where relname like 'sessions_%'`);
  expect(await vacuums()).toEqual([1, 1]);
  await run({ vacuum: true });
  expect(await vacuums()).toEqual([1, 1]);
});

test('does not take rows for unlinked that a snapshot kept from the vacuum of the run', async () => {
  const reader = await database.snapshot();
  const report = await run({ vacuum: true });
  await reader.query('commit');
  expect(report.targets[0]?.erasure).toMatchObject({
    unreadable: false,
    heldBackBy: [{ kind: 'session' }],
    unlinked: false,
    hoursUnlinked: expect.any(Number),
  });
  await untilCounted();
  const again = await run({});
  expect(again.targets[0]).toMatchObject({ rowsDeleted: 0, erasure: { unreadable: true, unlinked: false } });
});

test('warns if the role may not vacuum', async () => {
  await database.sql('grant delete, select on sessions, sessions_2020, sessions_since to token_cleanup');
  const connection = database.connection({ user: 'token_cleanup', password: 'token_cleanup' });
  const report = await run({ vacuum: true }, { connection });
  expect(report).toMatchObject({
    status: 'succeeded',
    warnings: [expect.stringMatching('^sessions: not vacuumed: the server skipped it')],
  });
  expect(report.targets[0]?.erasure).toMatchObject({ unlinked: false });
});

test('shows in a dry run how far earlier deletes are gone, and the settings that would unlink them sooner', async () => {
  await database.sql('delete from sessions where id = 1');
  const service = database.service({ targets: [{ table: 'sessions', ...OLD }] });
  const report = await service.run({ dryRun: true });
  expect(report.targets[0]?.erasure).toMatchObject({
    deleted: true,
    unreadable: true,
    autovacuumAdvice: [
      expect.stringMatching(/^alter table public\.sessions_2020 set \(.*vacuum_index_cleanup = on\)$/),
      expect.stringMatching(/^alter table public\.sessions_since set/),
    ],
  });
});
