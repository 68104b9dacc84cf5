import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { parseSecret, REQUEST_TIMEOUTS, SecretCredentials } from '../lambda/secret-credentials';
import { eventually } from './support/eventually';
import { FaultySecretsEndpoint } from './support/faulty-secrets-endpoint';

const ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:tokens';
const LOGIN = { username: 'cleaner', password: 'hunter2', host: 'db.internal', port: 5433, dbname: 'auth' };
const never = new AbortController().signal;

test.each([
  ['a port that is a number', LOGIN, {}, { port: 5433 }],
  ['a port that is text', { ...LOGIN, port: '5434' }, {}, { port: 5434 }],
  ['no port and no database', { username: 'u', password: 'p', host: 'h' }, {}, { port: 5432, database: 'postgres' }],
  [
    'no host, where it is given',
    { username: 'u', password: 'p' },
    { host: 'h', port: 1, name: 'd' },
    { host: 'h', port: 1, database: 'd' },
  ],
  ['a host, where another is given', LOGIN, { host: 'proxy' }, { host: 'proxy', port: 5433, database: 'auth' }],
  ['keys of RDS besides', { ...LOGIN, engine: 'postgres', dbInstanceIdentifier: 'x' }, {}, { user: 'cleaner' }],
])('reads a secret with %s', (_, secret, overrides, expected) => {
  expect(parseSecret(JSON.stringify(secret), overrides)).toMatchObject(expected);
});

test.each([
  ['binary', undefined, 'the secret must be text, got binary data'],
  ['empty', '', 'the secret must be JSON, got an empty string'],
  ['not JSON', 'hunter2', 'the secret must be JSON, got text that is not JSON'],
  ['a list', '["hunter2"]', 'the secret must be an object'],
  [
    'without what is needed',
    '{"pasword":"hunter2","port":"hunter2","host":""}',
    [
      'the secret.username is required',
      'the secret.password is required',
      'the secret.host must be a non-empty string',
      'the secret.port must be a whole number from 1 to 65535',
    ].join('\n'),
  ],
  ['without a host', '{"username":"u","password":"hunter2"}', 'the secret.host is required, unless DB_HOST is set'],
])('refuses a secret that is %s, and repeats nothing of it', (_, secret, message) => {
  expect(() => parseSecret(secret, {})).toThrow(new Error(message));
});

describe('over HTTP', () => {
  let endpoint: FaultySecretsEndpoint;
  let client: SecretsManagerClient;

  beforeEach(async () => {
    endpoint = await FaultySecretsEndpoint.start();
    endpoint.put(ARN, JSON.stringify(LOGIN));
    client = new SecretsManagerClient({
      endpoint: endpoint.url,
      region: 'eu-central-1',
      credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
      requestHandler: { ...REQUEST_TIMEOUTS, connectionTimeout: 500, requestTimeout: 500 },
    });
  });
  afterEach(() => endpoint.stop());

  test('reads the secret once for all sessions', async () => {
    const credentials = new SecretCredentials(client, ARN);

    const [first, second] = await Promise.all([credentials.current(never), credentials.current(never)]);

    expect(first).toEqual({ host: 'db.internal', port: 5433, database: 'auth', user: 'cleaner', password: 'hunter2' });
    expect(second).toBe(first);
    expect(endpoint.requests).toBe(1);
  });

  test('reads it once more when it was refused, and returns it if it has changed', async () => {
    const credentials = new SecretCredentials(client, ARN);
    const refused = await credentials.current(never);
    endpoint.put(ARN, JSON.stringify({ ...LOGIN, password: 'hunter3' }));

    const [one, other] = [await credentials.otherThan(refused, never), await credentials.otherThan(refused, never)];

    expect(one?.password).toBe('hunter3');
    expect(other).toBe(one);
    expect(endpoint.requests).toBe(2);
    expect(await credentials.otherThan(one as typeof refused, never)).toBeUndefined();
    expect(endpoint.requests).toBe(2);
  });

  test('has nothing else when the secret has not changed', async () => {
    const credentials = new SecretCredentials(client, ARN);

    expect(await credentials.otherThan(await credentials.current(never), never)).toBeUndefined();
    expect(endpoint.requests).toBe(2);
  });

  test('outlasts a service that is throttled for a moment', async () => {
    endpoint.fault = { error: 'ThrottlingException' };
    const current = new SecretCredentials(client, ARN).current(never);
    await eventually(() => endpoint.requests > 0);
    endpoint.fault = undefined;

    expect(await current).toMatchObject({ user: 'cleaner' });
  });

  test('reports the likely reasons if the service does not answer', async () => {
    endpoint.fault = { delayMs: 60_000 };

    await expect(new SecretCredentials(client, ARN).current(never)).rejects.toThrow(
      /^Secrets Manager could not be reached \(.*\): a function in a VPC needs an interface endpoint with private DNS, or a NAT gateway, and a security group that lets HTTPS out$/,
    );
  });
});
