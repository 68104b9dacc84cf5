import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type App, CfnParameter, Duration, Stack, TimeZone } from 'aws-cdk-lib';
import {
  InterfaceVpcEndpoint,
  InterfaceVpcEndpointAwsService,
  type IVpc,
  Port,
  SecurityGroup,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import type { Role } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { VARIABLES } from '../lambda/configuration/environment';
import { SslMode } from '../lib/login';
import type { TokenCleanup } from '../lib/token-cleanup';
import {
  type CleanupOverrides,
  createApp,
  createCleanup,
  createDirectory,
  createStack,
  type Properties,
  resource,
  resources,
  SECRET_ARN,
} from './support/cdk';

const IAM_USER = { name: 'token_cleanup', resourceId: 'cluster-ABCDEFGHIJKL01234' };
const IAM = { secret: undefined, iamUser: IAM_USER, databaseHost: 'db.internal' };
const KEY_ARN = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';

/** The construct in a VPC. */
function createInVpc(props: (vpc: IVpc, stack: Stack) => CleanupOverrides = () => ({})): TokenCleanup {
  const stack = createStack();
  const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-0a1b2c3d',
    vpcCidrBlock: '10.0.0.0/16',
    availabilityZones: ['eu-central-1a'],
    privateSubnetIds: ['subnet-0a1b2c3d'],
    privateSubnetRouteTableIds: ['rtb-0a1b2c3d'],
  });
  return createCleanup({ vpc, ...props(vpc, stack) }, stack);
}

function functionOf(cleanup: TokenCleanup): Properties {
  return resource(Stack.of(cleanup), 'AWS::Lambda::Function');
}

function schedulesOf(cleanup: TokenCleanup): Properties[] {
  return resources(Stack.of(cleanup), 'AWS::Scheduler::Schedule');
}

