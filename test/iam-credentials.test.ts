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

/** Tokens that botocore 1.43.11, the base of the AWS CLI, signs at this moment: user, port and signature. */
const REFERENCES = [
  ['token_cleanup', 5432, 'e62f7d218535f4797079d0d97786859d4a49c1eee7c5b5f7d6a49190f6804200'],
  ['It’s "me" & *', 6432, '43e33ff4e0e0120b748f01cc6e70550733e4a0ec0e9f3319447cbeb8a6a69066'],
] as const;

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

test.each(REFERENCES)('signs the token for %s at port %i that the AWS CLI signs', async (user, port, signature) => {
  const { password, ...login } = await iam({ user, port, name: 'auth' }).current();

  expect(login).toMatchObject({ host: HOST, port, user, database: 'auth' });
  expect(faultsOf(password, { ...LOGIN, user, port })).toEqual([]);
  expect(new URL(`https://${password}`).searchParams.get('X-Amz-Signature')).toBe(signature);
});

test('logs in to the default port and database of PostgreSQL if no others are given', async () => {
  expect(await iam().current()).toMatchObject({ port: 5432, database: 'postgres' });
});

test('signs another token for each connection, which is good from its own moment on', async () => {
  const credentials = iam();
  const { password: first } = await credentials.current();
  jest.setSystemTime(NOW + 900_000);
  const { password: second } = await credentials.current();

  expect(faultsOf(first, LOGIN)).toEqual(['age']);
  expect(faultsOf(second, LOGIN)).toEqual([]);
});

test('has no other token after a refusal, and reports the likely reasons', async () => {
  await expect(iam().otherThan()).rejects.toThrow(
    "the server refused the function's token: the role's policy must allow rds-db:connect on " +
      'dbuser:<resource id>/<DB_USER>, the database must have IAM authentication enabled, its user must be granted ' +
      'rds_iam, and DB_HOST must be the endpoint that RDS names, not an alias',
  );
});

test('reports a missing region', async () => {
  jest.replaceProperty(process, 'env', { ...ENVIRONMENT, AWS_REGION: undefined, AWS_CONFIG_FILE: '/dev/null' });

  await expect(iam().current()).rejects.toThrow(/^no token for the database could be signed: Region is missing/);
});
