import { type Discovery, discover, type Found } from '../../lambda/dry-run/discovery';
import { useDatabase } from '../support/database';

const database = useDatabase();

async function discovered(login: { user?: string; password?: string } = {}): Promise<Discovery> {
  const session = database.session(database.connection(login));
  return await discover(session).finally(() => session.close());
}

const KEYCLOAK = `
  create schema sso;
  create table sso.revoked_token (id varchar(255) primary key, expire bigint not null);
  insert into sso.revoked_token
  select id, extract(epoch from now())::bigint + case when id % 4 = 0 then -1000 else 1000 end from generate_series(1, 100) as id`;

test('finds known systems in any schema, and its targets run as they are', async () => {
  await database.sql(KEYCLOAK);
  await database.sql(`
    create table session (
      id text primary key, "expiresAt" timestamptz not null, token text not null unique, "userId" text not null
    );
    create table verification (id text primary key, identifier text, value text, "expiresAt" timestamptz not null);
    create table "deviceCode" (id text primary key, "deviceCode" text, "userCode" text, "expiresAt" timestamptz);
    create table users (id int, created_at timestamptz, expires_at timestamptz);
    insert into session select id, now() + id * interval '1 minute', id, '' from generate_series(-5, 10) as id`);

  const { found } = await discovered();

  expect(found).toEqual([
    {
      sureness: 'certain',
      system: 'Better Auth',
      target: { preset: 'better-auth', tables: ['session', 'verification', 'deviceCode'] },
      remarks: [],
      tables: [
        { schema: 'public', table: 'session', rows: 16, rowsToDelete: 6, isEstimate: false, missing: [] },
        { schema: 'public', table: 'verification', rows: 0, rowsToDelete: 0, isEstimate: false, missing: [] },
        { schema: 'public', table: 'deviceCode', rows: 0, rowsToDelete: 0, isEstimate: false, missing: [] },
      ],
    },
    {
      sureness: 'likely',
      system: 'Keycloak',
      target: { preset: 'keycloak', schema: 'sso' },
      remarks: [expect.stringContaining('offline_user_session')],
      tables: [{ schema: 'sso', table: 'revoked_token', rows: 100, rowsToDelete: 25, isEstimate: false, missing: [] }],
    },
  ]);
  const run = await database.service({ targets: found.map(({ target }) => target) }).run();
  expect(run).toMatchObject({ status: 'succeeded', rowsDeleted: 31 });
});

test('finds the same system once for each schema that has it', async () => {
  await database.sql(`
    create schema tenant_a;
    create schema tenant_b;
    create table tenant_a.django_session (session_key varchar(40) primary key, session_data text, expire_date timestamptz);
    create table tenant_b.django_session (session_key varchar(40) primary key, session_data text, expire_date timestamptz)`);

  expect((await discovered()).found.map(({ target }) => target)).toEqual([
    { preset: 'django', schema: 'tenant_a' },
    { preset: 'django', schema: 'tenant_b' },
  ]);
});

test.each<[string, string, Partial<Found>]>([
  [
    'an expiry, a revocation and a hash',
    'user_tokens (id int, token_hash bytea, expires_at timestamptz, revoked_at timestamptz)',
    {
      sureness: 'likely',
      target: {
        table: 'user_tokens',
        deleteWhen: [{ expires_at: { olderThan: '30d' } }, { revoked_at: { olderThan: '30d' } }],
      },
    },
  ],
  [
    'columns in camel case',
    '"LoginCode" (id int, "codeHash" text, "expiresAt" timestamp, used boolean, "createdAt" timestamp)',
    {
      sureness: 'possible',
      target: {
        table: 'LoginCode',
        deleteWhen: [{ expiresAt: { olderThan: '30d' } }, { used: true, createdAt: { olderThan: '30d' } }],
      },
    },
  ],
  [
    'a flag alone',
    'password_resets (id int, token text, used boolean)',
    { sureness: 'possible', target: { table: 'password_resets', deleteWhen: [{ used: true }] } },
  ],
  [
    'a lifetime in the row',
    'oauth_grants (id int, token text, created_at timestamptz, expires_in int)',
    {
      sureness: 'likely',
      target: {
        table: 'oauth_grants',
        deleteWhen: [{ created_at: { olderThan: '30d', plusSeconds: 'expires_in' } }],
      },
    },
  ],
])('proposes a target for a table with %s', async (_, definition, expected) => {
  await database.sql(`create table ${definition}`);

  const { found } = await discovered();

  expect(found).toEqual([expect.objectContaining(expected)]);
  expect(found[0]?.tables[0]?.problem).toBeUndefined();
  const run = await database.service({ targets: found.map(({ target }) => target) }).run();
  expect(run.status).toBe('succeeded');
});

