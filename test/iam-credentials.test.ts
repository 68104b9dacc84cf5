import { IamCredentials } from '../lambda/iam-credentials';
import { faultsOf, type Keys } from './support/rds-token';

const KEYS: Keys = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  sessionToken: 'session/token+with=signs==',
};
const HOST = 'auth.cluster-abc.eu-central-1.rds.amazonaws.com';
const LOGIN = { host: HOST, port: 5432, user: 'token_cleanup', region: 'eu-central-1', keys: KEYS };
const NOW = Date.UTC(2027, 0, 30, 3, 0, 0);

/** What botocore 1.44.5, on which the AWS CLI stands, makes of this login at this moment. */
const REFERENCE =
  `${HOST}:5432/?Action=connect&DBUser=token_cleanup&X-Amz-Algorithm=AWS4-HMAC-SHA256` +
  '&X-Amz-Credential=AKIDEXAMPLE%2F20270130%2Feu-central-1%2Frds-db%2Faws4_request&X-Amz-Date=20270130T030000Z' +
  '&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Security-Token=session%2Ftoken%2Bwith%3Dsigns%3D%3D' +
  '&X-Amz-Signature=e62f7d218535f4797079d0d97786859d4a49c1eee7c5b5f7d6a49190f6804200';

const ENVIRONMENT: Record<string, string> = {
  AWS_REGION: 'eu-central-1',
  AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
  AWS_SESSION_TOKEN: KEYS.sessionToken,
};

beforeEach(() => {
  jest.useFakeTimers({ now: NOW, doNotFake: ['nextTick', 'setImmediate', 'setTimeout'] });
  jest.replaceProperty(process, 'env', ENVIRONMENT);
});
afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});

const iam = (login: { host?: string; port?: number; name?: string; user?: string } = {}) =>
  new IamCredentials({ auth: 'iam', host: HOST, user: 'token_cleanup', ...login });

test('signs the token that the AWS CLI signs', async () => {
  const { password } = await iam().current();
  const [reference, token] = [REFERENCE, password].map((text) => new URL(`https://${text}`));

  expect(token?.host).toBe(reference?.host);
  expect(Object.fromEntries(token?.searchParams ?? [])).toEqual(Object.fromEntries(reference?.searchParams ?? []));
});

test.each([
  ['the port and the database of PostgreSQL', {}, { host: HOST, port: 5432, database: 'postgres' }],
  [
    'others',
    { port: 6432, name: 'auth', user: 'It’s "me" & *' },
    { port: 6432, database: 'auth', user: 'It’s "me" & *' },
  ],
])('logs in with a token for %s', async (_, login, expected) => {
  const { password, ...credentials } = await iam(login).current();

  expect(credentials).toMatchObject(expected);
  expect(faultsOf(password, { ...LOGIN, ...expected })).toEqual([]);
});

test('signs another token for each connection, which is good from its own moment on', async () => {
  const credentials = iam();
  const { password: first } = await credentials.current();
  jest.setSystemTime(NOW + 900_000);
  const { password: second } = await credentials.current();

  expect(faultsOf(first, LOGIN)).toEqual(['age']);
  expect(faultsOf(second, LOGIN)).toEqual([]);
});

test('has no other token than the one that was refused, and says what to look at', async () => {
  await expect(iam().otherThan()).rejects.toThrow(
    "the server refused the function's token: the role's policy must allow rds-db:connect on " +
      'dbuser:<resource id>/<DB_USER>, the database must have IAM authentication enabled, its user must be granted ' +
      'rds_iam, and DB_HOST must be the endpoint that RDS names, not an alias',
  );
});

test('says that it has no region to sign for', async () => {
  jest.replaceProperty(process, 'env', { ...ENVIRONMENT, AWS_REGION: undefined, AWS_CONFIG_FILE: '/dev/null' });

  await expect(iam().current()).rejects.toThrow(/^no token for the database could be signed: Region is missing/);
});

describe('the check of tokens', () => {
  test('accepts the token of the AWS CLI', () => {
    expect(faultsOf(REFERENCE, LOGIN)).toEqual([]);
  });

  test.each<[string, string, Partial<typeof LOGIN>, string[]]>([
    ['for another host', REFERENCE, { host: 'other' }, ['address', 'signature']],
    ['for another port', REFERENCE, { port: 5433 }, ['address', 'signature']],
    ['for another user', REFERENCE, { user: 'other' }, ['DBUser']],
    ['for another region', REFERENCE, { region: 'us-east-1' }, ['X-Amz-Credential', 'signature']],
    ['by another key', REFERENCE, { keys: { ...KEYS, secretAccessKey: 'other' } }, ['signature']],
    [
      'with another user than was signed',
      REFERENCE.replace('token_', 'other_'),
      { user: 'other_cleanup' },
      ['signature'],
    ],
    ['that lives longer', REFERENCE.replace('=900', '=9000'), {}, ['X-Amz-Expires', 'signature']],
    ['with something besides', `${REFERENCE}&x=1`, {}, ['x', 'signature']],
  ])('refuses one %s', (_, token, login, faults) => {
    expect(faultsOf(token, { ...LOGIN, ...login })).toEqual(faults);
  });

  test.each([NOW - 1000, NOW + 900_000])('refuses one that is not good yet, or not any more', (now) => {
    expect(faultsOf(REFERENCE, LOGIN, now)).toEqual(['age']);
  });
});
