import { Client } from 'pg';
import { systemClock } from '../../lambda/clock';
import type { TargetsInput } from '../../lambda/configuration/targets';
import type { Diagnosis } from '../../lambda/dry-run/diagnosis';
import { useDatabase } from '../support/database';
import { POSTGRES_VERSION } from '../support/postgres';
import { startReplica } from '../support/replica';

const database = useDatabase({ wal_level: 'replica' });

const TABLE = 'create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz, hash text)';

/** The diagnosis of the first table. */
async function diagnosisOf(targets?: TargetsInput): Promise<Diagnosis> {
  const report = await database.service(targets && { targets }).run({ dryRun: true });
  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 0 });
  return report.targets[0]?.diagnosis as Diagnosis;
}

// They come first, since the replica is a copy of all databases that there are.
describe('with a replica', () => {
  let replica: Awaited<ReturnType<typeof startReplica>>;
  beforeEach(async () => {
    await database.sql(`
      ${TABLE}; insert into refresh_tokens select id, id % 2 = 0, null from generate_series(1, 1000) as id`);
    replica = await startReplica(database.server);
  });
  afterEach(() => replica.remove());

  test('reports its lag, and to a role that may not see it the missing grant', async () => {
    const connection = await database.createRole('plain', 'delete, select on refresh_tokens');
    const onReplica = new Client(replica.url());
    await onReplica.connect();
    await onReplica.query('select pg_wal_replay_pause()');
    await database.sql('create table ballast as select n from generate_series(1, 100000) as n');

    const hidden = await database.service({ connection }).run({ dryRun: true });
    await database.sql('grant pg_monitor to plain');
    const seen = await database.service({ connection }).run({ dryRun: true });
    await onReplica.query('select pg_wal_replay_resume()');
    await database.until('select bool_and(replay_lsn = pg_current_wal_lsn()) from pg_stat_replication');
    const caughtUp = await database.service({ connection }).run({ dryRun: true });
    await onReplica.end();

    expect(hidden.server).not.toHaveProperty('replicas');
    expect(hidden.warnings).toEqual([
      'the replicas are not visible, so their lag is unknown: grant pg_monitor to plain',
    ]);
    expect(seen).not.toHaveProperty('warnings');
    const name = 'walreceiver on 127.0.0.1';
    expect(seen.server?.replicas).toMatchObject([{ name }]);
    expect(seen.server?.replicas?.[0]?.lagBytes).toBeGreaterThan(1_000_000);
    expect(caughtUp.server?.replicas).toEqual([{ name, lagBytes: 0, lagSeconds: expect.any(Number) }]);
  });

  test('counts on it, and reports that a run needs the primary', async () => {
    const report = await database
      .service({ connection: database.connection({ port: replica.port, password: database.server.password }) })
      .run({ dryRun: true });

    expect(report).toMatchObject({
      status: 'succeeded',
      server: { isReplica: true },
      targets: [{ rowsRemaining: 500, diagnosis: { rowsKept: 500 } }],
    });
  });
});