test('reads from the values whether numbers are seconds or milliseconds', async () => {
  await database.sql(`
    create table api_sessions (id int, session_token text, expires bigint);
    create table otp_codes (id int, code_hash text, expires_at_ts int);
    create table magic_tokens (id int, token text, expires_ms bigint);
    insert into api_sessions select id, '', (extract(epoch from now() + id * interval '1 day' + interval '1 hour') * 1000)::bigint
    from generate_series(-60, 40) as id;
    insert into otp_codes select id, '', extract(epoch from now() + id * interval '1 day' + interval '1 hour')::int
    from generate_series(-60, 40) as id;
    insert into api_sessions select 0, '', 0 from generate_series(1, 1000)`);

  const { found } = await discovered();

  const rules = Object.fromEntries(
    found.map(({ target, tables }) => [tables[0]?.table, (target as { deleteWhen: unknown }).deleteWhen]),
  );
  expect(rules).toEqual({
    api_sessions: [{ expires: { olderThan: '30d', epoch: 'ms' } }],
    otp_codes: [{ expires_at_ts: { olderThan: '30d', epoch: 's' } }],
    magic_tokens: [{ expires_ms: { olderThan: '30d', epoch: 'ms' } }],
  });
  expect(found.map(({ tables }) => [tables[0]?.table, tables[0]?.rowsToDelete]).sort()).toEqual([
    ['api_sessions', 30],
    ['magic_tokens', 0],
    ['otp_codes', 30],
  ]);
  expect(found.find(({ tables }) => tables[0]?.table === 'magic_tokens')?.remarks).toContain(
    'expires_ms is taken for milliseconds since 1970, as a guess: no value could be read',
  );
});

test('doubts an expiry that never lies in the future, which may be the time of the last use', async () => {
  await database.sql(`
    create table web_sessions (id int, token text, expiry timestamptz);
    insert into web_sessions select id, '', now() - id * interval '1 minute' from generate_series(1, 50) as id`);

  expect((await discovered()).found).toMatchObject([
    { sureness: 'possible', remarks: [expect.any(String), expect.stringContaining('time of the last use')] },
  ]);
});

test('ignores tables that only have an expiry, and relations that are not tables of an application', async () => {
  await database.sql(`
    create table orders (id int, expires_at timestamptz);
    create table coupons (id int, code text, expires_at timestamptz);
    create table licenses (id int, key text, expires_at timestamptz);
    create table subscriptions (id int, token text, expires_at timestamptz, revoked boolean);
    create table sessions_archive (id int, note text);
    create table user_tokens (id int, token text, expires_at timestamptz) partition by range (expires_at);
    create table user_tokens_old partition of user_tokens for values from (minvalue) to ('2024-01-01');
    create view access_tokens as select * from user_tokens;
    create temporary table login_tokens (id int, token text, expires_at timestamptz);
    insert into user_tokens values (1, '', '2023-01-01')`);

  const { found } = await discovered();

  expect(found.map(({ tables }) => tables)).toEqual([
    [{ schema: 'public', table: 'user_tokens', rows: 1, rowsToDelete: 1, isEstimate: false, missing: [] }],
  ]);
});

