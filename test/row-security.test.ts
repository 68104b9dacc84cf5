import type { Client } from 'pg';
import type { TargetsInput } from '../lambda/configuration/targets';
import { useDatabase } from './support/database';
import { readmeSql } from './support/readme';

const LOGIN = { user: 'token_cleanup', password: 'least' };
const POLICIES = readmeSql('### Optionally stricter: row-level security');

const database = useDatabase();

beforeEach(async () => {
  await database.sql(`
    create role token_owner;
    create role token_service;
    create table refresh_tokens (id int primary key, token_hash text, revoked boolean, expires_at timestamptz);
    alter table refresh_tokens owner to token_owner;
    grant all on refresh_tokens to token_service;
    insert into refresh_tokens
    select id, 'hash-' || id, id % 3 = 0, now() + case when id % 3 = 1 then '-1 day' else '1 day' end::interval
    from generate_series(1, 3000) as id;
    insert into refresh_tokens values
      (0, 'neither', null, null), (-1, 'revoked for all that is known', null, now() + interval '1 day');
    create table alive as
    select * from refresh_tokens where revoked is not true and (expires_at >= now() or expires_at is null);
    create table dead as table refresh_tokens except table alive`);
  await database.sql(readmeSql('## The database role', LOGIN.password));
  await database.sql(POLICIES);
});
afterEach(async () => {
  await database.disconnect();
  await database.sql(`
    drop owned by token_cleanup, token_service, token_owner;
    drop role token_cleanup, token_service, token_owner`);
  await database.disconnect();
});

async function as(role: string): Promise<Client> {
  const client = await database.connect();
  await client.query(`set role ${role}`);
  return client;
}

function run(targets?: TargetsInput) {
  return database.service({ connection: database.connection(LOGIN), ...(targets && { targets }) }).run();
}

/** All that is alive, and that nothing else is left. */
async function expectOnlyAlive(): Promise<void> {
  expect(await database.sql('table alive except table refresh_tokens')).toEqual([]);
  expect(await database.sql('table refresh_tokens except table alive')).toEqual([]);
}

test('keeps every live row from a plain DELETE of everything by the role', async () => {
  const role = await as('token_cleanup');
  const { rowCount } = await role.query('delete from refresh_tokens');

  expect(rowCount).toBe(2_000);
  await expectOnlyAlive();
});

test('lets the job sweep all that is dead', async () => {
  expect(await run()).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 2_000,
    targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
  });
  await expectOnlyAlive();
});

test('keeps every live row from targets that would match them', async () => {
  const report = await run([
    {
      table: 'refresh_tokens',
      deleteWhen: [{ revoked: false }, { revoked: true }, { expires_at: { olderThan: '0s' } }],
    },
  ]);

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2_000 });
  await expectOnlyAlive();
});

test('keeps a row whose expiry is extended while the DELETE of everything waits for it', async () => {
  const service = await database.connect();
  await service.query(`begin; update refresh_tokens set expires_at = now() + interval '1 day' where id = 1`);
  const role = await as('token_cleanup');
  const deleted = role.query('delete from refresh_tokens');
  await database.until(
    `select count(*) > 0 from pg_stat_activity where query = 'delete from refresh_tokens' and wait_event_type = 'Lock'`,
  );
  await service.query('commit');

  expect((await deleted).rowCount).toBe(1_999);
  await database.sql(`insert into alive select * from refresh_tokens where id = 1 and expires_at > now()`);
  await expectOnlyAlive();
});

test('is not widened by a policy that shows everything to everybody', async () => {
  await database.sql('create policy all_for_all on refresh_tokens using (true)');
  const role = await as('token_cleanup');
  await role.query('delete from refresh_tokens');

  await expectOnlyAlive();
});

test('does not keep the sweep from going range by range', async () => {
  const role = await as('token_cleanup');
  const { rows } = await role.query(`
    explain (format json) delete from only refresh_tokens
    where coalesce((revoked = true or expires_at < now()), false) and ctid >= '(1,0)' and ctid < '(2,0)'`);

  expect(JSON.stringify(rows)).toContain('"Tid Range Scan"');
});

test.each(['token_service', 'token_owner'])('lets the service go on as %s', async (name) => {
  const service = await as(name);
  const { rowCount } = await service.query('update refresh_tokens set expires_at = now() returning token_hash');
  await service.query(`insert into refresh_tokens values (-2, 'new', false, now())`);

  expect(rowCount).toBe(3_002);
});

test('binds the owner of the table too if row-level security is forced, until the policy of the service applies to it', async () => {
  await database.sql('alter table refresh_tokens force row level security');
  const owner = await as('token_owner');
  expect((await owner.query('select from refresh_tokens')).rowCount).toBe(0);

  await database.sql('create policy token_owner on refresh_tokens to token_owner using (true)');
  expect((await owner.query('select from refresh_tokens')).rowCount).toBe(3_002);
});

test('refuses a table of which no policy shows the role a row, rather than finding nothing dead', async () => {
  await database.sql('drop policy token_cleanup on refresh_tokens');
  const policy = 'create policy token_cleanup on public.refresh_tokens to token_cleanup using (true)';

  expect(await run()).toMatchObject({
    status: 'failed',
    error: `refresh_tokens: a privilege is missing: ${policy}`,
  });
  await database.sql(policy);
  expect(await run()).toMatchObject({ status: 'succeeded', rowsDeleted: 2_000 });
});

describe('the SQL of the README, if it fails', () => {
  beforeEach(() =>
    database.sql(`
      alter table refresh_tokens disable row level security;
      drop policy token_service on refresh_tokens;
      drop policy token_cleanup on refresh_tokens;
      drop policy token_cleanup_dead_only on refresh_tokens`),
  );
  afterEach(() => database.sql('drop role if exists token_reporter'));

  async function expectNothingChanged(): Promise<void> {
    expect(await database.sql('select from pg_policy')).toEqual([]);
    const service = await as('token_service');
    expect((await service.query('select from refresh_tokens')).rowCount).toBe(3_002);
  }

  test('changes nothing for a role that does not exist', async () => {
    const sql = POLICIES.replaceAll('to token_service', 'to token_servce');
    await expect(database.sql(sql)).rejects.toThrow('role "token_servce" does not exist');
    await expectNothingChanged();
  });

  test.each([
    ['a role', 'create role token_reporter; grant select (id) on refresh_tokens to token_reporter', 'token_reporter'],
    ['everybody', 'grant select on refresh_tokens to public', 'public'],
  ])('changes nothing if %s that may use the table was forgotten', async (_, sql, name) => {
    await database.sql(sql);
    await expect(database.sql(POLICIES)).rejects.toThrow(`would see no row of the table any more: ${name}`);
    await expectNothingChanged();
    await database.sql(`revoke all on refresh_tokens from ${name}`);
    await database.sql(POLICIES);
  });
});

test('warns in a dry run that rows are hidden, and does not count only the visible ones', async () => {
  await database.sql('analyze refresh_tokens');
  const service = database.service({ connection: database.connection(LOGIN) });

  expect(await service.run({ dryRun: true })).toMatchObject({
    status: 'succeeded',
    warnings: [
      'refresh_tokens: row security hides rows from this role: the counts cover only the rows that it sees, and a run deletes no others',
    ],
    targets: [{ rowsRemaining: 2_000, diagnosis: { rowsKept: 1_002, rowsKeptEstimated: true } }],
  });
  expect(await service.run()).not.toHaveProperty('warnings');
});
