import { useDatabase } from './support/database';

const database = useDatabase({ autovacuum: 'off' });

const AUTOMATIC = { maxLoad: undefined };

beforeEach(() =>
  database.sql(`
    create table refresh_tokens (id int primary key, revoked boolean not null, expires_at timestamptz);
    insert into refresh_tokens select id, id % 2 = 0 from generate_series(1, 60000) as id`),
);

function live(): Promise<number[]> {
  return database.column<number>('select count(*)::int from refresh_tokens where not revoked');
}

test.each([1, 2])(
  'works at full speed on every table while no other session is active, on %d connections',
  async (concurrency) => {
    await database.sql(`
    create table password_resets as select * from refresh_tokens;
    create table sessions as select * from refresh_tokens`);

    const targets = ['refresh_tokens', 'password_resets', 'sessions'].map((table) => ({
      table,
      deleteWhen: [{ revoked: true }],
    }));

    const report = await database.service({ ...AUTOMATIC, targets }).run({ concurrency });

    const pace = { share: expect.any(Number), reason: 'no other session was active' };
    expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 90_000, targets: Array(3).fill({ pace }) });
    expect(await live()).toEqual([30_000]);
  },
);

test('yields to a session that writes elsewhere, and deletes all rows nevertheless', async () => {
  const writer = await database.connect();
  let writing = true;
  const writes = (async () => {
    while (writing) {
      await writer.query('select pg_current_xact_id()');
    }
  })();

  const report = await database.service(AUTOMATIC).run({ concurrency: 2 });
  writing = false;
  await writes;

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 30_000 });
  expect(report.targets[0]?.pace?.reason).toContain('other sessions were active');
  expect(database.logs).toContainEqual({
    level: 'debug',
    message: 'pace',
    details: { pace: { reason: 'other sessions were active' } },
  });
  expect(await live()).toEqual([30_000]);
});

test('works at a fixed share if the request sets one', async () => {
  const report = await database.service(AUTOMATIC).run({ maxLoad: 1 });

  expect(report.targets[0]?.pace?.reason).toBe('maxLoad is 1');
});

test('does not speak of the pace of a table in which there was nothing to do', async () => {
  await database.sql('truncate refresh_tokens');

  const report = await database.service(AUTOMATIC).run();

  expect(report.status).toBe('succeeded');
  expect(report.targets[0]).not.toHaveProperty('pace');
});
