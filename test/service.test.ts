import { systemClock } from '../lambda/clock';
import type { TargetsInput } from '../lambda/configuration/targets';
import { checkServer } from '../lambda/run/server';
import { useDatabase } from './support/database';
import { countRoundTrips } from './support/round-trips';

const database = useDatabase();

const TARGETS: TargetsInput = [
  { table: 'refresh_tokens', deleteWhen: [{ revoked: true }] },
  { table: 'password_resets', deleteWhen: [{ used: true }] },
];

beforeEach(() =>
  database.sql(`
    create table refresh_tokens (id int, revoked boolean, filler text default repeat('x', 100));
    create table password_resets (id int, used boolean);
    insert into refresh_tokens select id, id % 2 = 0 from generate_series(1, 20000) as id;
    insert into password_resets select id, id % 4 = 0 from generate_series(1, 100) as id`),
);

test('sweeps every table and logs a line for each and one for the run', async () => {
  const report = await database.service({ targets: TARGETS, stage: 'prod' }).run();

  expect(report).toEqual({
    status: 'succeeded',
    stage: 'prod',
    dryRun: false,
    cutoff: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    rowsDeleted: 10_025,
    durationMs: expect.any(Number),
    targets: [
      {
        table: 'refresh_tokens',
        status: 'succeeded',
        stopReason: 'drained',
        rowsDeleted: 10_000,
        rowsRemaining: 0,
        batches: expect.any(Number),
        longestBatchMs: expect.any(Number),
        durationMs: expect.any(Number),
        pace: { share: expect.any(Number), reason: 'maxLoad is 1' },
        erasure: { deleted: true, unreadable: true, unlinked: false },
      },
      expect.objectContaining({ table: 'password_resets', rowsDeleted: 25 }),
    ],
  });
  const lines = database.logs.filter(({ level }) => level !== 'debug');
  expect(lines.map(({ level, message }) => `${level} ${message.replace(/\d+ ms/, 'n ms')}`)).toEqual([
    'info refresh_tokens: succeeded, 10000 rows deleted, n ms',
    'info password_resets: succeeded, 25 rows deleted, n ms',
    'info token cleanup: succeeded, 10025 rows deleted, n ms',
  ]);
});

test('continues with the other tables when one fails', async () => {
  await database.sql('drop table refresh_tokens');

  const report = await database.service({ targets: TARGETS }).run();

  expect(report).toMatchObject({
    status: 'failed',
    rowsDeleted: 25,
    error: 'refresh_tokens: table "public"."refresh_tokens" does not exist',
    targets: [
      { status: 'failed', rowsDeleted: 0, error: 'table "public"."refresh_tokens" does not exist' },
      { status: 'succeeded', rowsDeleted: 25 },
    ],
  });
  expect(report.targets[0]).not.toHaveProperty('rowsRemaining');
});

test('is skipped while another run is at work on the database', async () => {
  const first = database.service({ targets: TARGETS });
  const { logger, happened } = database.atProgress(() => database.service({ targets: TARGETS }).run());

  const report = await database.service({ targets: TARGETS, logger }).run({ maxLoad: 0.1 });

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 10_025 });
  expect(await happened()).toMatchObject({
    status: 'skipped',
    rowsDeleted: 0,
    warnings: ['another run is active on this database'],
    targets: [
      { table: 'refresh_tokens', status: 'skipped' },
      { table: 'password_resets', status: 'skipped' },
    ],
  });
  expect(await first.run()).toMatchObject({ status: 'succeeded', rowsDeleted: 0 });
});

test.each([
  ['ahead', 6 * 60_000],
  ['behind', -6 * 60_000],
])('refuses to run when its clock is far %s of the database, and deletes nothing', async (_, offsetMs) => {
  const clock = { ...systemClock, date: () => new Date(Date.now() + offsetMs) };

  const report = await database.service({ targets: TARGETS, clock }).run();

  expect(report).toMatchObject({
    status: 'failed',
    error: expect.stringMatching(
      /^the clocks of the database .* and of this machine .* must not differ by more than 5 minutes$/,
    ),
  });
  expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([20_000]);
});

test('takes a clock that differs by less than five minutes', async () => {
  const clock = { ...systemClock, date: () => new Date(Date.now() + 4 * 60_000) };

  expect(await database.service({ targets: TARGETS, clock }).run()).toMatchObject({ status: 'succeeded' });
});

test('refuses a server older than version 14', async () => {
  const query = async <Row>() => ({
    rows: [{ now: Date.now(), version: 130_014, versionText: '13.14', isReplica: false } as Row],
    rowCount: 1,
  });

  await expect(checkServer(query, systemClock, 'read')).rejects.toThrow(
    'the server must be PostgreSQL 14 or newer, is 13.14',
  );
});

test('works with fewer connections than configured if the server has no more, and warns', async () => {
  const connection = await database.createRole('few', 'all on all tables in schema public');
  await database.sql('alter role few connection limit 2');

  const report = await database.service({ targets: TARGETS, connection }).run({ concurrency: 4 });

  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 10_025,
    warnings: ['works with 2 instead of 4 connections: too many connections (SQLSTATE 53300)'],
  });
});

/** Three for the login, and one to say goodbye. */
const TO_CONNECT = 4;

test.each([
  ['a small table', 20],
  ['a large one with indexes', 100_000],
])('takes ten round trips and one connection if there is nothing to do in %s', async (_, rows) => {
  await database.sql(`
    drop table refresh_tokens;
    create table refresh_tokens as
    select id, false as revoked, now() + interval '1 day' as expires_at from generate_series(1, ${rows}) as id;
    create index on refresh_tokens (expires_at);
    create index on refresh_tokens (revoked) where revoked`);
  await database.sql('vacuum analyze refresh_tokens');

  const { roundTrips, connections } = await countRoundTrips(database.url, async (url) => {
    const connection = database.connection({ port: Number(new URL(url).port) });
    const report = await database.service({ connection, maxLoad: undefined }).run({ concurrency: 4 });
    expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 0 });
  });

  expect(roundTrips - TO_CONNECT).toBeLessThanOrEqual(10);
  expect(connections).toBe(1);
});
