import { systemClock } from '../../lambda/clock';
import { useDatabase } from '../support/database';

const database = useDatabase();

const TABLE = `
  create table refresh_tokens (
    id int primary key, revoked boolean not null default false, expires_at timestamptz, filler text default repeat('x', 100)
  )`;

/** Dead and live rows in turn: even ids are revoked. */
async function fill(rows: number): Promise<void> {
  await database.sql(TABLE);
  await database.sql(
    `insert into refresh_tokens select id, id % 2 = 0, now() + interval '1 day' from generate_series(1, $1::int) as id`,
    [rows],
  );
}

function survivors(): Promise<number[]> {
  return database.column<number>('select id from refresh_tokens');
}

function odd(upTo: number): number[] {
  return Array.from({ length: Math.ceil(upTo / 2) }, (_, index) => 2 * index + 1).sort();
}

test('deletes revoked and expired rows, and keeps the live, the NULLs and the one that expires at the very cutoff', async () => {
  await database.sql(TABLE);
  // One row for each of the next milliseconds: one of them is the cutoff.
  await database.sql(`
    insert into refresh_tokens (id, revoked, expires_at) values
      (1, false, now() - interval '1 ms'), (2, true, now() + interval '1 day'), (3, true, null), (4, true, '-infinity'),
      (5, false, now() + interval '1 day'), (6, false, null), (7, false, 'infinity'), (8, false, '-infinity');
    insert into refresh_tokens (id, expires_at)
    select 100 + ms, date_trunc('milliseconds', now()) + ms * interval '1 ms' from generate_series(0, 5000) as ms`);

  const report = await database.service().run();

  const rows = await database.sql<{ id: number; at: Date | null }>('select id, expires_at as at from refresh_tokens');
  expect(
    rows
      .filter(({ id }) => id < 100)
      .map(({ id }) => id)
      .sort(),
  ).toEqual([5, 6, 7]);
  const cutoff = new Date(report.cutoff ?? '');
  const first = rows.filter(({ id }) => id >= 100).reduce((earliest, row) => (row.id < earliest.id ? row : earliest));
  expect(first.at).toEqual(cutoff);
  expect(rows.filter(({ id }) => id >= 100)).toHaveLength(5100 - first.id + 1);
});

test('keeps a row whose expiry is extended while the sweep waits for it', async () => {
  await fill(10);
  await database.sql(`update refresh_tokens set expires_at = now() - interval '1 day' where id = 5`);
  const service = await database.connect();
  await service.query('begin');
  await service.query(`update refresh_tokens set expires_at = now() + interval '1 day' where id = 5`);

  const run = database.service().run();
  await database.untilSweepWaits();
  await service.query('commit');

  expect(await run).toMatchObject({ status: 'succeeded', rowsDeleted: 5, targets: [{ rowsRemaining: 0 }] });
  expect(await survivors()).toEqual([1, 3, 5, 7, 9]);
});

test('keeps a row that is taken back from revocation while the sweep waits for it', async () => {
  await fill(10);
  const service = await database.connect();
  await service.query('begin');
  await service.query('update refresh_tokens set revoked = false where id = 4');

  const run = database.service().run();
  await database.untilSweepWaits();
  await service.query('commit');

  expect(await run).toMatchObject({ status: 'succeeded', rowsDeleted: 4 });
  expect(await survivors()).toEqual([1, 3, 4, 5, 7, 9]);
});

test('leaves only the rows that stay locked, says so, and takes them the next time', async () => {
  await fill(20_000);
  const service = await database.connect();
  await service.query('begin');
  await service.query('select from refresh_tokens where id in (2, 10000, 20000) for update');

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
  expect(await survivors()).toEqual([...odd(20_000), 2, 10_000, 20_000].sort());
  await service.query('rollback');
  expect(await database.service().run()).toMatchObject({ status: 'succeeded', rowsDeleted: 3 });
  expect(await survivors()).toEqual(odd(20_000));
});

test('leaves only the rows that a foreign key protects, and names it', async () => {
  await fill(20_000);
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
  expect(await survivors()).toEqual([...odd(20_000), 4, 12_000].sort());
});

