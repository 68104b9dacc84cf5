import type { TargetsInput } from '../../../lambda/configuration/targets';
import { statementsOf } from '../../../lambda/engine/preflight/finding';
import { REFRESH_TOKENS, useDatabase } from '../../support/database';

const database = useDatabase();

async function errorOf(targets: TargetsInput = REFRESH_TOKENS): Promise<string | undefined> {
  const report = await database.service({ targets }).run();
  expect(report.rowsDeleted).toBe(0);
  return report.targets[0]?.error;
}

test('reports a table that does not exist, and suggests a similar one', async () => {
  expect(await errorOf()).toBe('table "public"."refresh_tokens" does not exist');

  await database.sql(
    'create schema auth; create table auth.refresh_tokens (id int); create table "RefreshToken" (id int)',
  );
  expect(await errorOf()).toBe(
    'table "public"."refresh_tokens" does not exist, there is "public"."RefreshToken", "auth"."refresh_tokens"',
  );
});

test('explains that a schema in the name of a table is a separate key', async () => {
  await database.sql('create schema auth; create table auth.sessions (revoked boolean)');

  expect(await errorOf([{ table: 'auth.sessions', deleteWhen: [{ revoked: true }] }])).toBe(
    'table "public"."auth.sessions" does not exist; the schema is a key of its own: { "schema": "auth", "table": "sessions" }',
  );
});

test('names every column that is missing, with one that may be meant, or of a type that its test cannot use', async () => {
  await database.sql(
    `create type status as enum ('active', 'used');
     create table refresh_tokens (
       id int, "isRevoked" boolean, revoked int, "expiresAt" timestamp, used text, status status, ends bigint
     )`,
  );

  expect(
    await errorOf([
      {
        table: 'refresh_tokens',
        deleteWhen: [
          { revoked: true },
          { is_revoked: true, used: { olderThan: '1d' } },
          { expires_at: { olderThan: '0s' }, revokde: true, expiry: null },
          { status: true, ends: { olderThan: '0s' } },
        ],
      },
    ]),
  ).toBe(
    [
      'column "revoked" of "public"."refresh_tokens" must be of type boolean, is integer',
      'column "is_revoked" of "public"."refresh_tokens" does not exist, there is "isRevoked"',
      'column "used" of "public"."refresh_tokens" must be of type timestamp with time zone or timestamp without time zone or date, is text',
      'column "expires_at" of "public"."refresh_tokens" does not exist, there is "expiresAt"',
      'column "revokde" of "public"."refresh_tokens" does not exist (did you mean revoked?)',
      'column "expiry" of "public"."refresh_tokens" does not exist',
      'column "status" of "public"."refresh_tokens" must be of type boolean, is public.status',
      'column "ends" of "public"."refresh_tokens" is of type bigint: give its unit with "epoch": "s" or "epoch": "ms"',
    ].join('\n'),
  );
});

test.each([
  ['a view', 'create view refresh_tokens as select true as revoked, now() as expires_at', 'must be a table, is a view'],
  [
    'a materialized view',
    'create materialized view refresh_tokens as select true as revoked, now() as expires_at',
    'must be a table, is a materialized view',
  ],
  [
    'a foreign table',
    `create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere;
     create foreign table refresh_tokens (revoked boolean, expires_at timestamptz) server nowhere`,
    'must be a table, is a foreign table',
  ],
])('refuses %s', async (_, sql, reason) => {
  await database.sql(sql);

  expect(await errorOf()).toBe(`"public"."refresh_tokens" ${reason}`);
});

test('refuses a table of which a partition is a foreign table, and deletes nothing from the others', async () => {
  await database.sql(`
    create table refresh_tokens (revoked boolean, expires_at timestamptz) partition by list (revoked);
    create table revoked_tokens partition of refresh_tokens for values in (true);
    create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere;
    create foreign table live_tokens partition of refresh_tokens for values in (false) server nowhere;
    insert into revoked_tokens values (true, null)`);

  expect(await errorOf()).toBe('"public"."live_tokens" must be a table, is a foreign table');
});

test('lists the missing privileges, as the statements that grant them', async () => {
  await database.sql(`
    create schema auth;
    create table auth.refresh_tokens (id int, revoked boolean, "expiresAt" timestamptz) partition by list (revoked);
    create table auth.tokens_dead partition of auth.refresh_tokens for values in (true);
    create table auth.tokens_live partition of auth.refresh_tokens default`);
  const connection = await database.createRole('bare', 'select (ctid) on auth.tokens_dead');
  const targets = [
    { schema: 'auth', table: 'refresh_tokens', deleteWhen: [{ revoked: true, expiresAt: { olderThan: '0s' } }] },
  ];

  const report = await database.service({ connection, targets }).run();
  const dryReport = await database.service({ connection, targets }).run({ dryRun: true });
  const statements = statementsOf(dryReport.targets[0]?.diagnosis?.findings ?? []);
  await database.sql(statements.join(';'));
  const healed = await database.service({ connection, targets }).run();

  const grants = [
    'grant delete on auth.tokens_dead to bare',
    'grant delete on auth.tokens_live to bare',
    'grant select (ctid, revoked, "expiresAt") on auth.tokens_live to bare',
    'grant select (revoked, "expiresAt") on auth.tokens_dead to bare',
    'grant usage on schema auth to bare',
  ];
  const messages = grants.map((grant) => `a privilege is missing: ${grant}`);
  expect(report.targets[0]?.error?.split('\n').sort()).toEqual(messages);
  expect(report.targets[0]).not.toHaveProperty('diagnosis');
  expect(dryReport.targets[0]?.error?.split('\n').sort()).toEqual(messages);
  expect([...statements].sort()).toEqual(grants);
  expect(healed).toMatchObject({ status: 'succeeded' });
});
