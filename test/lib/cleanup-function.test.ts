import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type App, CfnParameter, Duration, Stack } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
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
  test('runs on the latest Node.js on arm64, for up to 15 minutes, and logs JSON', () => {
    expect(functionOf(createCleanup())).toMatchObject({
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      Handler: 'index.handler',
      MemorySize: 256,
      Timeout: 900,
      LoggingConfig: { LogFormat: 'JSON' },
    });
  });

  test('keeps its logs for three months, or as configured', () => {
    const retention = (props: CleanupOverrides) =>
      resource(Stack.of(createCleanup(props)), 'AWS::Logs::LogGroup').RetentionInDays;

    expect(retention({})).toBe(90);
    expect(retention({ logRetention: RetentionDays.ONE_YEAR })).toBe(365);
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
    const { CLEANUP_TARGETS, DB_NAMES } = functionOf(
      createCleanup({
        targets: [
          { dropPartitions: false, deleteWhen: [{ revoked: true }], table: 'sessions', schema: 'auth' },
          { presetSettings: { refreshTokenExpire: '14d' }, preset: 'django-oauth-toolkit' },
        ],
        databases: { except: ['tenant_demo'], like: ['tenant_*'] },
      }),
    ).Environment.Variables;

    expect(CLEANUP_TARGETS).toBe(
      '[{"schema":"auth","table":"sessions","deleteWhen":[{"revoked":true}],"dropPartitions":false},' +
        '{"preset":"django-oauth-toolkit","refreshTokenExpire":"14d"}]',
    );
    expect(DB_NAMES).toBe('{"like":["tenant_*"],"except":["tenant_demo"]}');
  });

  test('is given no variable whose default will do', () => {
    expect(functionOf(createCleanup()).Environment.Variables).toEqual({
      STAGE: 'test',
      NODE_ENV: 'production',
      POWERTOOLS_SERVICE_NAME: 'token-cleanup',
      DB_SECRET_ARN: SECRET_ARN,
    });
  });

  test.each<[string, CleanupOverrides]>([
    ['a secret', {}],
    ['IAM', IAM],
  ])('takes the address of a database that is only known at the deployment, and logged in to with %s', (_, login) => {
    const stack = createStack();
    const databaseHost = new CfnParameter(stack, 'Host').valueAsString;
    const databasePort = new CfnParameter(stack, 'Port', { type: 'Number' }).valueAsNumber;
    const cleanup = createCleanup({ ...login, databaseHost, databasePort }, stack);

    expect(functionOf(cleanup).Environment.Variables).toMatchObject({
      DB_HOST: { Ref: 'Host' },
      DB_PORT: { Ref: 'Port' },
    });
  });

  test('is given the user in place of a secret, to log in with IAM', () => {
    expect(functionOf(createCleanup(IAM)).Environment.Variables).toEqual({
      STAGE: 'test',
      NODE_ENV: 'production',
      POWERTOOLS_SERVICE_NAME: 'token-cleanup',
      DB_AUTH: 'iam',
      DB_HOST: 'db.internal',
      DB_USER: 'token_cleanup',
    });
  });

  test('carries the root certificates in a layer, without the files beside them', () => {
    const stack = Stack.of(createCleanup({ rootCertificates: pemFile() }));
    const { S3Key: key } = resource(stack, 'AWS::Lambda::LayerVersion').Content;
    const { directory } = (stack.node.root as App).synth();

    expect(readdirSync(join(directory, `asset.${key.replace('.zip', '')}`))).toEqual(['roots.pem']);
    expect(functionOf(createCleanup()).Layers).toBeUndefined();
  });

  test('reserves no concurrency and is not traced, unless it is asked for', () => {
    const cleanup = createCleanup({ reservedConcurrentExecutions: 1, tracing: true });

    expect(functionOf(cleanup)).toMatchObject({ ReservedConcurrentExecutions: 1, TracingConfig: { Mode: 'Active' } });
    expect(functionOf(createCleanup())).not.toHaveProperty('ReservedConcurrentExecutions');
    expect(functionOf(createCleanup())).not.toHaveProperty('TracingConfig');
  });
});

