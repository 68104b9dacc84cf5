import { Client } from 'pg';
import { invoke } from '../bin/local/invocation';
import { SecretsEndpoint } from '../bin/local/secrets-endpoint';
import { useDatabase } from './support/database';
import { readmeSql } from './support/readme';

const ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:tokens';
const LOGIN = { user: 'token_cleanup', password: 'least' };

const database = useDatabase();

beforeEach(async () => {
  await database.sql(`
    create table refresh_tokens (
      id int primary key, user_id int, token_hash text, revoked boolean, expires_at timestamptz, created_at timestamptz
    );
    insert into refresh_tokens
    select id, id, 'hash-' || id, id % 3 = 0, now() + case when id % 3 = 1 then '-1 day' else '1 day' end::interval, now()
    from generate_series(1, 3000) as id;
    create table alive as select * from refresh_tokens where not revoked and expires_at > now();
    create table users (id int, email text)`);
  await database.sql(readmeSql('## The database role', LOGIN.password));
});
afterEach(async () => {
  // A role belongs to the server, not to the database of a test.
  await database.sql('drop owned by token_cleanup; drop role token_cleanup');
  await database.disconnect();
});

test('does the whole job under the role of the README', async () => {
  const endpoint = await SecretsEndpoint.start();
  endpoint.put(ARN, database.secret(LOGIN));

  const { report } = await invoke({
    environment: { ...endpoint.environment, DB_SECRET_ARN: ARN, DB_SSL_MODE: 'disable', CLEANUP_CONCURRENCY: '2' },
    event: { maxLoad: 1 },
  }).finally(() => endpoint.stop());

  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 2_000,
    targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
  });
  expect(report).not.toHaveProperty('warnings');
  expect(await database.sql('select * from refresh_tokens order by id')).toEqual(
    await database.sql('select * from alive order by id'),
  );
});

test('ends a run by the SQL of the README, though it would outlast the loss of its connections', async () => {
  const migration = await database.connect();
  await migration.query('begin; lock table refresh_tokens');
  const run = database.service({ connection: database.connection(LOGIN) }).run();
  await database.untilSweepWaits();

  await database.sql(readmeSql('## Stopping it at once'));

  expect(await run).toMatchObject({
    status: 'failed',
    rowsDeleted: 0,
    error: expect.stringContaining('the role may not log in, or does not exist (SQLSTATE 28000)'),
  });
  await database.untilGone();
  await migration.query('rollback');
});

test('gives the role of the README no other right', async () => {
  await database.sql('analyze refresh_tokens');
  const role = new Client(database.login(LOGIN));
  await role.connect();
  const answers: Record<string, string> = {};
  for (const [what, sql] of FORBIDDEN) {
    answers[what] = await role.query(sql).then(
      () => 'done',
      ({ code }) => code,
    );
  }
  // Everybody may read this view, which shows values of the columns that the reader may read.
  const { rows: statistics } = await role.query(`select distinct attname from pg_stats where schemaname = 'public'`);
  const { rowCount } = await role.query('delete from refresh_tokens where revoked');
  await role.end();

  expect(answers).toEqual(Object.fromEntries(FORBIDDEN.map(([what]) => [what, '42501'])));
  expect(statistics.map(({ attname }) => attname).sort()).toEqual(['expires_at', 'revoked']);
  // It was that role, and it could do what it is for.
  expect(rowCount).toBe(1_000);
});

const FORBIDDEN: readonly (readonly [string, string])[] = [
  ['read a token hash', 'select token_hash from refresh_tokens'],
  ['read all columns', 'select * from refresh_tokens'],
  ['read whole rows', 'select refresh_tokens from refresh_tokens'],
  ['read whose token it is', 'select user_id from refresh_tokens'],
  ['read the hashes that it deletes', 'delete from refresh_tokens where revoked returning token_hash'],
  ['find a row by its hash', `select ctid from refresh_tokens where token_hash = 'hash-1'`],
  ['delete a row by its hash', `delete from refresh_tokens where token_hash = 'hash-1'`],
  ['sort rows by their hashes', 'select ctid from refresh_tokens order by token_hash'],
  ['copy the table out', 'copy refresh_tokens to stdout'],
  ['read what the planner knows of the hashes', 'select from pg_statistic'],
  ['update a row', 'update refresh_tokens set revoked = false'],
  ['lock rows', 'select ctid from refresh_tokens for update'],
  ['insert a row', 'insert into refresh_tokens (id) values (0)'],
  ['truncate the table', 'truncate refresh_tokens'],
  ['alter the table', 'alter table refresh_tokens add column other int'],
  ['drop the table', 'drop table refresh_tokens'],
  ['put a trigger on the table', 'create trigger t after delete on refresh_tokens execute function now()'],
  ['make a table', 'create table refresh_tokens_copy (id int)'],
  ['read another table', 'select * from users'],
  ['delete from another table', 'delete from users'],
  ['read the passwords of roles', 'select * from pg_authid'],
  ['make a role', 'create role other'],
];