test('leaves only the rows that a trigger refuses to delete, without repeating its text', async () => {
  await fill(2_000);
  await database.sql(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'token %-secret is under investigation', old.id; end $$;
    create trigger refuse before delete on refresh_tokens for each row when (old.id = 1000) execute function refuse()`);

  const report = await database.service().run();

  expect(report.targets[0]).toMatchObject({ stopReason: 'blocked', rowsDeleted: 999, rowsRemaining: 1 });
  expect(report.targets[0]?.blockedBy).toEqual([{ reason: expect.stringContaining('SQLSTATE P0001'), rows: 1 }]);
  expect(JSON.stringify([report, database.logs])).not.toContain('secret');
  expect(await survivors()).toEqual([...odd(2_000), 1_000].sort());
});

test('says that rows are blocked which a trigger skips in silence', async () => {
  await fill(100);
  await database.sql(`
    create function skip() returns trigger language plpgsql as 'begin return null; end';
    create trigger skip before delete on refresh_tokens for each row when (old.id <= 4) execute function skip()`);

  const report = await database.service().run();

  expect(report.targets).toMatchObject([
    {
      stopReason: 'blocked',
      rowsDeleted: 48,
      rowsRemaining: 2,
      blockedBy: [{ reason: 'a trigger, a rule or a policy that skips rows in silence or writes them back', rows: 2 }],
    },
  ]);
});

test('fails when a trigger forbids deletes altogether, and deletes nothing', async () => {
  await fill(20_000);
  await database.sql(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
    create trigger refuse before delete on refresh_tokens for each statement execute function refuse()`);

  const report = await database.service().run();

  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 0, error: expect.stringContaining('SQLSTATE P0001') });
  expect(await survivors()).toHaveLength(20_000);
});

test('waits for a lock on the whole table', async () => {
  await fill(20_000);
  const migration = await database.connect();
  await migration.query('begin');
  await migration.query('lock table refresh_tokens in share mode');

  const run = database.service().run();
  // More often than halving a range down to a row takes.
  for (let times = 0; times < 3; times += 1) {
    await database.untilSweepWaits();
  }
  await migration.query('commit');

  expect(await run).toMatchObject({ status: 'succeeded', rowsDeleted: 10_000 });
});

test('gives rows that die behind the sweep another pass', async () => {
  await fill(20_000);
  await database.sql(`
    create function revoke_first() returns trigger language plpgsql as $$
      begin update refresh_tokens set revoked = true where id = 1; return null; end $$;
    create trigger revoke_first after delete on refresh_tokens for each row when (old.id = 20000)
    execute function revoke_first()`);

  const report = await database.service().run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 10_001, targets: [{ rowsRemaining: 0 }] });
  expect(await survivors()).toEqual(odd(20_000).filter((id) => id !== 1));
});

/** What the server logs of a run, its statements among it. */
async function logOf(run: () => Promise<unknown>): Promise<string> {
  await database.sql(`alter role postgres set log_statement to 'all'; do $$ begin raise log 'the run begins'; end $$`);
  await run();
  await database.sql(`alter role postgres reset log_statement; do $$ begin raise log 'the run is over'; end $$`);
  for (;;) {
    const [log, end] =
      database.server.log
        .split(/LOG: +the run begins/)
        .at(-1)
        ?.split(/LOG: +the run is over/) ?? [];
    if (log !== undefined && end !== undefined) {
      return log;
    }
    await new Promise(setImmediate);
  }
}

test('does not read the table again, though others write meanwhile', async () => {
  await fill(20_000);
  await database.sql('create table elsewhere (id int)');
  const writer = await database.connect();
  let written: Promise<unknown> | undefined;
  const debug = () => {
    written ??= writer.query('insert into elsewhere values (1); update refresh_tokens set revoked = true where id = 1');
  };

  const statements = await logOf(async () => {
    const report = await database.service({ logger: { ...database.logger, debug } }).run({ maxLoad: 0.1 });
    // Row 1 was alive at the cutoff: it is for the next run.
    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
  });

  expect(written).toBeDefined();
  expect(statements).toContain('delete from only "public"."refresh_tokens"');
  expect(statements).not.toContain('count(*)');
});

test('counts what is left where a trigger may skip rows in silence', async () => {
  await fill(2_000);
  await database.sql(`
    create function note() returns trigger language plpgsql as 'begin return old; end';
    create trigger note before delete on refresh_tokens for each row execute function note()`);

  expect(await logOf(() => database.service().run())).toContain('count(*)');
});

