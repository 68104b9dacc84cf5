import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type App, CfnParameter, Duration, Stack } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { VARIABLES } from '../../lambda/configuration/environment';
import { SslMode } from '../../lib/login';
import {
  type CleanupOverrides,
  createApp,
  createCleanup,
  createDirectory,
  createInVpc,
  createStack,
  functionOf,
  IAM,
  IAM_USER,
  permissionsOf,
  resource,
  resources,
  SECRET_ARN,
} from '../support/cdk';

const KEY_ARN = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';

/** A PEM file, as far as anybody looks at synth, in a folder with another file. */
function pemFile(): string {
  const directory = createDirectory();
  writeFileSync(join(directory, 'private.key'), '-----BEGIN PRIVATE KEY-----');
  writeFileSync(join(directory, 'roots.pem'), '-----BEGIN CERTIFICATE-----');
  return join(directory, 'roots.pem');
}

describe('the function', () => {
  test('runs on the latest Node.js on arm64, for up to 15 minutes, and logs JSON, which is kept for three months', () => {
    const cleanup = createCleanup();
    const created = functionOf(cleanup);

    expect(created).toMatchObject({
      ...{ Runtime: 'nodejs24.x', Architectures: ['arm64'], Handler: 'index.handler', MemorySize: 256, Timeout: 900 },
      LoggingConfig: { LogFormat: 'JSON' },
    });
    for (const option of ['ReservedConcurrentExecutions', 'TracingConfig', 'Layers', 'VpcConfig']) {
      expect(created).not.toHaveProperty(option);
    }
    expect(resource(Stack.of(cleanup), 'AWS::Logs::LogGroup').RetentionInDays).toBe(90);
  });

  test('is not repeated when it crashes: the event goes to the dead-letter queue', () => {
    const cleanup = createCleanup();

    expect(resource(Stack.of(cleanup), 'AWS::Lambda::EventInvokeConfig')).toMatchObject({
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 3600,
      DestinationConfig: { OnFailure: { Destination: Stack.of(cleanup).resolve(cleanup.deadLetterQueue.queueArn) } },
    });
  });

  test('is given exactly the variables that it reads, but those of IAM, when everything is set', () => {
    const cleanup = createCleanup({
      databaseHost: 'db.internal',
      databasePort: 5433,
      databaseName: 'auth',
      databases: { like: ['tenant_*'], except: ['tenant_demo'] },
      sslMode: SslMode.VERIFY_FULL,
      rootCertificates: pemFile(),
      targets: [{ table: 'sessions', deleteWhen: [{ revoked: true }] }],
      concurrency: 4,
      maxLoad: 0.25,
      maxRows: 1_000_000,
      maxReplicaLag: Duration.seconds(30),
    });
    const variables = functionOf(cleanup).Environment.Variables;

    expect([...Object.keys(variables), 'DB_AUTH', 'DB_USER'].sort()).toEqual([...VARIABLES].sort());
    expect(variables).toEqual({
      STAGE: 'test',
      NODE_ENV: 'production',
      POWERTOOLS_SERVICE_NAME: 'token-cleanup',
      DB_SECRET_ARN: SECRET_ARN,
      DB_HOST: 'db.internal',
      DB_NAMES: '{"like":["tenant_*"],"except":["tenant_demo"]}',
      DB_PORT: '5433',
      DB_NAME: 'auth',
      DB_SSL_MODE: 'verify-full',
      DB_SSL_ROOT_CERT: '/opt/roots.pem',
      CLEANUP_TARGETS: '[{"table":"sessions","deleteWhen":[{"revoked":true}]}]',
      CLEANUP_CONCURRENCY: '4',
      CLEANUP_MAX_LOAD: '0.25',
      CLEANUP_MAX_ROWS: '1000000',
      CLEANUP_MAX_REPLICA_LAG_SECONDS: '30',
    });
  });

  test('is given the same targets and databases in whatever order jsii passes the keys', () => {
    const cleanup = createCleanup({
      targets: [
        { dropPartitions: false, deleteWhen: [{ revoked: true }], table: 'sessions', schema: 'auth' },
        { presetSettings: { refreshTokenExpire: '14d' }, preset: 'django-oauth-toolkit' },
      ],
      databases: { except: ['tenant_demo'], like: ['tenant_*'] },
    });

    expect(functionOf(cleanup).Environment.Variables).toMatchObject({
      CLEANUP_TARGETS:
        '[{"schema":"auth","table":"sessions","deleteWhen":[{"revoked":true}],"dropPartitions":false},' +
        '{"preset":"django-oauth-toolkit","refreshTokenExpire":"14d"}]',
      DB_NAMES: '{"like":["tenant_*"],"except":["tenant_demo"]}',
    });
  });

  test.each<[string, CleanupOverrides, object]>([
    ['its secret', {}, { DB_SECRET_ARN: SECRET_ARN }],
    ['its user in place of a secret', IAM, { DB_AUTH: 'iam', DB_HOST: 'db.internal', DB_USER: 'token_cleanup' }],
  ])('is given %s, and no variable whose default will do', (_, login, variables) => {
    expect(functionOf(createCleanup(login)).Environment.Variables).toEqual({
      STAGE: 'test',
      NODE_ENV: 'production',
      POWERTOOLS_SERVICE_NAME: 'token-cleanup',
      ...variables,
    });
  });

  test('takes the address and the id of a database that are only known at the deployment', () => {
    const stack = createStack();
    const databaseHost = new CfnParameter(stack, 'Host').valueAsString;
    const databasePort = new CfnParameter(stack, 'Port', { type: 'Number' }).valueAsNumber;
    const resourceId = new CfnParameter(stack, 'Id').valueAsString;
    const iamUser = { ...IAM_USER, resourceId };
    const cleanup = createCleanup({ ...IAM, iamUser, databaseHost, databasePort }, stack);

    expect(functionOf(cleanup).Environment.Variables).toMatchObject({
      DB_HOST: { Ref: 'Host' },
      DB_PORT: { Ref: 'Port' },
    });
    expect(JSON.stringify(permissionsOf(cleanup))).toContain('dbuser:",{"Ref":"Id"},"/token_cleanup"');
  });

  test('carries the root certificates in a layer, without the files beside them', () => {
    const stack = Stack.of(createCleanup({ rootCertificates: pemFile() }));
    const { S3Key: key } = resource(stack, 'AWS::Lambda::LayerVersion').Content;
    const { directory } = (stack.node.root as App).synth();

    expect(readdirSync(join(directory, `asset.${key.replace('.zip', '')}`))).toEqual(['roots.pem']);
  });
});

