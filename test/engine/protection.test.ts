import type { TargetsInput } from '../../lambda/configuration/targets';
import { useDatabase } from '../support/database';

const database = useDatabase();

const TOKENS: TargetsInput = [{ table: 'tokens', deleteWhen: [{ revoked: true }] }];

test('leaves protected rows out without trying them, deletes all others in one run, and names the key', async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean);
    create table devices (id int, token_id int constraint device_token references tokens);
    create index on devices (token_id);
    insert into tokens select id, true from generate_series(1, 60000) as id;
    insert into devices select id, id from generate_series(2, 60000, 2) as id`);

  const errors = await database.errorsOf(async () => {
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

test('counts a row once that two rows keep for different keys', async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean, other int constraint tokens_other references tokens);
    create table devices (token_id int constraint device_token references tokens);
    create index on tokens (other);
    create index on devices (token_id);
    insert into tokens values (1, true, null), (2, true, 1), (3, true, 1), (4, false, 3);
    insert into devices values (2)`);
  const service = database.service({ targets: TOKENS });

  const forecast = await service.run({ dryRun: true });
  const run = await service.run();

  const blockedBy = [
    { reason: 'foreign key "device_token" of "public"."devices"', rows: 2 },
    { reason: 'foreign key "tokens_other" of "public"."tokens"', rows: 1 },
  ];
  expect(forecast.targets).toMatchObject([{ rowsRemaining: 0, blockedBy }]);
  expect(run.targets).toMatchObject([{ rowsDeleted: 0, rowsRemaining: 3, blockedBy }]);
});

// Families of ten tokens each; each token refers to another one of its family.
describe.each([
  ['older to newer', 'id'],
  ['newer to older', '-id'],
  ['in any order', 'md5(id::text)'],
])('deletes chains of dead rows that refer from %s, and keeps those that a live row leads to', (_, order) => {
  test.each([
    ['may', 5_000],
    ['may not', 2_000],
  ])('if the role %s read the key', async (may, rows) => {
    await database.sql(`
      create table tokens (id int primary key, revoked boolean, other int, filler text default repeat('x', 500));
      insert into tokens
      select id, id % 97 <> 0, lead(id) over (partition by id % (${rows} / 10) order by ${order})
      from generate_series(1, ${rows}) as id
      order by id;
      alter table tokens add constraint tokens_other foreign key (other) references tokens;
      create index on tokens (other)`);
    const connection = await database.createRole(
      'purger',
      `delete, select ${may === 'may' ? '' : '(ctid, revoked)'} on tokens`,
    );
    const expected = await database.column<number>(`
      with recursive staying as (
        select id, other from tokens where not revoked
        union select tokens.id, tokens.other from tokens join staying on staying.other = tokens.id
      )
      select id from staying`);
    const [live = 0] = await database.column<number>('select count(*)::int from tokens where not revoked');

    const errors = await database.errorsOf(async () => {
      const report = await database.service({ targets: TOKENS, connection }).run();
      expect(report.targets).toMatchObject([
        { rowsDeleted: rows - expected.length, rowsRemaining: expected.length - live },
      ]);
    });

    if (may === 'may') {
      expect(errors).toEqual([]);
    }
    expect(await database.column('select id from tokens')).toEqual(expected);
  });
});

test('counts the rows that a cascade deletes, by table', async () => {
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

/** Tables of tokens, of sessions that refer to tokens, and of uses that refer to sessions; in each, most rows are dead. */
async function createChain(rows: number): Promise<void> {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean);
    create table sessions (id int primary key, revoked boolean, token_id int references tokens);
    create table uses (id int primary key, revoked boolean, session_id int references sessions);
    create index on sessions (token_id);
    create index on uses (session_id);
    insert into tokens select id, true from generate_series(1, ${rows}) as id;
    insert into sessions select id, id % 10 <> 0, id from generate_series(1, ${rows}) as id;
    insert into uses select id, id % 7 <> 0, id from generate_series(1, ${rows}) as id`);
}

test.each([
  ['written in that order', ['tokens', 'sessions', 'uses']],
  ['written the other way round', ['uses', 'sessions', 'tokens']],
])('sweeps tables that refer before those that they refer to, %s, and reports them as written', async (_, names) => {
  await createChain(3_000);
  const targets = names.map((table) => ({ table, deleteWhen: [{ revoked: true }] }));

  const errors = await database.errorsOf(async () => {
    const report = await database.service({ targets }).run();
    const counts = Object.fromEntries(report.targets.map((target) => [target.table, target]));
    expect(report.targets.map(({ table }) => table)).toEqual(names);
    // Every seventh use is alive and keeps its session and its token; every tenth session is alive and keeps its token.
    expect(counts.uses).toMatchObject({ rowsDeleted: 3_000 - 428, rowsRemaining: 0 });
    expect(counts.sessions).toMatchObject({ rowsDeleted: 2_700 - 428 + 42, rowsRemaining: 428 - 42 });
    expect(counts.tokens).toMatchObject({ rowsDeleted: 3_000 - 428 - 300 + 42, rowsRemaining: 428 + 300 - 42 });
  });

  expect(errors).toEqual([]);
});

test('revisits tables that refer to each other as long as it deletes rows', async () => {
  // As in django-oauth-toolkit: a refresh token refers to its access token, and that one to the refresh token it came from.
  await database.sql(`
    create table access_tokens (id int primary key, revoked boolean, source int);
    create table refresh_tokens (
      id int primary key, revoked boolean, access_token int references access_tokens deferrable initially deferred
    );
    alter table access_tokens add foreign key (source) references refresh_tokens deferrable initially deferred;
    create index on refresh_tokens (access_token);
    create index on access_tokens (source);
    insert into access_tokens select id, id <> 500 from generate_series(1, 1000) as id;
    insert into refresh_tokens select id, true, id from generate_series(1, 1000) as id;
    -- Families of five: the last access token has no successor.
    update access_tokens set source = id - 1 where id % 5 <> 1`);
  const targets = ['access_tokens', 'refresh_tokens'].map((table) => ({ table, deleteWhen: [{ revoked: true }] }));

  const errors = await database.errorsOf(async () => {
    const report = await database.service({ targets }).run();
    // One access token is alive, and keeps the four others of its family with their refresh tokens.
    expect(report.targets).toMatchObject([
      { table: 'access_tokens', rowsDeleted: 995, rowsRemaining: 4 },
      { table: 'refresh_tokens', rowsDeleted: 996, rowsRemaining: 4 },
    ]);
  });

  expect(errors).toEqual([]);
  expect(await database.column('select id from access_tokens')).toEqual([496, 497, 498, 499, 500]);
});

test('deletes at most as many rows as one run may, and a batch more', async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean, filler text default repeat('x', 1000));
    insert into tokens select id, id % 2 = 0 from generate_series(1, 20000) as id`);

  const report = await database.service({ targets: TOKENS, maxRows: 1_000 }).run({ concurrency: 3 });

  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'max-rows' }] });
  expect(report.rowsDeleted).toBeGreaterThanOrEqual(1_000);
  expect(report.rowsDeleted).toBeLessThan(3_000);
  expect(report.targets[0]?.rowsRemaining).toBe(10_000 - report.rowsDeleted);
  expect(await database.column('select count(*)::int from tokens')).toEqual([20_000 - report.rowsDeleted]);
});
