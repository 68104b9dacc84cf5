import type { TargetsInput } from '../../lambda/configuration/targets';
import { useDatabase } from '../support/database';

const database = useDatabase();

const TOKENS: TargetsInput = [{ table: 'tokens', deleteWhen: [{ revoked: true }] }];

/** The errors that the server has logged since it was started, without those that a test asks for. */
async function errorsOf(run: () => Promise<unknown>): Promise<string[]> {
  await database.sql(`do $$ begin raise log 'the run begins'; end $$`);
  await run();
  await database.sql(`do $$ begin raise log 'the run is over'; end $$`);
  for (;;) {
    const [log, end] =
      database.server.log
        .split(/LOG: +the run begins/)
        .at(-1)
        ?.split(/LOG: +the run is over/) ?? [];
    if (log !== undefined && end !== undefined) {
      return log.split('\n').filter((line) => line.includes('ERROR:'));
    }
    await new Promise(setImmediate);
  }
}

/** How many transactions of the database were undone. */
async function undone(): Promise<number> {
  const client = await database.connect();
  await client.query('select pg_stat_force_next_flush()').catch(() => {}); // since PostgreSQL 15
  const { rows } = await client.query(
    'select xact_rollback::int as undone from pg_stat_database where datname = current_database()',
  );
  return rows[0].undone;
}

test('leaves protected rows out without trying them, deletes all others in one run, and names the key', async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean);
    create table devices (id int, token_id int constraint device_token references tokens);
    create index on devices (token_id);
    insert into tokens select id, true from generate_series(1, 60000) as id;
    insert into devices select id, id from generate_series(2, 60000, 2) as id`);

  const errors = await errorsOf(async () => {
    const report = await database.service({ targets: TOKENS }).run();
    expect(report.targets).toMatchObject([
      {
        status: 'partial',
        stopReason: 'blocked',
        rowsDeleted: 30_000,
        rowsRemaining: 30_000,
        blockedBy: [{ reason: 'foreign key "device_token" of "public"."devices"', rows: 30_000 }],
      },
    ]);
  });

  expect(errors).toEqual([]);
  expect(await database.column('select count(*)::int from tokens where id % 2 = 0')).toEqual([30_000]);
  expect(await database.column('select count(*)::int from tokens')).toEqual([30_000]);
});

// Families of ten tokens each; each token refers to another one of its family.
test.each([
  ['older to newer', 'id'],
  ['newer to older', '-id'],
  ['in any order', 'md5(id::text)'],
])('deletes chains of dead rows that refer from %s, and keeps those that a live row leads to', async (_, order) => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean, other int, filler text default repeat('x', 500));
    insert into tokens
    select id, id % 97 <> 0, lead(id) over (partition by id % 500 order by ${order}) from generate_series(1, 5000) as id
    order by id;
    alter table tokens add constraint tokens_other foreign key (other) references tokens;
    create index on tokens (other)`);
  const staying = `
    with recursive staying as (
      select id, other from tokens where not revoked
      union select tokens.id, tokens.other from tokens join staying on staying.other = tokens.id
    )`;
  const expected = await database.column<number>(`${staying} select id from staying`);
  const [live = 0] = await database.column<number>('select count(*)::int from tokens where not revoked');

  const errors = await errorsOf(async () => {
    const report = await database.service({ targets: TOKENS }).run();
    expect(report.targets).toMatchObject([
      { rowsDeleted: 5_000 - expected.length, rowsRemaining: expected.length - live },
    ]);
  });

  expect(errors).toEqual([]);
  expect(await database.column('select id from tokens')).toEqual(expected);
});

test('undoes some hundred statements at most where the role may not read what refers, and begins elsewhere each day', async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean);
    create table devices (id int, token_id int constraint device_token references tokens);
    create index on devices (token_id);
    insert into tokens select id, true from generate_series(1, 60000) as id;
    insert into devices select id, id from generate_series(2, 60000, 2) as id;
    create role purger login password 'purger';
    grant delete, select on tokens to purger`);
  const connection = database.connection({ user: 'purger', password: 'purger' });
  const before = await undone();

  const report = await database.service({ targets: TOKENS, connection }).run();

  expect(report.targets[0]?.rowsDeleted).toBeGreaterThan(0);
  expect((report.targets[0]?.rowsRemaining ?? 0) + report.rowsDeleted).toBe(60_000);
  expect((await undone()) - before).toBeLessThan(1_500);
  expect(await database.column('select count(*)::int from tokens where id % 2 = 0')).toEqual([30_000]);
  await database.sql('drop owned by purger; drop role purger');
});

test('counts the rows that go along by a cascade, by table', async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean);
    create table grants (id int primary key, token_id int references tokens on delete cascade);
    create table "grant Uses" (grant_id int references grants on delete cascade);
    create index on grants (token_id);
    create index on "grant Uses" (grant_id);
    insert into tokens select id, id % 2 = 0 from generate_series(1, 1000) as id;
    insert into grants select id, id % 1000 + 1 from generate_series(1, 3000) as id;
    insert into "grant Uses" select id from generate_series(1, 3000) as id, generate_series(1, 2)`);

  const report = await database.service({ targets: TOKENS }).run();

  expect(report.targets).toMatchObject([
    {
      rowsDeleted: 500,
      rowsRemaining: 0,
      cascaded: [
        { table: '"public"."grants"', rows: 1_500 },
        { table: '"public"."grant Uses"', rows: 3_000 },
      ],
    },
  ]);
  expect(await database.column('select count(*)::int from grants')).toEqual([1_500]);
  expect(await database.column('select count(*)::int from "grant Uses"')).toEqual([3_000]);
});
