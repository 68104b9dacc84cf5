import { type Invocation, invoke } from '../bin/local/invocation';
import { useDatabase } from './support/database';
import { Rds } from './support/rds';
import type { Keys } from './support/rds-token';

const database = useDatabase();
const USER = 'token_cleanup';
const KEYS: Keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'right', sessionToken: 'session' };

let rds: Rds;
beforeAll(async () => {
  rds = await Rds.start(database.server, { user: USER, region: 'eu-central-1', keys: KEYS });
});
afterAll(() => rds.stop());

beforeEach(async () => {
  rds.passwords.length = 0;
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz, filler text default repeat('x', 900));
    insert into refresh_tokens select id, id % 2 = 0, now() + interval '1 day' from generate_series(1, 1000) as id;
    grant delete, select (ctid, revoked, expires_at) on refresh_tokens to ${USER}`);
});
/** Runs the function in a process of its own, without a secret and without an endpoint to ask for one. */
function run({ environment, ...invocation }: Partial<Invocation> = {}) {
  return invoke({
    ...invocation,
    environment: { ...rds.environment(database.name), ...environment },
  });
}

test('purges with a token on each of its connections, over TLS and without a secret', async () => {
  const { report } = await run({ environment: { CLEANUP_CONCURRENCY: '2' } });

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 500, targets: [{ rowsRemaining: 0 }] });
  expect(report.warnings).toBeUndefined();
  expect(rds.passwords).toHaveLength(2);
  expect(await database.column('select count(*)::int from refresh_tokens where not revoked')).toEqual([500]);
});

test('connects with a further token when the database fails over in the middle of a run', async () => {
  await database.sql(`insert into refresh_tokens select id, true, null from generate_series(1, 50000) as id`);
  let failedOver = false;
  const { report } = await run({
    onLog: ({ message }) => {
      if (message === 'progress' && !failedOver) {
        failedOver = true;
        rds.failOver();
      }
    },
  });

  expect(report).toMatchObject({ status: 'succeeded', targets: [{ rowsRemaining: 0 }] });
  expect(rds.passwords).toHaveLength(2);
});

test.each([
  ['of a role that may not connect', { AWS_ACCESS_KEY_ID: 'AKIDOTHER' }],
  ['for a user that was not granted rds_iam', { DB_USER: 'postgres' }],
])('fails at the first refusal of a token %s, and says what to look at', async (_, environment) => {
  const { report, logs } = await run({ environment });

  expect(report).toMatchObject({
    status: 'failed',
    rowsDeleted: 0,
    error: expect.stringMatching(
      /^the server refused the function's token: the role's policy must allow rds-db:connect/,
    ),
  });
  expect(rds.passwords).toHaveLength(1);
  expect(logs.filter(({ message }) => message?.includes('trying again'))).toEqual([]);
  expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([1000]);
});

test('gives no token to a server whose certificate is not to be trusted', async () => {
  const { report } = await run({ environment: { DB_SSL_ROOT_CERT: undefined } });

  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 0 });
  expect(report.error).toMatch(/self-signed certificate/);
  expect(rds.passwords).toEqual([]);
});
