import type { TargetsInput } from '../../../lambda/configuration/targets';
import type { ConnectionOptions } from '../../../lambda/database/session';
import { statementsOf } from '../../../lambda/engine/preflight/finding';
import { REFRESH_TOKENS, useDatabase } from '../../support/database';

const database = useDatabase();

const PARTITIONED = `
  create table refresh_tokens (id int, revoked boolean, expires_at timestamptz) partition by list (id);
  create table tokens_1 partition of refresh_tokens for values in (1) partition by list (id);
  create table tokens_1a partition of tokens_1 for values in (1);
  create table tokens_2 partition of refresh_tokens for values in (2);
  insert into refresh_tokens values (1, true), (2, true), (1, false), (2, false);
  create function skip() returns trigger language plpgsql as 'begin return null; end'`;

let connection: ConnectionOptions;

/** Runs the SQL, and makes a role that may delete from the tables. */
async function create(sql: string, privileges = 'delete, select on all tables in schema public'): Promise<void> {
  await database.sql(sql);
  connection = await database.createRole('cleaner', privileges);
}

function run(targets: TargetsInput = REFRESH_TOKENS, dryRun = false) {
  return database.service({ connection, targets }).run({ dryRun });
}

async function errorOf(table = 'refresh_tokens', dryRun = false): Promise<string | undefined> {
  const report = await run([{ table, deleteWhen: [{ revoked: true }] }], dryRun);
  expect(report.rowsDeleted).toBe(0);
  return report.targets[0]?.error;
}

const BEHIND = 'too, since rows are deleted from each partition by its own name';

test.each([
  [
    'a statement trigger',
    'create trigger guard before delete on refresh_tokens for each statement execute function skip()',
    'trigger "guard" of "public"."refresh_tokens"',
    (leaf: string) => `create trigger other before delete on ${leaf} for each statement execute function skip()`,
  ],
  [
    'a rule',
    'create rule guard as on delete to refresh_tokens do instead nothing',
    'rule "guard" of "public"."refresh_tokens"',
    (leaf: string) => `create rule guard as on delete to ${leaf} where not revoked do instead nothing`,
  ],
  [
    'row security',
    'alter table refresh_tokens enable row level security; create policy guard on refresh_tokens using (revoked)',
    'row security of "public"."refresh_tokens"',
    (leaf: string) => `create policy guard on ${leaf} using (revoked); alter table ${leaf} enable row level security`,
  ],
])('refuses to bypass %s of a partitioned table, until each partition has its own', async (_, guard, name, own) => {
  await create(`${PARTITIONED}; ${guard}`);

  const refusal = `${name} must be on "public"."tokens_1a" and 1 more of its partitions ${BEHIND}`;
  expect(await errorOf()).toBe(refusal);
  expect(await errorOf('refresh_tokens', true)).toBe(refusal);
  // Nor is a partition that is a target of its own a way around it.
  expect(await errorOf('tokens_1')).toBe(`${name} must be on "public"."tokens_1a" ${BEHIND}`);
  expect(await errorOf('tokens_2')).toBe(`${name} must be on "public"."tokens_2" ${BEHIND}`);

  await database.sql(own('tokens_1a'));
  expect(await errorOf()).toBe(`${name} must be on "public"."tokens_2" ${BEHIND}`);
  await database.sql(own('tokens_2'));
  expect(await run()).toMatchObject({ status: 'succeeded', rowsDeleted: 2 });
});

test('minds the guards of a partition that is partitioned in turn', async () => {
  await create(`${PARTITIONED};
    create trigger guard after delete on tokens_1 for each statement execute function skip()`);

  expect(await errorOf()).toBe(`trigger "guard" of "public"."tokens_1" must be on "public"."tokens_1a" ${BEHIND}`);
});