test('says that it is partial where a trigger writes rows back', async () => {
  await fill(100);
  await database.sql(`
    create function write_back() returns trigger language plpgsql as $$
      begin insert into refresh_tokens select old.id + 1000, true; return null; end $$;
    create trigger write_back after delete on refresh_tokens for each row when (old.id % 100 = 0)
    execute function write_back()`);

  const report = await database.service().run();

  expect(report).toMatchObject({ status: 'partial', rowsDeleted: 52 });
  expect(report.targets).toMatchObject([
    {
      stopReason: 'blocked',
      rowsRemaining: 1,
      blockedBy: [{ reason: 'a trigger, a rule or a policy that skips rows in silence or writes them back', rows: 1 }],
    },
  ]);
});

test('sweeps partitions and heirs one by one', async () => {
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

describe('where indexes lead to the few dead rows of a large table', () => {
  /** A thousand blocks, and in the first twenty of them a hundred dead rows. */
  beforeEach(async () => {
    await database.sql(`
      ${TABLE};
      insert into refresh_tokens
      select id, id % 10 = 0 and id <= 1000, now() + interval '1 day' from generate_series(1, 50000) as id;
      create index on refresh_tokens (id) where revoked;
      create index on refresh_tokens (expires_at)`);
    await database.sql('vacuum analyze refresh_tokens');
  });

  test('deletes them in pieces, and does not read the rest', async () => {
    await database.sql('select pg_stat_reset()');

    const report = await database.service().run();

    expect(report.targets).toMatchObject([{ rowsDeleted: 100, rowsRemaining: 0 }]);
    expect(report.targets[0]?.batches).toBeLessThan(20);
    // Before version 15 statistics come late.
    await database.until(
      `select heap_blks_read + heap_blks_hit >= 100 from pg_statio_user_tables where relname = 'refresh_tokens'`,
    );
    const [blocks] = await database.column<number>(
      `select (heap_blks_read + heap_blks_hit)::int from pg_statio_user_tables where relname = 'refresh_tokens'`,
    );
    expect(blocks).toBeGreaterThanOrEqual(100);
    expect(blocks).toBeLessThan(500);
    expect(await database.column('select count(*)::int from refresh_tokens where not revoked')).toEqual([49_900]);
  });

  test('leaves only the rows that stay locked or that a foreign key protects, and takes them the next time', async () => {
    await database.sql(`
      create table devices (token_id int constraint device_token references refresh_tokens (id));
      create index on devices (token_id);
      insert into devices values (20), (700), (5)`);
    const service = await database.connect();
    await service.query('begin; select from refresh_tokens where id in (10, 500, 1000) for update');

    const report = await database.service().run({ concurrency: 2 });

    expect(report.targets).toMatchObject([
      {
        stopReason: 'blocked',
        rowsDeleted: 95,
        rowsRemaining: 5,
        blockedBy: expect.arrayContaining([
          { reason: 'a lock of another transaction', rows: 3 },
          { reason: 'foreign key "device_token" of "public"."devices"', rows: 2 },
        ]),
      },
    ]);
    await service.query('rollback');
    await database.sql('delete from devices');
    expect(await database.service().run()).toMatchObject({ status: 'succeeded', rowsDeleted: 5 });
    expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([49_900]);
  });

  test('keeps a row that is taken back from revocation between its finding and its deletion', async () => {
    const service = await database.connect();
    await service.query('begin; update refresh_tokens set revoked = false where id = 500');

    const run = database.service().run();
    await database.untilSweepWaits();
    await service.query('commit');

    expect(await run).toMatchObject({ status: 'succeeded', rowsDeleted: 99, targets: [{ rowsRemaining: 0 }] });
    expect(await database.column('select id from refresh_tokens where id in (490, 500, 510)')).toEqual([500]);
  });

  test('keeps a live row that took the place of one that was found', async () => {
    await database.sql('create table dead as select ctid as tid from refresh_tokens where revoked');
    const service = await database.connect();
    let replaced: Promise<void> | undefined;
    const replace = async () => {
      await service.query('delete from refresh_tokens where revoked');
      await service.query('vacuum refresh_tokens');
      await service.query('insert into refresh_tokens (id) select -id from generate_series(1, 100) as id');
    };
    const debug = () => {
      replaced ??= replace();
    };

    // After the first piece it rests for seconds.
    const run = database.service({ logger: { ...database.logger, debug } }).run({ maxLoad: 0.003 });
    await database.until('select min(id) = -100 from refresh_tokens');
    await replaced;
    const taken = database.column(
      'select count(*)::int from refresh_tokens as token join dead on tid = token.ctid where id < 0',
    );

    expect(await taken).toEqual([100]);
    expect(await run).toMatchObject({ status: 'succeeded', rowsDeleted: 64, targets: [{ rowsRemaining: 0 }] });
    expect(await database.column('select count(*)::int from refresh_tokens where id < 0')).toEqual([100]);
  });
});

test('deletes what is dead also where statistics hide that most rows are', async () => {
  await fill(50_000);
  await database.sql('create index on refresh_tokens (expires_at); analyze refresh_tokens');
  await database.sql(`alter table refresh_tokens set (autovacuum_enabled = off)`);
  await database.sql(`update refresh_tokens set expires_at = now() - interval '1 day'`);

  const report = await database.service().run();

  expect(report.targets).toMatchObject([{ status: 'succeeded', rowsDeleted: 50_000, rowsRemaining: 0 }]);
});

test('counts what would go in a dry run, and deletes nothing', async () => {
  await fill(1_000);

  const report = await database.service().run({ dryRun: true });

  expect(report).toMatchObject({
    status: 'succeeded',
    dryRun: true,
    rowsDeleted: 0,
    targets: [{ rowsDeleted: 0, rowsRemaining: 500, batches: 0 }],
  });
  expect(await survivors()).toHaveLength(1_000);
});

test('ends in time, says what remains, and goes on the next time', async () => {
  await fill(6_000);
  await database.sql(`
    create function dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(0.002); return old; end';
    create trigger dawdle before delete on refresh_tokens for each row execute function dawdle()`);
  // A crowded machine needs part of it to count what the trigger may have kept, once the last batch is over.
  const timeLeftMs = 4_000;
  const startedAt = systemClock.now();

  const report = await database.service().run({ timeLeftMs });

  expect(systemClock.now() - startedAt).toBeLessThan(timeLeftMs);
  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'deadline' }] });
  expect(report.rowsDeleted).toBeGreaterThan(0);
  const remaining = 3_000 - report.rowsDeleted;
  expect(report.targets[0]?.rowsRemaining).toBe(remaining);
  expect(await survivors()).toHaveLength(6_000 - report.rowsDeleted);

  await database.sql('drop trigger dawdle on refresh_tokens');
  expect(await database.service().run()).toMatchObject({ status: 'succeeded', rowsDeleted: remaining });
});