test('reports to a role that may only read the rows to delete by rule, the rows to keep, and the missing privileges', async () => {
  await database.sql(`
    ${TABLE};
    insert into refresh_tokens
    select id, case id % 4 when 0 then null when 1 then true else false end,
      case id % 3 when 0 then null when 1 then now() - interval '1 hour' else now() + interval '1 day' end
    from generate_series(1, 12000) as id`);
  const connection = await database.createRole('reader', 'select (ctid, revoked, expires_at) on refresh_tokens');

  const report = await database.service({ connection }).run({ dryRun: true, concurrency: 2 });

  expect(report).toEqual({
    status: 'succeeded',
    stage: 'local',
    dryRun: true,
    cutoff: expect.any(String),
    rowsDeleted: 0,
    durationMs: expect.any(Number),
    warnings: ['refresh_tokens: a privilege is missing: grant delete on public.refresh_tokens to reader'],
    server: {
      version: expect.stringMatching(new RegExp(`^${POSTGRES_VERSION}\\.`)),
      isReplica: false,
      clockDifferenceMs: 0,
      replicas: [],
    },
    targets: [
      {
        table: 'refresh_tokens',
        status: 'succeeded',
        stopReason: 'drained',
        rowsDeleted: 0,
        rowsRemaining: 6_000,
        batches: 0,
        longestBatchMs: 0,
        durationMs: expect.any(Number),
        erasure: expect.objectContaining({
          deleted: true,
          autovacuumAdvice: [expect.stringMatching(/^alter table public\.refresh_tokens set/)],
        }),
        diagnosis: {
          findings: [{ text: 'a privilege is missing', sql: 'grant delete on public.refresh_tokens to reader' }],
          rules: [
            { rule: '"revoked" = true', rows: 3_000 },
            { rule: `"expires_at" < '${report.cutoff}'::timestamptz`, rows: 4_000, oldest: expect.any(String) },
          ],
          rowsKept: 6_000,
          tableBytes: expect.any(Number),
          indexBytes: expect.any(Number),
          indexAdvice: { verdict: 'not-needed', statements: [] },
          estimatedDurationMs: expect.any(Number),
        },
      },
    ],
  });
  for (const { rule, rows } of report.targets[0]?.diagnosis?.rules ?? []) {
    expect(await database.column(`select count(*)::int from refresh_tokens where ${rule}`)).toEqual([rows]);
  }
  expect(await database.service({ connection }).run()).toMatchObject({
    status: 'failed',
    error: 'refresh_tokens: a privilege is missing: grant delete on public.refresh_tokens to reader',
  });
  expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([12_000]);
});

test('gives the oldest value that each age matches, and warns if hardly a row of the table would stay', async () => {
  await database.sql(`
    create table tokens (id int, revoked boolean, ends timestamp, ends_s int, ends_ms bigint, day date);
    insert into tokens (id, ends) values (1, '2020-07-01 12:00'), (2, '2020-07-02 12:00');
    insert into tokens (id, ends_s) values (3, 1500000000), (4, 1600000000), (5, 1);
    insert into tokens (id, ends_ms) values (6, 1500000000123);
    insert into tokens (id, day) values (7, '-infinity');
    insert into tokens (id, revoked) select id, true from generate_series(8, 40) as id`);
  const deleteWhen = [
    { ends: { olderThan: '0s' } },
    { ends_s: { olderThan: '0s', epoch: 's' as const } },
    { ends_ms: { olderThan: '0s', epoch: 'ms' as const } },
    { day: { olderThan: '0s' } },
    { revoked: true },
    { revoked: false, ends: { olderThan: '0s' } },
  ];
  const targets: TargetsInput = [{ table: 'tokens', timeZone: 'Asia/Tokyo', deleteWhen }];

  const report = await database.service({ targets }).run({ dryRun: true });

  expect(report.targets[0]?.diagnosis?.rules?.map(({ oldest }) => oldest)).toEqual([
    '2020-07-01T03:00:00.000Z',
    '2017-07-14T02:40:00.000Z',
    '2017-07-14T02:40:00.123Z',
    '-infinity',
    undefined,
    undefined,
  ]);
  expect(report.warnings).toContain(
    'tokens: WARNING: 97.5 % of the table would be deleted; make sure that the rules match only dead rows',
  );
  await database.sql('insert into tokens (id) values (41), (42)');
  const fewer = await database.service({ targets }).run({ dryRun: true });
  expect(JSON.stringify(fewer.warnings ?? [])).not.toContain('WARNING');
});