/** The statements of all policies of a role. */
function permissionsOf(cleanup: TokenCleanup, roleId = 'Role'): Properties[] {
  const stack = Stack.of(cleanup);
  const role = stack.resolve((cleanup.node.findChild(roleId) as Role).roleName);
  return resources(stack, 'AWS::IAM::Policy')
    .filter(({ Roles }) => JSON.stringify(Roles) === JSON.stringify([role]))
    .flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
}

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

  test('keeps its logs for three months, or as long as it is told', () => {
    const retention = (props: CleanupOverrides) =>
      resource(Stack.of(createCleanup(props)), 'AWS::Logs::LogGroup').RetentionInDays;

    expect(retention({})).toBe(90);
    expect(retention({ logRetention: RetentionDays.ONE_YEAR })).toBe(365);
  });

  test('is not repeated when it breaks: the event goes to the dead-letter queue', () => {
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

  test('carries the root certificates in a layer, without what lies beside them', () => {
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

describe('the schedule', () => {
  test('fires at three in the morning, UTC, in a group of its own', () => {
    const cleanup = createCleanup();
    const stack = Stack.of(cleanup);

    expect(schedulesOf(cleanup)).toEqual([
      {
        Description: 'The crontab 0 3 * * *',
        FlexibleTimeWindow: { Mode: 'OFF' },
        GroupName: stack.resolve(cleanup.scheduleGroup.scheduleGroupName),
        ScheduleExpression: 'cron(0 3 * * ? *)',
        ScheduleExpressionTimezone: 'Etc/UTC',
        State: 'ENABLED',
        Target: {
          Arn: stack.resolve(cleanup.function.functionArn),
          DeadLetterConfig: { Arn: stack.resolve(cleanup.deadLetterQueue.queueArn) },
          RetryPolicy: { MaximumEventAgeInSeconds: 3600, MaximumRetryAttempts: 3 },
          RoleArn: stack.resolve((cleanup.node.findChild('ScheduleRole') as Role).roleArn),
        },
      },
    ]);
    expect(cleanup.scheduleInWords).toBe('At 03:00 (Etc/UTC)');
  });

  test('fires in its time zone, within its window', () => {
    const cleanup = createCleanup({
      schedule: '30 4 * * sun',
      timeZone: TimeZone.EUROPE_BERLIN,
      flexibleWindow: Duration.minutes(15),
    });

    expect(schedulesOf(cleanup)).toMatchObject([
      {
        FlexibleTimeWindow: { Mode: 'FLEXIBLE', MaximumWindowInMinutes: 15 },
        ScheduleExpression: 'cron(30 4 ? * SUN *)',
        ScheduleExpressionTimezone: 'Europe/Berlin',
      },
    ]);
    expect(cleanup.scheduleInWords).toBe('At 04:30, only on Sunday (Europe/Berlin)');
  });

  test('is two schedules for a crontab that picks dates and weekdays', () => {
    const cleanup = createCleanup({ schedule: '0 3 1 * 1-5' });

    expect(schedulesOf(cleanup).map(({ ScheduleExpression }) => ScheduleExpression)).toEqual([
      'cron(0 3 1 * ? *)',
      'cron(0 3 ? * MON-FRI *)',
    ]);
    expect(cleanup.scheduleInWords).toBe(
      'At 03:00, on day 1 of the month, and At 03:00, Monday through Friday (Etc/UTC)',
    );
  });

  test('is disabled where the job does not run', () => {
    const cleanup = createCleanup({ nodeEnv: 'test' });

    expect(schedulesOf(cleanup)).toMatchObject([{ State: 'DISABLED' }]);
    expect(cleanup.scheduleInWords).toBe('At 03:00 (Etc/UTC), disabled');
    expect(cleanup.successWithin).toBeUndefined();
  });

  test('may invoke this function and send to this queue, and only from its group', () => {
    const cleanup = createCleanup();
    const stack = Stack.of(cleanup);
    const functionArn = stack.resolve(cleanup.function.functionArn);

    expect(permissionsOf(cleanup, 'ScheduleRole')).toEqual([
      {
        Effect: 'Allow',
        Action: 'lambda:InvokeFunction',
        Resource: [functionArn, { 'Fn::Join': ['', [functionArn, ':*']] }],
      },
      { Effect: 'Allow', Action: 'sqs:SendMessage', Resource: stack.resolve(cleanup.deadLetterQueue.queueArn) },
    ]);
    expect(resources(stack, 'AWS::IAM::Role')).toContainEqual({
      AssumeRolePolicyDocument: {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Action: 'sts:AssumeRole',
            Principal: { Service: 'scheduler.amazonaws.com' },
            Condition: {
              StringEquals: {
                'aws:SourceAccount': '111122223333',
                'aws:SourceArn': stack.resolve(cleanup.scheduleGroup.scheduleGroupArn),
              },
            },
          },
        ],
      },
    });
  });

  test.each<[string, string, number]>([
    ['0 3 * * *', 'Etc/UTC', 24],
    // A day has 25 hours when summer ends.
    ['0 3 * * *', 'Europe/Berlin', 25],
    // There is no such minute when summer begins, and no run.
    ['30 2 * * *', 'Europe/Berlin', 49],
    ['30 1 * * *', 'Europe/London', 49],
    ['0 0 * * *', 'Africa/Cairo', 49],
    ['0 2 * * *', 'Asia/Kolkata', 24],
    // Half an hour is all that Lord Howe moves its clocks.
    ['15 2 * * *', 'Australia/Lord_Howe', 48.5],
    ['45 1 * * *', 'Australia/Lord_Howe', 24.5],
    ['0 3 * * 1-5', 'Etc/UTC', 72],
  ])('knows how long a success may be away: %s in %s', (schedule, zone, gapHours) => {
    const timeZone = TimeZone.of(zone);
    const [timeout, flexibleWindow] = [Duration.minutes(10), Duration.minutes(20)];
    const cleanup = createCleanup({ schedule, timeZone, timeout, flexibleWindow });

    // Handing over may take an hour, too.
    expect(cleanup.successWithin?.toMinutes()).toBe(gapHours * 60 + 60 + 10 + 20);
  });
});

describe('in a VPC', () => {
  test('lets PostgreSQL and HTTPS out, and nothing in', () => {
    const cleanup = createInVpc();

    expect(resource(Stack.of(cleanup), 'AWS::EC2::SecurityGroup')).toMatchObject({
      SecurityGroupEgress: [
        { IpProtocol: 'tcp', FromPort: 5432, ToPort: 5432, CidrIp: '10.0.0.0/16' },
        { IpProtocol: 'tcp', FromPort: 443, ToPort: 443, CidrIp: '0.0.0.0/0' },
      ],
    });
    expect(resource(Stack.of(cleanup), 'AWS::EC2::SecurityGroup').SecurityGroupIngress).toBeUndefined();
    expect(functionOf(cleanup).VpcConfig.SecurityGroupIds).toHaveLength(1);
  });

  test('lets PostgreSQL alone out where it logs in with IAM', () => {
    const group = resource(Stack.of(createInVpc(() => IAM)), 'AWS::EC2::SecurityGroup');

    expect(group.SecurityGroupEgress).toMatchObject([{ FromPort: 5432, ToPort: 5432, CidrIp: '10.0.0.0/16' }]);
    expect(group.GroupDescription).toBe('Token cleanup: out to PostgreSQL, nothing in');
  });

  test('lets PostgreSQL out to the given addresses and port', () => {
    const cleanup = createInVpc(() => ({ databasePort: 6432, databaseCidrs: ['10.1.0.0/24', '10.2.0.0/24'] }));

    expect(resource(Stack.of(cleanup), 'AWS::EC2::SecurityGroup').SecurityGroupEgress).toMatchObject([
      { FromPort: 6432, ToPort: 6432, CidrIp: '10.1.0.0/24' },
      { FromPort: 6432, ToPort: 6432, CidrIp: '10.2.0.0/24' },
      { FromPort: 443, ToPort: 443 },
    ]);
  });

  test.each([true, false])('opens the group of the database where it may: %s', (mutable) => {
    const cleanup = createInVpc((_, stack) => ({
      databaseSecurityGroup: SecurityGroup.fromSecurityGroupId(stack, 'Database', 'sg-0a1b2c3d', { mutable }),
    }));
    const stack = Stack.of(cleanup);
    const [group] = cleanup.connections.securityGroups.map((each) => stack.resolve(each.securityGroupId));

    // Inside of the group: where all rules stand outside of it, it is made with the default that lets everything out.
    expect(resource(stack, 'AWS::EC2::SecurityGroup').SecurityGroupEgress).toMatchObject([
      { IpProtocol: 'tcp', FromPort: 5432, ToPort: 5432, DestinationSecurityGroupId: 'sg-0a1b2c3d' },
      { IpProtocol: 'tcp', FromPort: 443, ToPort: 443, CidrIp: '0.0.0.0/0' },
    ]);
    expect(resources(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual(
      mutable
        ? [
            {
              Description: 'Token cleanup (test)',
              GroupId: 'sg-0a1b2c3d',
              SourceSecurityGroupId: group,
              IpProtocol: 'tcp',
              FromPort: 5432,
              ToPort: 5432,
            },
          ]
        : [],
    );
  });

  test('reads the secret through an endpoint that lets this function read this secret', () => {
    const cleanup = createInVpc((vpc, stack) => ({
      secretsManagerEndpoint: new InterfaceVpcEndpoint(stack, 'Endpoint', {
        vpc,
        service: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
        privateDnsEnabled: false,
        open: false,
      }),
    }));
    const stack = Stack.of(cleanup);
    const endpoint = stack.node.findChild('Endpoint') as InterfaceVpcEndpoint;
    const [group, endpointGroup] = [cleanup, endpoint].map(({ connections }) =>
      stack.resolve(connections.securityGroups[0]?.securityGroupId),
    );
    const entries = stack.resolve(endpoint.vpcEndpointDnsEntries);

    expect(functionOf(cleanup).Environment.Variables.AWS_ENDPOINT_URL_SECRETS_MANAGER).toEqual({
      'Fn::Join': ['', ['https://', { 'Fn::Select': [1, { 'Fn::Split': [':', { 'Fn::Select': [0, entries] }] }] }]],
    });
    expect(resource(stack, 'AWS::EC2::VPCEndpoint').PolicyDocument.Statement).toEqual([
      {
        Effect: 'Allow',
        Action: 'secretsmanager:GetSecretValue',
        Principal: { AWS: stack.resolve((cleanup.grantPrincipal as Role).roleArn) },
        Resource: SECRET_ARN,
      },
    ]);
    expect(resources(stack, 'AWS::EC2::SecurityGroup').map((each) => each.SecurityGroupEgress)).toContainEqual([
      { Description: 'PostgreSQL', IpProtocol: 'tcp', FromPort: 5432, ToPort: 5432, CidrIp: '10.0.0.0/16' },
      {
        Description: 'Secrets Manager',
        IpProtocol: 'tcp',
        FromPort: 443,
        ToPort: 443,
        DestinationSecurityGroupId: endpointGroup,
      },
    ]);
    expect(resource(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual({
      Description: 'Token cleanup (test)',
      IpProtocol: 'tcp',
      FromPort: 443,
      ToPort: 443,
      GroupId: endpointGroup,
      SourceSecurityGroupId: group,
    });
  });

  test('can be let in elsewhere through the construct', () => {
    const cleanup = createInVpc();
    const stack = Stack.of(cleanup);
    const cache = SecurityGroup.fromSecurityGroupId(stack, 'Cache', 'sg-0a1b2c3d');
    cache.connections.allowFrom(cleanup, Port.tcp(6379));

    expect(resource(stack, 'AWS::EC2::SecurityGroupIngress')).toMatchObject({ GroupId: 'sg-0a1b2c3d', FromPort: 6379 });
  });
});

test('has no security group outside of a VPC', () => {
  const cleanup = createCleanup();

  expect(resources(Stack.of(cleanup), 'AWS::EC2::SecurityGroup')).toEqual([]);
  expect(functionOf(cleanup).VpcConfig).toBeUndefined();
});

test('has a dead-letter queue that is encrypted, takes TLS only and keeps its messages for two weeks', () => {
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

test('offers its test events to the console where there is a registry for them', () => {
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

test.each<[string, CleanupOverrides, string]>([
  ['no way to log in', { secret: undefined }, 'TokenCleanup must have either secret or iamUser'],
  ['two ways to log in', { iamUser: IAM_USER, databaseHost: 'db' }, 'TokenCleanup must have either secret or iamUser'],
  [
    'a user that could be many',
    { ...IAM, iamUser: { ...IAM_USER, name: '*' } },
    'iamUser.name must be a name of at most 63 characters, without spaces, *, ?, $ and /, got "*"',
  ],
  [
    'the name of a database for its id',
    { ...IAM, iamUser: { ...IAM_USER, resourceId: 'auth' } },
    'iamUser.resourceId must be a resource id, which begins with db-, cluster- or prx-, and not a name, got "auth"',
  ],
  [
    'IAM without a host, over a connection that is not encrypted',
    { ...IAM, databaseHost: undefined, sslMode: SslMode.DISABLE },
    'databaseHost is required with iamUser\n' +
      'sslMode must be verify-full with iamUser: anyone who reads a token off the network can log in with it',
  ],
  [
    'a timeout beyond that of Lambda',
    { timeout: Duration.minutes(16) },
    'timeout must be at most 900 seconds, got 960',
  ],
  [
    'what the function would refuse',
    { concurrency: 17, targets: [{ table: 'sessions', deleteWhen: [{}] }] },
    'CLEANUP_CONCURRENCY must be a whole number from 1 to 16, got "17"\n' +
      'CLEANUP_TARGETS[0].deleteWhen[0] must name at least one column, or it would match every row, got {}',
  ],
  [
    'a crontab that never fires',
    { schedule: '0 3 31 4 *' },
    'day of month must exist in one of the months, or the crontab never fires, got "31" in month "4"',
  ],
  [
    'a time zone that does not exist',
    { timeZone: TimeZone.of('Mars/Phobos') },
    'Invalid time zone specified: Mars/Phobos',
  ],
  [
    'more targets than the environment of a function holds',
    { targets: [{ table: 'sessions', deleteWhen: Array.from({ length: 300 }, () => ({ revoked: true })) }] },
    "the function's environment must be at most 4096 bytes, got 5300, 5137 of them for the targets",
  ],
])('refuses %s', (_, props, message) => {
  expect(() => createCleanup(props)).toThrow(expect.objectContaining({ message }));
});

test('refuses an endpoint of Secrets Manager that nothing is read through', () => {
  const inVpc = (vpc: IVpc, stack: Stack) => ({
    ...IAM,
    secretsManagerEndpoint: new InterfaceVpcEndpoint(stack, 'Endpoint', {
      vpc,
      service: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    }),
  });

  expect(() => createInVpc(inVpc)).toThrow(
    new Error('secretsManagerEndpoint must not be set with iamUser, which needs no secret'),
  );
});

test('refuses to name a metric of a table that is not cleaned', () => {
  expect(() => createCleanup().metricRowsDeleted({ table: 'sessions' })).toThrow(
    new Error('table must be one of refresh_tokens, got "sessions"'),
  );
});
