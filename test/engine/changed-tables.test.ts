import type { TargetsInput } from '../../lambda/configuration/targets';
import { useDatabase } from '../support/database';

const database = useDatabase();

/** Runs a service, and SQL of another session as soon as the sweep has deleted its first rows. */
async function runBeside(sql: string, target: Partial<TargetsInput[number]> = {}) {
  const other = await database.connect();
  const { logger, happened } = database.atProgress(() => other.query(sql));
  const targets = [{ table: 'tokens', deleteWhen: [{ revoked: true }], ...target }];
  const report = await database.service({ targets, logger }).run({ maxLoad: 0.02 });
  await happened();
  return report;
}

const ROWS = `select id, true, repeat('x', 100) from generate_series(1, 30000) as id`;

test('fails, and deletes nothing from the new table, if another table takes the name of the inspected one', async () => {
  await database.sql(`
    create table tokens (id int, revoked boolean, filler text); insert into tokens ${ROWS};
    create table other (id int, revoked boolean, filler text); insert into other ${ROWS}`);

  const report = await runBeside('begin; alter table tokens rename to old; alter table other rename to tokens; commit');

  expect(report).toMatchObject({
    status: 'failed',
    error: 'tokens: "public"."tokens" was replaced or dropped during the sweep',
  });
  expect(await database.column('select count(*)::int from tokens')).toEqual([30_000]);
  expect(await database.column('select count(*)::int from old')).toEqual([30_000 - report.rowsDeleted]);
});

test('fails if the table is dropped', async () => {
  await database.sql(`create table tokens (id int, revoked boolean, filler text); insert into tokens ${ROWS}`);

  expect(await runBeside('drop table tokens')).toMatchObject({
    status: 'failed',
    error: 'tokens: "public"."tokens" was replaced or dropped during the sweep',
  });
});

test('starts again if the table is rewritten, which moves its rows', async () => {
  await database.sql(`
    create table tokens (id int, revoked boolean, filler text);
    insert into tokens select id, false, repeat('x', 100) from generate_series(1, 10000) as id;
    insert into tokens ${ROWS}; delete from tokens where not revoked and id % 2 = 0`);

  expect(await runBeside('vacuum full tokens')).toMatchObject({ status: 'succeeded', targets: [{ rowsRemaining: 0 }] });
  expect(await database.column('select count(*)::int from tokens where revoked')).toEqual([0]);
});

// Each leaves the column with a time that looks past by the rules for its former type.
test.each([
  ['timestamp', 'timestamptz', `expires_at at time zone 'Pacific/Kiritimati'`, { timeZone: 'Pacific/Kiritimati' }],
  ['timestamptz', 'timestamp', `expires_at at time zone 'Pacific/Pago_Pago'`, {}],
  ['timestamptz', 'date', `(expires_at at time zone 'Pacific/Pago_Pago')::date`, {}],
])('fails, and deletes no live row, if a %s becomes a %s', async (before, after, using, options) => {
  const soon =
    before === 'timestamp' ? `(now() + interval '1 h') at time zone 'Pacific/Kiritimati'` : `now() + interval '1 h'`;
  await database.sql(`
    create table tokens (id int, expires_at ${before}, filler text default repeat('x', 100));
    insert into tokens select id, '2020-01-01' from generate_series(1, 15000) as id;
    insert into tokens select id, ${soon} from generate_series(15001, 30000) as id`);

  const report = await runBeside(`alter table tokens alter expires_at type ${after} using ${using}`, {
    deleteWhen: [{ expires_at: { olderThan: '0s' } }],
    ...options,
  });

  expect(await database.column('select count(*)::int from tokens where id > 15000')).toEqual([15_000]);
  expect(report).toMatchObject({
    status: 'failed',
    error: 'tokens: the type of column "expires_at" was changed during the sweep',
  });
});

test.each([
  ['is added', 'cascade', ''],
  ['is added', 'set null', ''],
  ['takes the place of another one', 'cascade', 'drop constraint tokens_other_id_fkey,'],
])('fails, and changes no live row, if a key %s (on delete %s)', async (_, action, drop) => {
  await database.sql(`
    create table tokens (
      id int primary key, revoked boolean, parent_id int, other_id int references tokens on delete set null,
      filler text default repeat('x', 100)
    );
    create index on tokens (parent_id);
    insert into tokens select id, true from generate_series(1, 15000) as id;
    insert into tokens select id, false, id - 15000 from generate_series(15001, 30000) as id`);

  const report = await runBeside(
    `alter table tokens ${drop} add foreign key (parent_id) references tokens on delete ${action} not valid`,
  );

  expect(await database.column('select count(*)::int from tokens where parent_id is not null')).toEqual([15_000]);
  expect(report).toMatchObject({
    status: 'failed',
    error: 'tokens: a foreign key on delete cascade, set null or set default was added or dropped during the sweep',
  });
});

