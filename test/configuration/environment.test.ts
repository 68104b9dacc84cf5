import { identityOf, isEnabled, readConfig } from '../../lambda/configuration/environment';
import { mistakesOf } from '../support/mistakes';

const SECRET = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:tokens';

test('needs the secret only, and has a default for everything else', () => {
  expect(readConfig({ DB_SECRET_ARN: SECRET })).toEqual({
    login: { auth: 'password', secretArn: SECRET },
    tls: {},
    targets: [
      {
        name: 'refresh_tokens',
        schema: 'public',
        table: 'refresh_tokens',
        deleteWhen: [{ revoked: true }, { expires_at: { olderThanMs: 0 } }],
      },
    ],
    concurrency: 1,
  });
});

test('reads every variable', () => {
  expect(
    readConfig({
      DB_AUTH: 'password',
      DB_SECRET_ARN: SECRET,
      DB_HOST: 'db.internal',
      DB_PORT: '6432',
      DB_NAME: 'auth',
      DB_SSL_MODE: 'verify-full',
      DB_SSL_ROOT_CERT: '/certs/ca.pem',
      CLEANUP_TARGETS:
        '[{"schema":"auth","table":"resets","deleteWhen":[{"used":true,"used_at":{"olderThan":"90m"}}]}]',
      CLEANUP_CONCURRENCY: '16',
      CLEANUP_MAX_LOAD: '1',
      CLEANUP_MAX_REPLICA_LAG_SECONDS: '2.5',
      STAGE: 'prod',
    }),
  ).toEqual({
    login: { auth: 'password', secretArn: SECRET, host: 'db.internal', port: 6432, name: 'auth' },
    tls: { rootCertificates: '/certs/ca.pem' },
    targets: [
      {
        name: 'resets',
        schema: 'auth',
        table: 'resets',
        deleteWhen: [{ used: true, used_at: { olderThanMs: 5_400_000 } }],
      },
    ],
    concurrency: 16,
    maxLoad: 1,
    maxReplicaLagSeconds: 2.5,
  });
  expect(readConfig({ DB_SECRET_ARN: SECRET, DB_SSL_MODE: 'disable' }).tls).toBe(false);
});

const WITH_IAM = { DB_AUTH: 'iam', DB_HOST: 'db.internal', DB_USER: 'token_cleanup' };

test('needs the host and the user, and no secret, to log in with IAM', () => {
  expect(readConfig(WITH_IAM)).toMatchObject({
    login: { auth: 'iam', host: 'db.internal', user: 'token_cleanup', port: undefined, name: undefined },
    tls: {},
  });
  expect(readConfig({ ...WITH_IAM, DB_PORT: '6432', DB_NAME: 'auth', DB_SSL_MODE: 'verify-full' }).login).toEqual({
    auth: 'iam',
    host: 'db.internal',
    user: 'token_cleanup',
    port: 6432,
    name: 'auth',
  });
});

test.each(['Test', 'TEST', ' test', 'tests', 'tst', 'tset', 'tets', 'tes', 'ttest', 'testing'])(
  'warns of NODE_ENV %j, which does not switch the job off',
  (NODE_ENV) => {
    expect(readConfig({ DB_SECRET_ARN: SECRET, NODE_ENV }).warnings).toEqual([
      `NODE_ENV must be exactly test to switch the job off, or a name that does not look like it, got "${NODE_ENV}"`,
    ]);
  },
);

test.each(['test', '', 'production', 'staging', 'latest', 'e2e'])('does not warn of NODE_ENV %j', (NODE_ENV) => {
  expect(readConfig({ DB_SECRET_ARN: SECRET, NODE_ENV }).warnings).toBeUndefined();
});

test('names the place of a mistake in a long list of targets on one line', () => {
  const list = JSON.stringify(
    Array.from({ length: 100 }, () => ({ table: 'a', deleteWhen: [{ b: true }] })),
    null,
    2,
  );
  const CLEANUP_TARGETS = `${list.slice(0, -3)},}]`;
  const [mistake, ...others] = mistakesOf(() => readConfig({ DB_SECRET_ARN: SECRET, CLEANUP_TARGETS }));

  expect(mistake).toContain('CLEANUP_TARGETS must be JSON, got "[');
  expect(mistake).toContain(`at position ${CLEANUP_TARGETS.length - 2}`);
  expect(mistake).not.toContain('\n');
  expect(mistake?.length).toBeLessThan(400);
  expect(others).toEqual([]);
});

test('takes the databases of a server by pattern', () => {
  const databases = { like: ['tenant_*'], except: ['tenant_demo'] };
  expect(readConfig({ DB_SECRET_ARN: SECRET, DB_NAMES: JSON.stringify(databases) })).toMatchObject({ databases });
  expect(readConfig({ DB_SECRET_ARN: SECRET }).databases).toBeUndefined();
});

