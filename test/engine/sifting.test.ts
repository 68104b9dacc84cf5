import type { TargetsInput } from '../../lambda/configuration/targets';
import type { ConnectionOptions } from '../../lambda/database/session';
import { BlockRange } from '../../lambda/engine/pieces';
import { sifting } from '../../lambda/engine/sifting';
import { useDatabase } from '../support/database';

// Autovacuum takes transaction ids.
const database = useDatabase({ autovacuum: 'off' });

const TOKENS: TargetsInput = [{ table: 'tokens', deleteWhen: [{ revoked: true }] }];

/** Dead rows, every second one referred to by a live row of a table that the role may not read. */
const everySecond = (rows: number) => `
  create table tokens (id int primary key, revoked boolean);
  create table devices (id int, token_id int constraint device_token references tokens);
  create index on devices (token_id);
  insert into tokens select id, true from generate_series(1, ${rows}) as id;
  insert into devices select id, id from generate_series(2, ${rows}, 2) as id`;

const DEVICE_TOKEN = 'constraint "device_token" of table "devices" (SQLSTATE 23503)';

let purger: ConnectionOptions;

/** Runs the SQL, and makes a role that may do no more than delete tokens. */
async function createTokens(sql: string): Promise<void> {
  await database.sql(sql);
  purger = await database.createRole('purger', 'delete, select on tokens');
}

test.each([
  ['at once', 1, ''],
  ['at the commit', 2, 'alter table devices alter constraint device_token deferrable initially deferred'],
])('deletes every row that no row refers to in one run, by a key that is checked %s', async (_, concurrency, sql) => {
  const rows = 20_000;
  await createTokens(`${everySecond(rows)}; ${sql}`);

  const errors = await database.errorsOf(async () => {
    const report = await database.service({ targets: TOKENS, connection: purger }).run({ concurrency });
    expect(report.targets).toMatchObject([
      {
        status: 'partial',
        stopReason: 'blocked',
        rowsDeleted: rows / 2,
        rowsRemaining: rows / 2,
        blockedBy: [{ reason: DEVICE_TOKEN, rows: rows / 2 }],
      },
    ]);
  });

  expect(errors.length).toBeLessThanOrEqual(concurrency); // the first ranges show that some rows are refused
  expect(await database.column('select count(*)::int from tokens where id % 2 = 0')).toEqual([rows / 2]);
  expect(await database.column('select count(*)::int from tokens')).toEqual([rows / 2]);
});

test('takes none of its own transaction ids for those of another session', async () => {
  await createTokens(everySecond(10_000));

  const report = await database.service({ targets: TOKENS, connection: purger, maxLoad: undefined }).run();

  expect(report.targets[0]?.pace).toMatchObject({ reason: 'no other session was active' });
});

test('finds single rows that are referred to among many, and rows of a list', async () => {
  await createTokens(`
    create table tokens (id int primary key, revoked boolean, filler text default repeat('x', 500));
    create table devices (token_id int constraint device_token references tokens);
    create index on devices (token_id);
    insert into tokens select id, id % 3 <> 0 from generate_series(1, 20000) as id;
    insert into devices select id from unnest('{1, 2, 9999, 9998, 20000}'::int[]) as id`);

  const scan = await database.service({ targets: TOKENS, connection: purger }).run();
  expect(scan.targets).toMatchObject([{ rowsRemaining: 4, blockedBy: [{ reason: DEVICE_TOKEN, rows: 4 }] }]);
  expect(await database.column('select id from tokens where revoked')).toEqual([1, 2, 20_000, 9_998]);

  await database.sql(`
    update tokens set revoked = true where id between 9000 and 9030;
    create index on tokens (id) where revoked;
    create index on tokens (revoked);
    analyze tokens`);
  const list = await database.service({ targets: TOKENS, connection: purger }).run();
  expect(list.targets).toMatchObject([{ rowsDeleted: 11, rowsRemaining: 4 }]);
  expect(await database.column('select id from tokens where revoked')).toEqual([1, 2, 20_000, 9_998]);
});

test('deletes all but the rows that a trigger refuses, by whatever error, with few errors in the log', async () => {
  await createTokens(`
    create table tokens (id int primary key, revoked boolean);
    insert into tokens select id, true from generate_series(1, 5000) as id;
    create function refuse() returns trigger language plpgsql as $$
      begin
        if old.id % 2 = 0 then
          raise exception 'token % must stay', old.id using errcode = case when old.id % 4 = 0 then 'TK001' else 'P0001' end;
        end if;
        return old;
      end $$;
    create trigger refuse before delete on tokens for each row execute function refuse()`);

  const errors = await database.errorsOf(async () => {
    const report = await database.service({ targets: TOKENS, connection: purger }).run();
    expect(report.targets).toMatchObject([{ rowsDeleted: 2_500, rowsRemaining: 2_500 }]);
    expect(report.targets[0]?.blockedBy?.map(({ rows }) => rows)).toEqual([1_250, 1_250]);
    expect(JSON.stringify(report)).not.toContain('must stay');
  });

  expect(errors).toHaveLength(1);
  expect(await database.column('select count(*)::int from tokens where id % 2 = 0')).toEqual([2_500]);
});

