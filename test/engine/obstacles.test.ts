import { useDatabase } from '../support/database';
import { fillTokens, odd, survivors } from '../support/tokens';

const database = useDatabase();

test('leaves only the rows that stay locked, reports them, and deletes them the next time', async () => {
  await fillTokens(database, 20_000);
  const service = await database.connect();
  await service.query('begin; select from refresh_tokens where id in (2, 10000, 20000) for update');

  const report = await database.service().run({ concurrency: 2 });

  expect(report).toMatchObject({
    status: 'partial',
    rowsDeleted: 9_997,
    targets: [
      {
        status: 'partial',
        stopReason: 'blocked',
        rowsRemaining: 3,
        blockedBy: [{ reason: 'a lock of another transaction', rows: 3 }],
      },
    ],
  });
  expect(await survivors(database)).toEqual([...odd(20_000), 2, 10_000, 20_000].sort());
  await service.query('rollback');
  expect(await database.service().run()).toMatchObject({ status: 'succeeded', rowsDeleted: 3 });
  expect(await survivors(database)).toEqual(odd(20_000));
});

test('leaves only the rows that a foreign key protects, and names it', async () => {
  await fillTokens(database, 20_000);
  await database.sql(`
    create table devices (id int, token_id int constraint device_token references refresh_tokens (id));
    create index on devices (token_id);
    insert into devices values (1, 4), (2, 4), (3, 12000), (4, 1)`);

  const report = await database.service().run();

  expect(report.targets).toMatchObject([
    {
      stopReason: 'blocked',
      rowsDeleted: 9_998,
      rowsRemaining: 2,
      blockedBy: [{ reason: 'foreign key "device_token" of "public"."devices"', rows: 2 }],
    },
  ]);
  expect(await survivors(database)).toEqual([...odd(20_000), 4, 12_000].sort());
});

test('leaves only the rows that a trigger refuses to delete, without repeating its message', async () => {
  await fillTokens(database, 2_000);
  await database.sql(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'token %-secret is under investigation', old.id; end $$;
    create trigger refuse before delete on refresh_tokens for each row when (old.id = 1000) execute function refuse()`);

  const report = await database.service().run();

  expect(report.targets[0]).toMatchObject({ stopReason: 'blocked', rowsDeleted: 999, rowsRemaining: 1 });
  expect(report.targets[0]?.blockedBy).toEqual([{ reason: expect.stringContaining('SQLSTATE P0001'), rows: 1 }]);
  expect(JSON.stringify([report, database.logs])).not.toContain('secret');
  expect(await survivors(database)).toEqual([...odd(2_000), 1_000].sort());
});

test.each([
  ['skips', 'before', 'old.id <= 4', '', 48, 2],
  ['writes back', 'after', 'old.id % 100 = 0', 'insert into refresh_tokens select old.id + 1000, true;', 52, 1],
])('is partial if a trigger silently %s rows', async (_, time, condition, action, rowsDeleted, rowsRemaining) => {
  await fillTokens(database, 100);
  await database.sql(`
    create function interfere() returns trigger language plpgsql as $$ begin ${action} return null; end $$;
    create trigger interfere ${time} delete on refresh_tokens for each row when (${condition})
    execute function interfere()`);

  const report = await database.service().run();

  const reason = 'a trigger, a rule or a policy that silently skips rows or writes them back';
  expect(report).toMatchObject({
    status: 'partial',
    targets: [{ stopReason: 'blocked', rowsDeleted, rowsRemaining, blockedBy: [{ reason, rows: rowsRemaining }] }],
  });
});

test('fails if a trigger forbids all deletes, and deletes nothing', async () => {
  await fillTokens(database, 20_000);
  await database.sql(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
    create trigger refuse before delete on refresh_tokens for each statement execute function refuse()`);

  const report = await database.service().run();

  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 0, error: expect.stringContaining('SQLSTATE P0001') });
  expect(await survivors(database)).toHaveLength(20_000);
});

test('waits for a lock on the whole table', async () => {
  await fillTokens(database, 20_000);
  const migration = await database.connect();
  await migration.query('begin; lock table refresh_tokens in share mode');

  const run = database.service().run();
  // More often than halving a range down to a row takes.
  for (let times = 0; times < 3; times += 1) {
    await database.untilSweepWaits();
  }
  await migration.query('commit');

  expect(await run).toMatchObject({ status: 'succeeded', rowsDeleted: 10_000 });
});

test.each([
  ['a run', false],
  ['a dry run', true],
])('%s is interrupted, not failed, if it was waiting for a lock on the whole table', async (_, dryRun) => {
  await database.sql('create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz)');
  const migration = await database.connect();
  await migration.query('begin; lock table refresh_tokens');
  const interrupt = new AbortController();
  const run = database.service().run({ dryRun, signal: interrupt.signal });
  await database.untilSweepWaits();

  interrupt.abort();

  expect(await run).toMatchObject({ status: 'partial', targets: [{ stopReason: 'interrupted', rowsDeleted: 0 }] });
  await migration.query('rollback');
});