test('ignores a guard that does not fire, that partitions inherit, or that does not apply to the role', async () => {
  await create(`${PARTITIONED};
    create trigger off before delete on refresh_tokens for each statement execute function skip();
    alter table refresh_tokens disable trigger off;
    create trigger inserts before insert on refresh_tokens for each statement execute function skip();
    create function go() returns trigger language plpgsql as 'begin return old; end';
    create trigger rows after delete on refresh_tokens for each row execute function go();
    alter table refresh_tokens enable row level security`);
  await database.sql('alter role cleaner bypassrls');

  expect(await run()).toMatchObject({ status: 'succeeded', rowsDeleted: 2 });
});

test('refuses to bypass row security of a table from which another inherits', async () => {
  await create(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
    create table old_tokens () inherits (refresh_tokens);
    create policy guard on refresh_tokens using (revoked);
    alter table refresh_tokens enable row level security`);

  expect(await errorOf()).toBe(`row security of "public"."refresh_tokens" must be on "public"."old_tokens" ${BEHIND}`);
  expect(await errorOf('old_tokens')).toBeUndefined();
});

test.each([
  ['for all tables', 'for all tables', ''],
  ['by its partitioned table', 'for table refresh_tokens', ''],
  ['by its partitioned table, as that one', 'for table refresh_tokens', 'with (publish_via_partition_root)'],
])('says how to give a table that is published %s a replica identity', async (_, tables, options) => {
  await create(`${PARTITIONED};
    create publication changes ${tables} ${options};
    alter table tokens_2 alter id set not null, alter revoked set not null;
    create unique index on tokens_2 (id) where revoked;
    create unique index one on tokens_2 (id, revoked)`);
  const statements = [
    'alter table public.tokens_1a replica identity full',
    'alter table public.tokens_2 replica identity using index one',
  ];

  const refused = await run();
  const dry = await run(REFRESH_TOKENS, true);
  expect(refused).toMatchObject({ status: 'failed', rowsDeleted: 0 });
  expect(refused.targets[0]?.error?.split('\n')).toEqual(
    ['public.tokens_1a', 'public.tokens_2'].map(
      (table, index) =>
        `${table} is published without a replica identity, so that the server refuses deletes: ${statements[index]}`,
    ),
  );
  expect(dry.targets[0]).toMatchObject({ rowsRemaining: 2 });
  expect(statementsOf(dry.targets[0]?.diagnosis?.findings ?? [])).toEqual(statements);
  await database.sql(statements.join(';'));
  expect(await run()).toMatchObject({ status: 'succeeded', rowsDeleted: 2 });
});

test('leaves out temporary tables of other sessions, as a DELETE does', async () => {
  await create(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens values (1, true)`);
  const other = await database.connect();
  await other.query('create temporary table mine () inherits (refresh_tokens); insert into mine values (2, true)');

  expect(await run()).toMatchObject({ status: 'succeeded', rowsDeleted: 1, targets: [{ rowsRemaining: 0 }] });
  expect((await other.query('table refresh_tokens')).rows).toEqual([{ id: 2, revoked: true, expires_at: null }]);
});

test('shows no name that a terminal would obey, and statements that work all the same', async () => {
  const name = 'a\u001b]0;x\u0007"\\\u202e\n';
  const quoted = `"${name.replace('"', '""')}"`;
  await create(
    `create table ${quoted} (revoked boolean); create table devices ("d\u001b" boolean)`,
    `select on ${quoted}`,
  );
  const targets = [{ table: name, deleteWhen: [{ revoked: true }] }];

  const dry = await run(targets, true);
  const [statement = ''] = statementsOf(dry.targets[0]?.diagnosis?.findings ?? []);
  expect(statement).toBe(String.raw`grant delete on public.U&"a\001b]0;x\0007""\\\202e\000a" to cleaner`);
  expect(dry.warnings?.[0]).not.toMatch(/[\p{Cc}\u202e]/u);
  await database.sql(statement);
  expect(await run(targets)).toMatchObject({ status: 'succeeded' });
});