test.each<[string, Record<string, string>, string[]]>([
  [
    'databases that are not JSON',
    { DB_SECRET_ARN: SECRET, DB_NAMES: 'tenant_*' },
    [expect.stringMatching(/^DB_NAMES must be JSON, got "tenant_\*": Unexpected token /)],
  ],
  [
    'targets that are not JSON',
    { DB_SECRET_ARN: SECRET, CLEANUP_TARGETS: 'refresh_tokens' },
    [expect.stringMatching(/^CLEANUP_TARGETS must be JSON, got "refresh_tokens": /)],
  ],
  [
    'databases without a pattern, and a slip',
    { DB_SECRET_ARN: SECRET, DB_NAMES: '{ "like": [], "excpet": ["a"] }' },
    [
      'DB_NAMES.like must hold at least one pattern, got []',
      'DB_NAMES.excpet is not a known key (did you mean except?)',
    ],
  ],
  [
    'IAM with a secret, without host and user, over a connection that is not encrypted',
    { DB_AUTH: 'iam', DB_SECRET_ARN: SECRET, DB_SSL_MODE: 'disable', DB_PORT: '0' },
    [
      `DB_SECRET_ARN must not be set with DB_AUTH=iam, which needs no secret, got "${SECRET}"`,
      'DB_USER is required with DB_AUTH=iam',
      'DB_HOST is required with DB_AUTH=iam',
      'DB_SSL_MODE must be verify-full with DB_AUTH=iam: anyone who reads a token off the network can log in with it, got "disable"',
      'DB_PORT must be a whole number from 1 to 65535, got "0"',
    ],
  ],
  [
    'IAM with a host and a user that are empty',
    { DB_AUTH: 'iam', DB_HOST: '', DB_USER: '' },
    ['DB_USER must not be empty, got ""', 'DB_HOST must not be empty, got ""'],
  ],
  [
    'a password with a user',
    { DB_SECRET_ARN: SECRET, DB_USER: 'token_cleanup' },
    ['DB_USER must not be set without DB_AUTH=iam: the secret names the user, got "token_cleanup"'],
  ],
  [
    'a password with a user and without a secret',
    { DB_AUTH: 'password', DB_USER: '' },
    [
      'DB_USER must not be empty, got ""',
      'DB_SECRET_ARN is required without DB_AUTH=iam',
      'DB_USER must not be set without DB_AUTH=iam: the secret names the user, got ""',
    ],
  ],
  [
    'another way to log in, without guessing what it needs',
    { DB_AUTH: 'IAM', DB_PORT: 'x' },
    ['DB_AUTH must be password or iam, got "IAM"', 'DB_PORT must be a whole number from 1 to 65535, got "x"'],
  ],
])('refuses %s', (_, environment, expected) => {
  expect(mistakesOf(() => readConfig(environment))).toEqual(expected);
});

test('lists every mistake of the environment, each with its name, its rule and its value', () => {
  expect(
    mistakesOf(() =>
      readConfig({
        DB_HOST: '',
        DB_PORT: '0',
        DB_SSL_MODE: 'require',
        CLEANUP_CONCURRENCY: '17',
        CLEANUP_MAX_LOAD: '2',
        CLEANUP_MAX_REPLICA_LAG_SECONDS: 'x',
        CLEANUP_TARGETS: '{}',
      }),
    ),
  ).toEqual([
    'DB_HOST must not be empty, got ""',
    'DB_SECRET_ARN is required without DB_AUTH=iam',
    'DB_PORT must be a whole number from 1 to 65535, got "0"',
    'DB_SSL_MODE must be verify-full or disable, got "require"',
    'CLEANUP_CONCURRENCY must be a whole number from 1 to 16, got "17"',
    'CLEANUP_MAX_LOAD must be above 0 and at most 1, got "2"',
    'CLEANUP_MAX_REPLICA_LAG_SECONDS must be a number of seconds from 1 to 86400, got "x"',
    'CLEANUP_TARGETS must be a list of targets, got {}',
  ]);
});

test.each(['', ' ', 'NaN', '1e1', '0x1', '1.5', '-1', '1 ', 'Infinity'])(
  'does not take %j for a number of connections',
  (value) => {
    expect(mistakesOf(() => readConfig({ DB_SECRET_ARN: SECRET, CLEANUP_CONCURRENCY: value }))).toEqual([
      `CLEANUP_CONCURRENCY must be a whole number from 1 to 16, got ${JSON.stringify(value)}`,
    ]);
  },
);

test.each(['0', '0.0', '1.01', '-0.5', '.5', ''])('does not take %j for a load', (value) => {
  expect(mistakesOf(() => readConfig({ DB_SECRET_ARN: SECRET, CLEANUP_MAX_LOAD: value }))).toEqual([
    `CLEANUP_MAX_LOAD must be above 0 and at most 1, got ${JSON.stringify(value)}`,
  ]);
});

test('does not run if NODE_ENV is test, and only then', () => {
  expect(isEnabled({ NODE_ENV: 'test' })).toBe(false);
  expect(isEnabled({ NODE_ENV: 'production' })).toBe(true);
  expect(isEnabled({})).toBe(true);
});

test('has a stage and a service name even in an empty environment', () => {
  expect(identityOf({})).toEqual({ stage: 'local', service: 'token-cleanup' });
  expect(identityOf({ STAGE: '', POWERTOOLS_SERVICE_NAME: '' })).toEqual({ stage: 'local', service: 'token-cleanup' });
  expect(identityOf({ STAGE: 'prod', POWERTOOLS_SERVICE_NAME: 'cleaner' })).toEqual({
    stage: 'prod',
    service: 'cleaner',
  });
});
