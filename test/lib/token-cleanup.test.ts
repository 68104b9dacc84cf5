import { Duration, Stack, TimeZone } from 'aws-cdk-lib';
import { SslMode } from '../../lib/login';
import { type CleanupOverrides, createCleanup, IAM, IAM_USER, resource, resources } from '../support/cdk';

test('has a dead-letter queue that is encrypted, accepts only TLS, and keeps its messages for two weeks', () => {
  const stack = Stack.of(createCleanup());

  expect(resource(stack, 'AWS::SQS::Queue')).toEqual({ SqsManagedSseEnabled: true, MessageRetentionPeriod: 1_209_600 });
  expect(resource(stack, 'AWS::SQS::QueuePolicy').PolicyDocument.Statement).toMatchObject([
    {
      Effect: 'Deny',
      Action: 'sqs:*',
      Principal: { AWS: '*' },
      Condition: { Bool: { 'aws:SecureTransport': 'false' } },
    },
  ]);
});

test('offers its test events to the console if there is a registry for them', () => {
  const cleanup = createCleanup({ testEventRegistryName: 'lambda-testevent-schemas' });
  const schema = resource(Stack.of(cleanup), 'AWS::EventSchemas::Schema');

  expect(schema).toMatchObject({
    RegistryName: 'lambda-testevent-schemas',
    SchemaName: { 'Fn::Join': ['', ['_', Stack.of(cleanup).resolve(cleanup.function.functionName), '-schema']] },
    Type: 'OpenApi3',
  });
  expect(JSON.parse(schema.Content).components.examples).toEqual({
    'dry-run': { value: { dryRun: true } },
    'run-now': { value: {} },
    'catch-up': { value: { concurrency: 2, maxLoad: 1 } },
  });
  expect(resources(Stack.of(createCleanup()), 'AWS::EventSchemas::Schema')).toEqual([]);
});

test.each<[string, CleanupOverrides]>([
  ['secret is required without iamUser', { secret: undefined }],
  ['secret must not be set with iamUser, which needs no secret', { iamUser: IAM_USER, databaseHost: 'db' }],
  [
    'iamUser.name must be a name of at most 63 characters, without spaces, *, ?, $ and /, got "*"',
    { ...IAM, iamUser: { ...IAM_USER, name: '*' } },
  ],
  [
    'iamUser.resourceId must be a resource id, which begins with db-, cluster- or prx-, and not a name, got "auth"',
    { ...IAM, iamUser: { ...IAM_USER, resourceId: 'auth' } },
  ],
  [
    'databaseHost is required with iamUser\n' +
      'sslMode must be verify-full with iamUser: anyone who reads a token off the network can log in with it',
    { ...IAM, databaseHost: undefined, sslMode: SslMode.DISABLE },
  ],
  ['timeout must be at most 900 seconds, got 960', { timeout: Duration.minutes(16) }],
  [
    'CLEANUP_CONCURRENCY must be a whole number from 1 to 16, got "17"\n' +
      'CLEANUP_TARGETS[0].deleteWhen[0] must name at least one column, or it would match every row, got {}',
    { concurrency: 17, targets: [{ table: 'sessions', deleteWhen: [{}] }] },
  ],
  [
    'nodeEnv must be exactly test to switch the job off, or a name that does not look like it, got "Test"',
    { nodeEnv: 'Test' },
  ],
  [
    'day of month must exist in one of the months, or the crontab never fires, got "31" in month "4"',
    { schedule: '0 3 31 4 *' },
  ],
  ['Invalid time zone specified: Mars/Phobos', { timeZone: TimeZone.of('Mars/Phobos') }],
  [
    "the function's environment must be at most 4096 bytes, got 5300, 5137 of them for the targets",
    { targets: [{ table: 'sessions', deleteWhen: Array.from({ length: 300 }, () => ({ revoked: true })) }] },
  ],
])('refuses props: %s', (message, props) => {
  expect(() => createCleanup(props)).toThrow(expect.objectContaining({ message }));
});

test('refuses to name a metric of a table that is not cleaned', () => {
  expect(() => createCleanup().metricRowsDeleted({ table: 'sessions' })).toThrow(
    new Error('table must be one of refresh_tokens, got "sessions"'),
  );
});
