import { useDatabase } from '../support/database';
import { REFRESH_TOKENS_TABLE } from '../support/tokens';

const database = useDatabase();

/** Indexes lead to a hundred dead rows, in the first twenty of a thousand blocks. */
beforeEach(async () => {
  await database.sql(`
    ${REFRESH_TOKENS_TABLE};
    insert into refresh_tokens
    select id, id % 10 = 0 and id <= 1000, now() + interval '1 day' from generate_series(1, 50000) as id;
    create index on refresh_tokens (id) where revoked;
    create index on refresh_tokens (expires_at)`);
  await database.sql('vacuum analyze refresh_tokens');
});

test('deletes rows that an index finds in pieces, and does not read the rest of the table', async () => {
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

test('leaves only the found rows that stay locked or that a foreign key protects, and deletes them the next time', async () => {
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

test('keeps a live row that took the place of a found one', async () => {
  await database.sql('create table dead as select ctid as tid from refresh_tokens where revoked');
  const service = await database.connect();
  const { logger, happened } = database.atProgress(async () => {
    await service.query('delete from refresh_tokens where revoked');
    await service.query('vacuum refresh_tokens');
    await service.query('insert into refresh_tokens (id) select -id from generate_series(1, 100) as id');
  });

  // After the first piece it rests for seconds.
  const run = database.service({ logger }).run({ maxLoad: 0.003 });
  await database.until('select min(id) = -100 from refresh_tokens');
  await happened();
  const taken = database.column(
    'select count(*)::int from refresh_tokens as token join dead on tid = token.ctid where id < 0',
  );

  expect(await taken).toEqual([100]);
  expect(await run).toMatchObject({ status: 'succeeded', rowsDeleted: 64, targets: [{ rowsRemaining: 0 }] });
  expect(await database.column('select count(*)::int from refresh_tokens where id < 0')).toEqual([100]);
});