describe('the role', () => {
  test('may write its own log, read its own secret and send to its own queue, and nothing else', () => {
    const cleanup = createCleanup();
    const { logGroup, deadLetterQueue } = cleanup;
    const resolve = (value: string) => Stack.of(cleanup).resolve(value);

    expect(permissionsOf(cleanup).map(({ Action, Resource }) => [Action, Resource])).toEqual([
      [['logs:CreateLogStream', 'logs:PutLogEvents'], resolve(logGroup.logGroupArn)],
      ['secretsmanager:GetSecretValue', SECRET_ARN],
      [['sqs:GetQueueAttributes', 'sqs:GetQueueUrl', 'sqs:SendMessage'], resolve(deadLetterQueue.queueArn)],
    ]);
    const managed = resources(Stack.of(cleanup), 'AWS::IAM::Role').map((role) => role.ManagedPolicyArns);
    expect(managed).toEqual([undefined, undefined]);
  });

  test('may connect as its own user to its own database, and read no secret, to log in with IAM', () => {
    expect(permissionsOf(createCleanup(IAM)).slice(1)).toEqual([
      {
        Effect: 'Allow',
        Action: 'rds-db:connect',
        Resource: 'arn:aws:rds-db:eu-central-1:111122223333:dbuser:cluster-ABCDEFGHIJKL01234/token_cleanup',
      },
      expect.objectContaining({ Action: ['sqs:GetQueueAttributes', 'sqs:GetQueueUrl', 'sqs:SendMessage'] }),
    ]);
  });

  test.each([
    ['eu-central-1', 'secretsmanager.eu-central-1.amazonaws.com'],
    ['cn-north-1', 'secretsmanager.cn-north-1.amazonaws.com', 'secretsmanager.cn-north-1.amazonaws.com.cn'],
    ['us-gov-west-1', 'secretsmanager.us-gov-west-1.amazonaws.com'],
    ['eusc-de-east-1', 'secretsmanager.eusc-de-east-1.amazonaws.com', 'secretsmanager.eusc-de-east-1.amazonaws.eu'],
  ])('may decrypt with the key of the secret, for Secrets Manager of %s only', (region, ...services) => {
    const stack = new Stack(createApp(), 'Test', { env: { account: '111122223333', region } });
    const encryptionKey = Key.fromKeyArn(stack, 'Key', KEY_ARN);
    const secret = Secret.fromSecretAttributes(stack, 'Encrypted', { secretCompleteArn: SECRET_ARN, encryptionKey });

    expect(permissionsOf(createCleanup({ secret }, stack))).toContainEqual({
      Effect: 'Allow',
      Action: 'kms:Decrypt',
      Resource: KEY_ARN,
      Condition: { StringEquals: { 'kms:ViaService': services } },
    });
  });

  test('has rights over network interfaces in a VPC only, and there not for the code', () => {
    const cleanup = createInVpc();
    const Action = [
      ...['AssignPrivateIpAddresses', 'CreateNetworkInterface', 'DeleteNetworkInterface'],
      ...['DescribeNetworkInterfaces', 'DescribeSubnets', 'UnassignPrivateIpAddresses'],
    ].map((name) => `ec2:${name}`);
    const functionArn = Stack.of(cleanup).resolve(cleanup.function.functionArn);

    const ofNetwork = permissionsOf(cleanup).filter((each) => JSON.stringify(each.Action).includes('ec2:'));
    expect(ofNetwork).toEqual([
      { Effect: 'Allow', Action, Resource: '*' },
      {
        ...{ Effect: 'Deny', Action, Resource: '*' },
        Condition: { ArnEquals: { 'lambda:SourceFunctionArn': functionArn } },
      },
    ]);
  });

  test('can be granted more through the construct', () => {
    const stack = createStack();
    const cleanup = createCleanup({}, stack);
    new Bucket(stack, 'Bucket').grantPut(cleanup);

    expect(JSON.stringify(permissionsOf(cleanup))).toContain('s3:PutObject');
  });
});