test('ends after the batch under way when it is interrupted', async () => {
  await fill(50_000);
  const interrupt = new AbortController();
  const logger = { ...database.logger, debug: () => interrupt.abort() };

  const report = await database.service({ logger }).run({ maxLoad: 0.02, signal: interrupt.signal });

  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'interrupted', batches: 1 }] });
  expect(await survivors()).toHaveLength(50_000 - report.rowsDeleted);
});

test('takes what looks like an injection for a name', async () => {
  const evil = `x"; drop table victims; --`;
  await database.sql(`
    create schema "Odd ""Schema""";
    create table victims (id int);
    create table "Odd ""Schema"""."${evil.replaceAll('"', '""')}" (id int, "is ""revoked""?" boolean, "Ablauf-Däte 🕰" timestamp);
    insert into "Odd ""Schema"""."${evil.replaceAll('"', '""')}"
    values (1, true, null), (2, false, '2000-01-01'), (3, false, '9999-01-01'), (4, null, null)`);

  const report = await database
    .service({
      targets: [
        {
          schema: 'Odd "Schema"',
          table: evil,
          deleteWhen: [{ 'is "revoked"?': true }, { 'Ablauf-Däte 🕰': { olderThan: '1d' } }],
        },
      ],
    })
    .run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2, targets: [{ table: evil }] });
  expect(await database.sql('select * from victims')).toEqual([]);
});

test('says that it was interrupted, not that it failed, where it waited for a lock on the whole table', async () => {
  await database.sql('create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz)');
  const migration = await database.connect();
  await migration.query('begin; lock table refresh_tokens');
  const interrupt = new AbortController();
  const run = database.service().run({ signal: interrupt.signal });
  await database.untilSweepWaits();

  interrupt.abort();

  expect(await run).toMatchObject({ status: 'partial', targets: [{ stopReason: 'interrupted', rowsDeleted: 0 }] });
  await migration.query('rollback');
});