test.each([`to"ke'n\\s $1 $sift$`, 'sifting'])(
  'takes names, values and columns for what they are, in the table %s',
  async (table) => {
    const quoted = `"${table.replaceAll('"', '""')}"`;
    await createTokens(`
    create table tokens ();
    create table ${quoted} (
      "place" int primary key, "size" text, "sifting" text, "given" text[], "places" timestamptz default '2020-01-01', "last" bigint default 1000000000
    );
    create table devices (token int references ${quoted});
    create index on devices (token);
    insert into ${quoted} select id, case id % 3 when 0 then 'a"''\\,{}' when 1 then '$1' else 'live' end, '' from generate_series(1, 600) as id;
    insert into devices select * from generate_series(3, 600, 12)`);
    await database.sql(`grant select, delete on ${quoted} to purger`);
    const targets: TargetsInput = [
      {
        table,
        deleteWhen: [
          { size: { in: [`a"'\\,{}`, '$1'] }, places: { olderThan: '1d' }, last: { olderThan: '1d', epoch: 's' } },
        ],
      },
    ];

    const report = await database.service({ targets, connection: purger }).run();

    expect(report.targets).toMatchObject([{ rowsDeleted: 350, rowsRemaining: 50 }]);
    expect(await database.column(`select count(*)::int from ${quoted} where size = 'live'`)).toEqual([200]);
  },
);

test('undoes all groups if a row that a rule refers to came back to life meanwhile, and tries again', async () => {
  await createTokens(`
    create table sessions (id int primary key, ended boolean);
    create table tokens (id int primary key, session_id int references sessions);
    create table devices (token_id int constraint device_token references tokens);
    create index on devices (token_id);
    create index on tokens (session_id);
    insert into sessions select id, id % 2 = 0 from generate_series(1, 400) as id;
    insert into tokens select id, id % 400 + 1 from generate_series(1, 4000) as id;
    insert into devices select id from generate_series(1, 4000, 3) as id;
    create sequence calls;
    create function revive() returns trigger language plpgsql security definer as $$
      begin
        if old.id = 3005 and nextval('calls') < 6 then
          update sessions set ended = false where id = old.session_id;
        end if;
        return old;
      end $$;
    create trigger revive before delete on tokens for each row execute function revive()`);
  await database.sql('grant select on sessions to purger');
  const targets: TargetsInput = [{ table: 'tokens', deleteWhen: [{ session_id: { refersTo: { ended: true } } }] }];
  const staying = await database.column(`
    select tokens.id from tokens join sessions on sessions.id = session_id
    where not ended or tokens.id in (select token_id from devices)`);

  const report = await database.service({ targets, connection: purger }).run();

  const kept = staying.length - 2_000;
  expect(report.targets).toMatchObject([{ rowsRemaining: kept, blockedBy: [{ reason: DEVICE_TOKEN, rows: kept }] }]);
  expect(database.logs.map(({ message }) => message)).toContain(
    'a change by another session undid a statement, trying again',
  );
  expect(await database.column('select id from tokens')).toEqual(staying);
});

test('is one statement to pg_stat_statements, whatever the range and the values', () => {
  const sift = (cutoff: string, from: number) =>
    sifting(
      {
        condition: { text: '"at" < $1::pg_catalog.timestamptz', values: [cutoff], times: [], others: [] },
        protections: [],
        cascades: [],
      },
      new BlockRange({ oid: 1, quotedName: '"public"."tokens"' }, from, from + 1),
      { size: from, backwards: false, ms: 10 },
    );
  const [one, other] = [sift('2027-01-30T03:00:00Z', 5), sift('2027-01-31T03:00:00Z', 6)];

  const withoutLiterals = (sql: string) => sql.replace(/(set_config\('token_cleanup.given', )e?'[^']*'/, '$1?');
  expect(one).not.toBe(other);
  expect(withoutLiterals(one)).toBe(withoutLiterals(other));
});

test('undoes some hundred statements at most if the role may not use PL/pgSQL', async () => {
  await createTokens(everySecond(60_000));
  await database.sql('revoke usage on language plpgsql from public');

  const errors = await database.errorsOf(async () => {
    const report = await database.service({ targets: TOKENS, connection: purger }).run();
    expect(report.targets[0]?.rowsDeleted).toBeGreaterThan(0);
    expect((report.targets[0]?.rowsRemaining ?? 0) + report.rowsDeleted).toBe(60_000);
  });

  expect(errors.length).toBeLessThan(1_100);
  expect(await database.column('select count(*)::int from tokens where id % 2 = 0')).toEqual([30_000]);
});

test('deletes row by row if the check of a key reads a large table for each', async () => {
  await createTokens(`
    create table tokens (id int primary key, revoked boolean);
    create table devices (token_id int constraint device_token references tokens, filler text default repeat('x', 100));
    insert into tokens select id, id <= 40 from generate_series(1, 50000) as id;
    insert into devices select greatest(id, 39) from generate_series(1, 50000) as id`);
  await database.sql('set max_parallel_workers_per_gather = 0; analyze');

  const report = await database.service({ targets: TOKENS, connection: purger }).run();

  expect(report.targets).toMatchObject([{ rowsDeleted: 38, blockedBy: [{ reason: DEVICE_TOKEN, rows: 2 }] }]);
  expect(await database.column('select id from tokens where revoked')).toEqual([39, 40]);
});