describe('the role', () => {
  test('may write its own log, read its own secret and send to its own queue, and nothing else', () => {
    const cleanup = createCleanup();
    const { logGroup, deadLetterQueue } = cleanup;
    const resolve = (value: string) => Stack.of(cleanup).resolve(value);

    expect(permissionsOf(cleanup)).toEqual([
      {
        Effect: 'Allow',
        Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        Resource: resolve(logGroup.logGroupArn),
      },
      {
        Effect: 'Allow',
        Action: 'secretsmanager:GetSecretValue',
        Resource: SECRET_ARN,
      },
      {
        Effect: 'Allow',
        Action: ['sqs:GetQueueAttributes', 'sqs:GetQueueUrl', 'sqs:SendMessage'],
        Resource: resolve(deadLetterQueue.queueArn),
      },
    ]);
    expect(resources(Stack.of(cleanup), 'AWS::IAM::Role').map((role) => role.ManagedPolicyArns)).toEqual([
      undefined,
      undefined,
    ]);
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

  test('may connect to a database whose resource id is only known at the deployment', () => {
    const stack = createStack();
    const resourceId = new CfnParameter(stack, 'Id').valueAsString;
    const cleanup = createCleanup({ ...IAM, iamUser: { ...IAM_USER, resourceId } }, stack);

    expect(JSON.stringify(permissionsOf(cleanup))).toContain('dbuser:",{"Ref":"Id"},"/token_cleanup"');
  });

  test('may decrypt with the key of the secret, for Secrets Manager only', () => {
    const stack = createStack();
    const encryptionKey = Key.fromKeyArn(stack, 'Key', KEY_ARN);
    const secret = Secret.fromSecretAttributes(stack, 'Encrypted', { secretCompleteArn: SECRET_ARN, encryptionKey });

    expect(permissionsOf(createCleanup({ secret }, stack))).toContainEqual({
      Effect: 'Allow',
      Action: 'kms:Decrypt',
      Resource: KEY_ARN,
      Condition: { StringEquals: { 'kms:ViaService': ['secretsmanager.eu-central-1.amazonaws.com'] } },
    });
  });

  test.each([
    ['cn-north-1', ['secretsmanager.cn-north-1.amazonaws.com', 'secretsmanager.cn-north-1.amazonaws.com.cn']],
    ['us-gov-west-1', ['secretsmanager.us-gov-west-1.amazonaws.com']],
    ['eusc-de-east-1', ['secretsmanager.eusc-de-east-1.amazonaws.com', 'secretsmanager.eusc-de-east-1.amazonaws.eu']],
  ])('names Secrets Manager as the partition of %s does', (region, services) => {
    const stack = new Stack(createApp(), 'Test', { env: { account: '111122223333', region } });
    const secret = new Secret(stack, 'Encrypted', { encryptionKey: new Key(stack, 'Key') }) as ISecret;
    const decrypt = permissionsOf(createCleanup({ secret }, stack)).find(({ Action }) => Action === 'kms:Decrypt');

    expect([decrypt?.Condition.StringEquals['kms:ViaService']].flat()).toEqual(services);
  });

  test('has rights over network interfaces in a VPC only, and there not for the code', () => {
    const cleanup = createInVpc();
    const actions = [
      'ec2:AssignPrivateIpAddresses',
      'ec2:CreateNetworkInterface',
      'ec2:DeleteNetworkInterface',
      'ec2:DescribeNetworkInterfaces',
      'ec2:DescribeSubnets',
      'ec2:UnassignPrivateIpAddresses',
    ];

    const ofNetwork = permissionsOf(cleanup).filter(({ Action }) => JSON.stringify(Action).includes('ec2:'));
    expect(ofNetwork).toEqual([
      { Effect: 'Allow', Action: actions, Resource: '*' },
      {
        Effect: 'Deny',
        Action: actions,
        Resource: '*',
        Condition: {
          ArnEquals: { 'lambda:SourceFunctionArn': Stack.of(cleanup).resolve(cleanup.function.functionArn) },
        },
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
