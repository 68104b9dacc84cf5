import { systemClock } from '../../lambda/clock';
import { useDatabase } from '../support/database';
import { fillTokens, odd, REFRESH_TOKENS_TABLE, survivors } from '../support/tokens';

const database = useDatabase();

test('deletes revoked and expired rows, and keeps the live, the NULLs and the one that expires at the very cutoff', async () => {
  await database.sql(REFRESH_TOKENS_TABLE);
  // One row for each of the next milliseconds: one of them is the cutoff.
  await database.sql(`
    insert into refresh_tokens (id, revoked, expires_at) values
      (1, false, now() - interval '1 ms'), (2, true, now() + interval '1 day'), (3, true, null), (4, true, '-infinity'),
      (5, false, now() + interval '1 day'), (6, false, null), (7, false, 'infinity'), (8, false, '-infinity');
    insert into refresh_tokens (id, expires_at)
    select 100 + ms, date_trunc('milliseconds', now()) + ms * interval '1 ms' from generate_series(0, 5000) as ms`);

  const report = await database.service().run();

  const rows = await database.sql<{ id: number; at: Date | null }>('select id, expires_at as at from refresh_tokens');
  const ids = rows.map(({ id }) => id);
  expect(ids.filter((id) => id < 100).sort()).toEqual([5, 6, 7]);
  const cutoff = new Date(report.cutoff ?? '');
  const first = rows.filter(({ id }) => id >= 100).reduce((earliest, row) => (row.id < earliest.id ? row : earliest));
  expect(first.at).toEqual(cutoff);
  expect(ids.filter((id) => id >= 100)).toHaveLength(5100 - first.id + 1);
});

test.each([
  ['whose expiry is extended', `expires_at = now() + interval '1 day'`, 5],
  ['that is taken back from revocation', 'revoked = false', 4],
])('keeps a row %s while the sweep waits for it', async (_, change, id) => {
  await fillTokens(database, 10);
  await database.sql(`update refresh_tokens set expires_at = now() - interval '1 day' where id = 5`);
  const service = await database.connect();
  await service.query(`begin; update refresh_tokens set ${change} where id = ${id}`);

  const run = database.service().run();
  await database.untilSweepWaits();
  await service.query('commit');

  const kept = [1, 3, 7, 9, id].sort();
  expect(await run).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 10 - kept.length,
    targets: [{ rowsRemaining: 0 }],
  });
  expect(await survivors(database)).toEqual(kept);
});

test('makes another pass for rows that a trigger revokes behind the sweep', async () => {
  await fillTokens(database, 20_000);
  await database.sql(`
    create function revoke_first() returns trigger language plpgsql as $$
      begin update refresh_tokens set revoked = true where id = 1; return null; end $$;
    create trigger revoke_first after delete on refresh_tokens for each row when (old.id = 20000)
    execute function revoke_first()`);

  const report = await database.service().run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 10_001, targets: [{ rowsRemaining: 0 }] });
  expect(await survivors(database)).toEqual(odd(20_000).filter((id) => id !== 1));
});

/** In the statement that counts the rows of a table. */
const COUNTED = 'from only "public"."refresh_tokens" as visited';

test('does not read the table again even if others write meanwhile', async () => {
  await fillTokens(database, 20_000);
  await database.sql('create table elsewhere (id int)');
  const writer = await database.connect();
  const { logger, happened } = database.atProgress(() =>
    writer.query('insert into elsewhere values (1); update refresh_tokens set revoked = true where id = 1'),
  );

  const run = async () => {
    const report = await database.service({ logger }).run({ maxLoad: 0.1 });
    // Row 1 was alive at the cutoff: it is for the next run.
    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
  };
  const log = (await database.logOf(run, { statements: true })).join('\n');

  await happened();
  expect(log).toContain('delete from only "public"."refresh_tokens"');
  expect(log).not.toContain(COUNTED);
});

test('counts the remaining rows if a trigger may skip rows silently', async () => {
  await fillTokens(database, 2_000);
  await database.sql(`
    create function note() returns trigger language plpgsql as 'begin return old; end';
    create trigger note before delete on refresh_tokens for each row execute function note()`);

  const log = await database.logOf(() => database.service().run(), { statements: true });

  expect(log.join('\n')).toContain(COUNTED);
});

test('sweeps partitions and child tables one by one', async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz) partition by range (id);
    create table tokens_1 partition of refresh_tokens for values from (0) to (100);
    create table tokens_2 partition of refresh_tokens for values from (100) to (200) partition by range (id);
    create table "tokens 2 a" partition of tokens_2 for values from (100) to (150);
    create table tokens_rest partition of refresh_tokens default;
    insert into refresh_tokens select id, id % 2 = 0, null from generate_series(0, 149) as id;
    insert into refresh_tokens select id, id % 2 = 0, null from generate_series(200, 299) as id;
    create table password_resets (id int, used boolean);
    create table password_resets_old () inherits (password_resets);
    insert into password_resets values (1, true), (2, false);
    insert into password_resets_old values (3, true), (4, false)`);

  const report = await database
    .service({
      targets: [
        { table: 'refresh_tokens', deleteWhen: [{ revoked: true }] },
        { table: 'password_resets', deleteWhen: [{ used: true }] },
      ],
    })
    .run({ concurrency: 3 });

  expect(report.targets).toMatchObject([
    { table: 'refresh_tokens', rowsDeleted: 125, rowsRemaining: 0 },
    { table: 'password_resets', rowsDeleted: 2, rowsRemaining: 0 },
  ]);
  expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([125]);
  expect(await database.column('select count(*)::int from refresh_tokens where revoked')).toEqual([0]);
  expect(await database.column('select id from password_resets')).toEqual([2, 4]);
});

test('deletes all dead rows even if outdated statistics show few', async () => {
  await fillTokens(database, 50_000);
  await database.sql('create index on refresh_tokens (expires_at); analyze refresh_tokens');
  await database.sql(`alter table refresh_tokens set (autovacuum_enabled = off)`);
  await database.sql(`update refresh_tokens set expires_at = now() - interval '1 day'`);

  const report = await database.service().run();

  expect(report.targets).toMatchObject([{ status: 'succeeded', rowsDeleted: 50_000, rowsRemaining: 0 }]);
});

test('ends in time, reports what remains, and deletes it in the next run', async () => {
  await fillTokens(database, 6_000);
  await database.slowDown('refresh_tokens', 0.002);
  // A crowded machine needs part of it to count what the trigger may have kept, once the last batch is over.
  const timeLeftMs = 4_000;
  const startedAt = systemClock.now();

  const report = await database.service().run({ timeLeftMs });

  expect(systemClock.now() - startedAt).toBeLessThan(timeLeftMs);
  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'deadline' }] });
  expect(report.rowsDeleted).toBeGreaterThan(0);
  const remaining = 3_000 - report.rowsDeleted;
  expect(report.targets[0]?.rowsRemaining).toBe(remaining);
  expect(await survivors(database)).toHaveLength(6_000 - report.rowsDeleted);

  await database.sql('drop trigger dawdle on refresh_tokens');
  expect(await database.service().run()).toMatchObject({ status: 'succeeded', rowsDeleted: remaining });
});

test('ends after the batch under way when it is interrupted', async () => {
  await fillTokens(database, 50_000);
  const interrupt = new AbortController();
  const { logger } = database.atProgress(() => interrupt.abort());

  const report = await database.service({ logger }).run({ maxLoad: 0.02, signal: interrupt.signal });

  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'interrupted', batches: 1 }] });
  expect(await survivors(database)).toHaveLength(50_000 - report.rowsDeleted);
});