test('adds up the rows and sizes of the partitions', async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamp) partition by list (revoked);
    create table revoked_tokens partition of refresh_tokens for values in (true);
    create table other_tokens partition of refresh_tokens default;
    create index on refresh_tokens (id);
    insert into refresh_tokens
    select id, id % 3 = 0, (now() at time zone 'UTC') + (id % 2 - 0.5) * interval '1 day' from generate_series(1, 6000) as id`);

  const { rules, rowsKept, tableBytes, indexBytes } = await diagnosisOf();

  expect(rules?.map(({ rows }) => rows)).toEqual([2_000, 3_000]);
  expect(rowsKept).toBe(2_000);
  const [sizes] = await database.sql(`
    select sum(pg_table_size(oid))::float8 as "tableBytes", sum(pg_indexes_size(oid))::float8 as "indexBytes"
    from pg_class where relname in ('revoked_tokens', 'other_tokens')`);
  expect({ tableBytes, indexBytes }).toEqual(sizes);
});

test('estimates the rows to keep if indexes find no dead row', async () => {
  await database.sql(`
    ${TABLE};
    insert into refresh_tokens select id, false, now() + interval '1 day', repeat('x', 100) from generate_series(1, 10000) as id;
    create index on refresh_tokens (id) where revoked;
    create index on refresh_tokens (expires_at)`);
  await database.sql('vacuum analyze refresh_tokens');

  expect(await diagnosisOf()).toMatchObject({
    rules: [{ rows: 0 }, { rows: 0 }],
    rowsKept: 10_000,
    rowsKeptEstimated: true,
  });
});

test('expects a longer run for more dead rows, and does not guess if a foreign key has no index', async () => {
  await database.sql(`
    ${TABLE};
    insert into refresh_tokens select id, id = 1, null from generate_series(1, 100000) as id;
    create table devices (token_id int references refresh_tokens); create index device_tokens on devices (token_id)`);

  const little = (await diagnosisOf()).estimatedDurationMs ?? 0;
  await database.sql('update refresh_tokens set revoked = true');
  const much = (await diagnosisOf()).estimatedDurationMs ?? 0;

  expect(little).toBeGreaterThan(0);
  expect(much - little).toBeGreaterThan(1_000); // the checks of the foreign key alone take longer
  await database.sql('drop index device_tokens');
  expect(await diagnosisOf()).not.toHaveProperty('estimatedDurationMs');
});

test('waits for a migration that holds the table', async () => {
  await database.sql(`${TABLE}; insert into refresh_tokens values (1, true), (2, false)`);
  const migration = await database.connect();
  await migration.query('begin; lock table refresh_tokens');

  const diagnosis = diagnosisOf();
  await database.untilSweepWaits();
  await database.sql('select pg_sleep(1.5)'); // one statement waits for a second
  await database.untilSweepWaits();
  await migration.query('commit');

  expect(await diagnosis).toMatchObject({ rules: [{ rows: 1 }, { rows: 0 }], rowsKept: 1 });
});

test('leaves out numbers that it had no time to count', async () => {
  await database.sql(`
    ${TABLE}; insert into refresh_tokens select id, true, null, repeat('x', 100) from generate_series(1, 20000) as id`);

  const report = await database.service().run({ dryRun: true, maxLoad: 0.001, timeLeftMs: 1_500 });

  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'deadline' }] });
  expect(report.targets[0]).not.toHaveProperty('rowsRemaining');
  expect(report.targets[0]?.diagnosis).toEqual({
    findings: [],
    tableBytes: expect.any(Number),
    indexBytes: expect.any(Number),
    indexAdvice: { verdict: 'not-needed', statements: [] },
  });
});

test.each([
  ['behind', 120_000, -120_000],
  ['ahead', -120_000, 60_000],
])("tells how far the server's clock is %s", async (_, offsetMs, atLeast) => {
  await database.sql(TABLE);
  const clock = { ...systemClock, date: () => new Date(Date.now() + offsetMs) };

  const { server } = await database.service({ clock }).run({ dryRun: true });

  // A minute is more than the answer takes.
  expect(server?.clockDifferenceMs).toBeGreaterThanOrEqual(atLeast);
  expect(server?.clockDifferenceMs).toBeLessThanOrEqual(atLeast + 60_000);
});