test('fails, and deletes no live row, if another table takes the name of one to which rows refer', async () => {
  await database.sql(`
    create table sessions (id int primary key, revoked boolean);
    insert into sessions values (1, false), (2, true);
    create table tokens (id int, session_id int references sessions, filler text default repeat('x', 100));
    insert into tokens select id, 2 - id % 2 from generate_series(1, 30000) as id`);

  const report = await runBeside(
    `begin; alter table sessions rename to old; create table sessions (id int primary key, revoked boolean);
     insert into sessions values (1, true), (2, true); commit`,
    { deleteWhen: [{ session_id: { refersTo: { revoked: true } } }] },
  );

  expect(await database.column('select count(*)::int from tokens where session_id = 1')).toEqual([15_000]);
  expect(report).toMatchObject({
    status: 'failed',
    error: 'tokens: "public"."sessions" was replaced or dropped during the sweep',
  });
});

test('changes no live row if a key on delete cascade is added while a DELETE waits for the lock of that', async () => {
  const migration = await database.connect();
  for (let number = 1; number <= 8; number += 1) {
    // A cascade that rows are to be kept from has the statements run in repeatable read.
    await database.sql(`
      drop table if exists devices, tokens;
      create table tokens (id int primary key, revoked boolean, parent_id int);
      create index on tokens (parent_id);
      insert into tokens select id, true from generate_series(1, 15000) as id;
      insert into tokens select id, false, id - 15000 from generate_series(15001, 30000) as id;
      create table devices (token_id int references tokens on delete cascade)`);
    const { logger, happened } = database.atProgress(async () => {
      await migration.query(
        'begin; alter table tokens add foreign key (parent_id) references tokens on delete cascade not valid',
      );
      await database.untilSweepWaits();
      await migration.query('commit');
    });

    const target = { table: 'tokens', deleteWhen: [{ revoked: true }], unlessReferredToBy: ['devices'] };
    await database.service({ targets: [target], logger }).run({ maxLoad: 0.2 });
    await happened();

    expect(await database.column('select count(*)::int from tokens where not revoked')).toEqual([15_000]);
  }
});

test('fails, and takes no kept row along, if another table takes the name of one whose rows keep others', async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean, filler text); insert into tokens ${ROWS};
    create table devices (token_id int references tokens on delete cascade);
    create index on devices (token_id);
    insert into devices select id from generate_series(15001, 30000) as id`);

  const report = await runBeside(
    'begin; alter table devices rename to old; create table devices (token_id int); commit',
    {
      unlessReferredToBy: ['devices'],
    },
  );

  expect(await database.column('select count(*)::int from old')).toEqual([15_000]);
  expect(report).toMatchObject({
    status: 'failed',
    error: 'tokens: "public"."devices" was replaced or dropped during the sweep',
  });
});

describe('a partitioned table', () => {
  beforeEach(() =>
    database.sql(`
      create table tokens (id int, revoked boolean, filler text) partition by range (id);
      create table tokens_1 partition of tokens for values from (0) to (10001);
      create table tokens_2 partition of tokens for values from (10001) to (20001);
      create table tokens_3 partition of tokens for values from (20001) to (30001);
      insert into tokens ${ROWS}`),
  );

  test('is swept but for a partition that is detached meanwhile', async () => {
    const report = await runBeside('alter table tokens detach partition tokens_2');

    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
    expect(await database.column('select count(*)::int from tokens')).toEqual([0]);
    expect(await database.column('select count(*)::int from tokens_2')).toEqual([30_000 - report.rowsDeleted]);
    expect(report.rowsDeleted).toBeLessThan(30_000);
  });

  test('is swept but for a partition that is dropped meanwhile', async () => {
    const report = await runBeside('drop table tokens_2');

    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
    expect(await database.column('select count(*)::int from tokens')).toEqual([0]);
  });

  test('is partial if a partition with dead rows is attached meanwhile', async () => {
    await database.sql('create table tokens_4 as select 30001 as id, true as revoked, null::text as filler');

    const report = await runBeside('alter table tokens attach partition tokens_4 for values from (30001) to (40001)');

    expect(report).toMatchObject({ status: 'partial', rowsDeleted: 30_000 });
    expect(report.targets).toMatchObject([
      {
        stopReason: 'blocked',
        rowsRemaining: 1,
        blockedBy: [{ reason: 'partition public.tokens_4 was attached during the sweep', rows: 1 }],
      },
    ]);
  });
});

test('names the lock if the whole table is locked until the deadline', async () => {
  await database.sql('create table tokens (id int, revoked boolean); insert into tokens values (1, true)');
  const migration = await database.connect();
  await migration.query('begin; lock table tokens');

  const report = await database
    .service({ targets: [{ table: 'tokens', deleteWhen: [{ revoked: true }] }] })
    .run({ timeLeftMs: 4_000 });

  expect(report.targets).toMatchObject([
    { status: 'partial', stopReason: 'deadline', blockedBy: [{ reason: 'a lock on the whole table' }] },
  ]);
  await migration.query('rollback');
});