test('proposes targets that can run together if deletes cascade between their tables', async () => {
  await database.sql(`
    create table web_sessions (id int primary key, token text, expires_at timestamptz);
    create table refresh_tokens (
      id int primary key, token text, expires_at timestamptz, session_id int references web_sessions on delete cascade
    );
    create index on refresh_tokens (session_id);
    create table django_session (session_key varchar(40) primary key, session_data text, expire_date timestamptz);
    create table session_tokens (
      id int primary key, token text, expires_at timestamptz, session_key varchar(40) references django_session on delete cascade
    );
    create index on session_tokens (session_key);
    insert into web_sessions select id, '', now() - interval '40 days' from generate_series(1, 3) as id;
    insert into refresh_tokens values (1, '', now() - interval '40 days', 1), (2, '', now() + interval '1 day', 2)`);

  const { found } = await discovered();

  const expired = [{ expires_at: { olderThan: '30d' } }];
  expect(found.map(({ sureness, target }) => [sureness, target])).toEqual([
    ['certain', { preset: 'django' }],
    ['likely', { table: 'refresh_tokens', deleteWhen: expired }],
    ['likely', { table: 'web_sessions', deleteWhen: expired, unlessReferredToBy: ['refresh_tokens'] }],
    ['possible', { table: 'session_tokens', deleteWhen: expired }],
  ]);
  expect(found[3]?.remarks).toContain(
    'its rows are deleted with those of django_session (on delete cascade), so it cannot be a target besides',
  );
  const targets = found.slice(0, 3).map(({ target }) => target);
  expect(await database.service({ targets }).run()).toMatchObject({ status: 'succeeded', rowsDeleted: 3 });
  expect(await database.column('select id from web_sessions')).toEqual([2]);
});

test('lists the grants for a role without rights, and its targets all the same', async () => {
  await database.sql(KEYCLOAK);
  await database.sql(`
    create table user_tokens (id int, token text, expires_at timestamptz)`);
  await database.createRole('stranger');
  await database.sql('alter role stranger set default_transaction_read_only to on');

  const { found } = await discovered({ user: 'stranger', password: 'stranger' });

  expect(
    found.map(({ target, tables }) => [target, tables.map(({ missing, rowsToDelete }) => ({ missing, rowsToDelete }))]),
  ).toEqual([
    [
      { preset: 'keycloak', schema: 'sso' },
      [
        {
          missing: [
            'grant usage on schema sso to stranger',
            'grant delete on sso.revoked_token to stranger',
            'grant select (ctid, expire) on sso.revoked_token to stranger',
          ],
          rowsToDelete: undefined,
        },
      ],
    ],
    [
      { table: 'user_tokens', deleteWhen: [{ expires_at: { olderThan: '30d' } }] },
      [
        {
          missing: [
            'grant delete on public.user_tokens to stranger',
            'grant select (ctid, expires_at) on public.user_tokens to stranger',
          ],
          rowsToDelete: undefined,
        },
      ],
    ],
  ]);
});

test('estimates a large table from a part of it, and names the index that a run would like', async () => {
  await database.sql(`
    create table refresh_tokens (id int, token text, filler text default repeat('x', 1500), expires_at timestamptz);
    insert into refresh_tokens (id, expires_at)
    select id, now() + case when id % 1000 = 0 then -50 else 50 end * interval '1 day' from generate_series(1, 110000) as id`);

  const [found] = (await discovered()).found;

  expect(found?.tables).toEqual([
    expect.objectContaining({
      isEstimate: true,
      missing: [],
      indexAdvice: {
        verdict: 'helps',
        statements: ['create index concurrently on public.refresh_tokens (expires_at)'],
      },
    }),
  ]);
  const { rows = 0, rowsToDelete = 0 } = found?.tables[0] ?? {};
  expect(rows / 110_000).toBeCloseTo(1, 0);
  expect(rowsToDelete).toBeGreaterThan(0);
  expect(rowsToDelete).toBeLessThan(1_000);
});

test('warns of timestamps without time zone if the database has a zone', async () => {
  await database.sql(`
    create table user_tokens (id int, token text, expires_at timestamp);
    alter database ${database.name} set "TimeZone" to 'Europe/Berlin'`);

  expect((await discovered()).found).toMatchObject([
    { remarks: [expect.any(String), expect.stringContaining('the time zone of this database is Europe/Berlin')] },
  ]);
});

test('copes with names that need quotes, and changes nothing', async () => {
  await database.sql(`
    create schema "a ""b";
    create table "a ""b"."x'; drop table y; -- sessions" (id int, "to""ken" text, token text, "expires_at" timestamptz);
    insert into "a ""b"."x'; drop table y; -- sessions" values (1, '', '', '2020-01-01')`);

  const { found } = await discovered();

  expect(found).toMatchObject([{ tables: [{ schema: 'a "b', rows: 1, rowsToDelete: 1 }] }]);
  expect(await database.column('select id from "a ""b"."x\'; drop table y; -- sessions"')).toEqual([1]);
});
