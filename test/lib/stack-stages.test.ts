import type { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { CfnFunction } from 'aws-cdk-lib/aws-lambda';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import type { TokenCleanupStack } from '../../lib/token-cleanup-stack';
import {
  CONTEXT,
  createApp,
  createStack,
  createStage,
  flat,
  resource,
  resources,
  runApp,
  SECRET_ARN,
  warningsOf,
} from '../support/cdk';

const STAGE_NAMES = Object.keys(CONTEXT.stages);
const DATABASE = { secretArn: SECRET_ARN };
const MINIMAL = { databases: { auth: DATABASE } };
const VPC = {
  vpcId: 'vpc-0a1b2c3d',
  subnets: { 'eu-central-1a': 'subnet-0a1b2c3d', 'eu-central-1b': 'subnet-1a1b2c3d' },
};
const TOPIC_ARN = 'arn:aws:sns:eu-central-1:111122223333:oncall';

function outputsOf(stage: TokenCleanupStack): Record<string, string> {
  const outputs = Template.fromStack(stage).findOutputs('*');
  return Object.fromEntries(Object.entries(outputs).map(([name, { Value: value }]) => [name, flat(value)]));
}

function violationsOf(stage: TokenCleanupStack): object[] {
  return [AwsSolutionsChecks, ServerlessChecks].flatMap((Checks) => new Checks(stage).validateScope(stage).violations);
}

test.each(STAGE_NAMES)('finds nothing amiss with the stage %s by the rules of cdk-nag', (name) => {
  expect(violationsOf(createStage(name))).toEqual([]);
});

test.each(STAGE_NAMES)('finds nothing amiss with the stage %s by the rules of CloudFormation', (name) => {
  expect(() => Template.fromStack(createStage(name, undefined, createApp({ validates: true })))).not.toThrow();
});

test.each(STAGE_NAMES)('synthesizes the stage %s alike each time, without asking AWS for anything', (name) => {
  const [first, second] = [createStage(name), createStage(name)];

  expect(Template.fromStack(first).toJSON()).toEqual(Template.fromStack(second).toJSON());
  expect((first.node.root as App).synth().manifest.missing).toBeUndefined();
});

test.each(STAGE_NAMES)('warns of the example identifiers of the stage %s, and of nothing else', (name) => {
  expect(warningsOf(createStage(name))).toEqual([
    expect.stringMatching(
      `^/TokenCleanup-${name}: cdk.json still holds example identifiers. Before you deploy, fill in your own: stages.${name}.`,
    ),
  ]);
});

test('warns of nothing once all is filled in', () => {
  const secretArn = SECRET_ARN.replace('111122223333', '999999999999');

  expect(
    warningsOf(createStage('test', { vpc: VPC, databases: { auth: { secretArn, cidrs: ['10.0.0.0/16'] } } })),
  ).toEqual([]);
});

test('gives each database a function of its own, named after it, with its own secret', () => {
  const audit = { secretArn: SECRET_ARN.replace('auth', 'audit') };
  const stage = createStage('test', { databases: { auth: DATABASE, 'audit-log': audit } });

  const functions = resources(stage, 'AWS::Lambda::Function').map(({ FunctionName, Environment: { Variables } }) => [
    FunctionName,
    Variables.DB_SECRET_ARN,
    Variables.POWERTOOLS_SERVICE_NAME,
  ]);
  expect(functions).toEqual([
    ['token-cleanup-test_auth', DATABASE.secretArn, 'token-cleanup-auth'],
    ['token-cleanup-test_audit-log', audit.secretArn, 'token-cleanup-audit-log'],
  ]);
  const secretsRead = resources(stage, 'AWS::IAM::Policy').map(({ PolicyName, PolicyDocument }) => [
    PolicyName.replace(/Role.*/, ''),
    JSON.stringify(PolicyDocument).match(/arn:aws:secretsmanager:[^"]+/g),
  ]);
  expect(secretsRead).toEqual([
    ['auth', [DATABASE.secretArn]],
    ['authSchedule', null],
    ['auditlog', [audit.secretArn]],
    ['auditlogSchedule', null],
  ]);
  expect(resources(stage, 'AWS::Scheduler::ScheduleGroup')).toHaveLength(2);
  expect(resources(stage, 'AWS::SNS::Topic')).toHaveLength(1);
  expect(resources(stage, 'AWS::CloudWatch::Dashboard')).toHaveLength(1);
});

test('gives a database that is logged in to with IAM no secret, and no way to Secrets Manager', () => {
  const iamUser = { name: 'token_cleanup', resourceId: 'db-ABCDEFGHIJKL01234' };
  const stage = createStage('test', {
    account: '999999999999',
    region: 'eu-central-1',
    vpc: { ...VPC, secretsManagerEndpoint: true },
    databases: {
      auth: { ...DATABASE, cidrs: ['10.0.0.0/16'] },
      reports: { iamUser, host: 'reports.internal', cidrs: ['10.0.0.0/16'] },
    },
  });
  const [auth, reports] = resources(stage, 'AWS::Lambda::Function').map((each) => each.Environment.Variables);

  expect(reports).toMatchObject({ DB_AUTH: 'iam', DB_HOST: 'reports.internal', DB_USER: 'token_cleanup' });
  expect(reports).not.toHaveProperty('DB_SECRET_ARN');
  expect(reports).not.toHaveProperty('AWS_ENDPOINT_URL_SECRETS_MANAGER');
  expect(auth).toMatchObject({ DB_SECRET_ARN: SECRET_ARN, AWS_ENDPOINT_URL_SECRETS_MANAGER: expect.anything() });
  expect(resource(stage, 'AWS::EC2::VPCEndpoint').PolicyDocument.Statement).toHaveLength(1);
  expect(resources(stage, 'AWS::EC2::SecurityGroupIngress')).toHaveLength(1);
  const policies = JSON.stringify(resources(stage, 'AWS::IAM::Policy'));
  expect(policies).toContain(':rds-db:eu-central-1:999999999999:dbuser:db-ABCDEFGHIJKL01234/token_cleanup');
  expect(policies.match(/secretsmanager:GetSecretValue/g)).toHaveLength(1);
  expect(violationsOf(stage)).toEqual([]);
});

test('gives no two databases of any two stages the same names', () => {
  const namesOf = (stage: string, database: string) => {
    const stack = createStage(stage, { databases: { [database]: DATABASE } });
    return [
      resource(stack, 'AWS::Lambda::Function').FunctionName,
      ...resources(stack, 'AWS::CloudWatch::Alarm').map(({ AlarmName }) => AlarmName),
    ];
  };
  const names = [...namesOf('prod', 'eu-auth'), ...namesOf('prod-eu', 'auth')];

  expect(names).toContain('token-cleanup-prod-eu_auth');
  expect(new Set(names).size).toBe(names.length);
});

test.each([
  ['eu-central-1', 'https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1'],
  ['cn-north-1', 'https://cn-north-1.console.amazonaws.cn/cloudwatch/home?region=cn-north-1'],
  ['us-gov-west-1', 'https://us-gov-west-1.console.amazonaws-us-gov.com/cloudwatch/home?region=us-gov-west-1'],
  ['eusc-de-east-1', 'https://eusc-de-east-1.console.amazonaws-eusc.eu/cloudwatch/home?region=eusc-de-east-1'],
  // Only the deployment decides.
  [undefined, '"Fn::FindInMap":["Consoles",{"Ref":"AWS::Partition"}'],
])('links to the console of the partition of %s', (region, address) => {
  const { DashboardUrl } = outputsOf(createStage('test', { ...MINIMAL, ...(region && { region }) }));

  expect(DashboardUrl).toContain(address);
});

test('disables the schedule of a stage that is switched off, and expects no runs of it', () => {
  const stage = createStage('test', { ...MINIMAL, enabled: false });

  expect(resource(stage, 'AWS::Scheduler::Schedule').State).toBe('DISABLED');
  expect(outputsOf(stage).AuthSchedule).toBe('At 03:00 (Etc/UTC), disabled');
  expect(resource(stage, 'AWS::Lambda::Function').Environment.Variables.NODE_ENV).toBe('production');
  expect(resources(stage, 'AWS::CloudWatch::Alarm')).toHaveLength(3);
});

test('hands every setting of the stage to the function and its schedule', () => {
  const stage = createStage('test', {
    nodeEnv: 'staging',
    enabled: true,
    schedule: '15 1 * * *',
    timeZone: 'America/New_York',
    flexibleWindowMinutes: 10,
    timeoutSeconds: 300,
    memoryMb: 512,
    reservedConcurrency: 2,
    tracing: true,
    logRetentionDays: 7,
    databases: {
      auth: {
        ...DATABASE,
        host: 'db.internal',
        port: 6432,
        name: 'tokens',
        sslMode: 'disable',
        targets: [{ table: 'sessions', deleteWhen: [{ revoked: true }] }],
        concurrency: 3,
        maxLoad: 0.75,
        maxRows: 5_000_000,
        maxReplicaLagSeconds: 20,
      },
    },
  });

  expect(resource(stage, 'AWS::Lambda::Function')).toMatchObject({
    Timeout: 300,
    MemorySize: 512,
    ReservedConcurrentExecutions: 2,
    TracingConfig: { Mode: 'Active' },
    Environment: {
      Variables: {
        STAGE: 'test',
        NODE_ENV: 'staging',
        // As it is beside a second database.
        POWERTOOLS_SERVICE_NAME: 'token-cleanup-auth',
        DB_HOST: 'db.internal',
        DB_PORT: '6432',
        DB_NAME: 'tokens',
        DB_SSL_MODE: 'disable',
        CLEANUP_TARGETS: '[{"table":"sessions","deleteWhen":[{"revoked":true}]}]',
        CLEANUP_CONCURRENCY: '3',
        CLEANUP_MAX_LOAD: '0.75',
        CLEANUP_MAX_ROWS: '5000000',
        CLEANUP_MAX_REPLICA_LAG_SECONDS: '20',
      },
    },
  });
  expect(resource(stage, 'AWS::Scheduler::Schedule')).toMatchObject({
    ScheduleExpression: 'cron(15 1 * * ? *)',
    ScheduleExpressionTimezone: 'America/New_York',
    FlexibleTimeWindow: { Mode: 'FLEXIBLE', MaximumWindowInMinutes: 10 },
  });
  expect(resource(stage, 'AWS::Logs::LogGroup')).toMatchObject({ RetentionInDays: 7 });
});

test.each([true, undefined])(
  'connects the function to the VPC of the stage, with addIngressRule %s',
  (addIngressRule) => {
    const auth = { ...DATABASE, securityGroupId: 'sg-0a1b2c3d', addIngressRule };
    const stage = createStage('test', { vpc: VPC, databases: { auth } });

    expect(resource(stage, 'AWS::Lambda::Function').VpcConfig.SubnetIds).toEqual(Object.values(VPC.subnets));
    expect(resource(stage, 'AWS::EC2::SecurityGroup').VpcId).toBe(VPC.vpcId);
    expect(resources(stage, 'AWS::EC2::SecurityGroupIngress')).toMatchObject(
      addIngressRule ? [{ GroupId: 'sg-0a1b2c3d', FromPort: 5432 }] : [],
    );
  },
);

test('creates an endpoint of Secrets Manager that nothing else in the VPC uses', () => {
  const stage = createStage('test', {
    vpc: { ...VPC, secretsManagerEndpoint: true },
    databases: { auth: { ...DATABASE, cidrs: ['10.0.0.0/16'] } },
  });

  expect(resource(stage, 'AWS::EC2::VPCEndpoint')).toMatchObject({
    VpcEndpointType: 'Interface',
    VpcId: VPC.vpcId,
    SubnetIds: Object.values(VPC.subnets),
    PrivateDnsEnabled: false,
  });
  // Neither group has a rule that lets anybody in but the function.
  const ingress = resources(stage, 'AWS::EC2::SecurityGroup').map(({ SecurityGroupIngress }) => SecurityGroupIngress);
  expect(ingress).toEqual([undefined, undefined]);
  expect(resources(stage, 'AWS::EC2::SecurityGroupIngress')).toHaveLength(1);
});

test('makes an encrypted topic that alarms of the account may publish to, over TLS only', () => {
  const stage = createStage('test', { ...MINIMAL, region: 'eu-central-1', account: '999999999999' });
  const cloudWatch = {
    Effect: 'Allow',
    Principal: { Service: 'cloudwatch.amazonaws.com' },
    Condition: { StringEquals: { 'aws:SourceAccount': '999999999999' } },
  };

  expect(resource(stage, 'AWS::SNS::TopicPolicy').PolicyDocument.Statement).toEqual([
    expect.objectContaining({
      Effect: 'Deny',
      Action: 'sns:Publish',
      Principal: '*',
      Condition: { Bool: { 'aws:SecureTransport': 'false' } },
    }),
    expect.objectContaining({ ...cloudWatch, Action: 'sns:Publish' }),
  ]);
  expect(resource(stage, 'AWS::KMS::Key')).toMatchObject({ EnableKeyRotation: true });
  expect(resource(stage, 'AWS::KMS::Key').KeyPolicy.Statement).toContainEqual({
    ...cloudWatch,
    Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
    Resource: '*',
  });
  expect(resource(stage, 'AWS::SNS::Topic').KmsMasterKeyId).toBeDefined();
});

test('sends the alarms to an address', () => {
  const stage = createStage('test', { ...MINIMAL, alarms: { email: 'team@example.com' } });

  expect(resource(stage, 'AWS::SNS::Subscription')).toMatchObject({ Protocol: 'email', Endpoint: 'team@example.com' });
  expect(violationsOf(stage)).toEqual([]);
});

test('takes a topic that there is, and makes none', () => {
  const stage = createStage('test', {
    ...MINIMAL,
    alarms: { topicArn: TOPIC_ARN, rowsRemainingThreshold: 7, unlinkWithinHours: 48 },
  });
  const alarms = resources(stage, 'AWS::CloudWatch::Alarm');

  expect(resources(stage, 'AWS::SNS::Topic')).toEqual([]);
  expect(new Set(alarms.flatMap(({ AlarmActions }) => AlarmActions))).toEqual(new Set([TOPIC_ARN]));
  expect(alarms.find(({ MetricName }) => MetricName === 'RowsRemaining')?.Threshold).toBe(7);
  expect(alarms.find(({ MetricName }) => MetricName === 'HoursUnlinked')?.Threshold).toBe(48);
});

test.each([
  ['new-registry', ['lambda-testevent-schemas']],
  ['existing-registry', []],
] as const)('puts the test events into a %s', (consoleTestEvents, registries) => {
  const stage = createStage('test', { ...MINIMAL, consoleTestEvents });
  const kept = Template.fromStack(stage).findResources('AWS::EventSchemas::Registry', { DeletionPolicy: 'Retain' });

  expect(Object.values(kept).map(({ Properties }) => Properties.RegistryName)).toEqual(registries);
  expect(resources(stage, 'AWS::EventSchemas::Registry')).toHaveLength(registries.length);
  expect(resources(stage, 'AWS::EventSchemas::Schema')).toHaveLength(1);
});

test('has the outputs that a person needs after a deployment', () => {
  const stage = createStage('test', {
    account: '999999999999',
    region: 'eu-central-1',
    schedule: '0 3 1 * 1',
    timeZone: 'Europe/Berlin',
    alarms: { topicArn: TOPIC_ARN },
    databases: { auth: DATABASE, 'audit-log': DATABASE },
  });

  expect(outputsOf(stage)).toEqual({
    AuthFunctionName: '<authFunction93AAB7F4>',
    AuthSchedule: 'At 03:00, on day 1 of the month, and At 03:00, only on Monday (Europe/Berlin)',
    AuditLogFunctionName: '<auditlogFunction573FC075>',
    AuditLogSchedule: 'At 03:00, on day 1 of the month, and At 03:00, only on Monday (Europe/Berlin)',
    AlarmTopicArn: TOPIC_ARN,
    DashboardUrl:
      'https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#dashboards/dashboard/<MonitoringDashboard0C3675C6>',
  });
});

describe('the app', () => {
  test('refuses a stage that there is not, without a stack trace', async () => {
    expect(await runApp({ stage: 'prd' })).toMatchObject({
      code: 1,
      stderr: 'stage must be one of dev, staging, prod, fleet (did you mean prod?), got "prd"\n',
    });
  });

  test('lists all mistakes of the default stage and of the environment', async () => {
    const stages = { dev: { databases: { auth: { secretArn: 'auth' } }, timeoutSeconds: 1000 } };

    expect(await runApp({ stages }, { REFRESH_TOKEN_CLEANUP_CRON: '0 3 31 2 *' })).toMatchObject({
      code: 1,
      stderr:
        'stages.dev.timeoutSeconds must be a whole number from 60 to 900, got 1000\n' +
        'stages.dev.databases.auth.secretArn must be the complete ARN of a secret, got "auth"\n' +
        'REFRESH_TOKEN_CLEANUP_CRON: day of month must exist in one of the months, or the crontab never fires, got "31" in month "2"\n',
    });
  });
});

test('refuses a template at synth that CloudFormation would refuse', () => {
  const stack = createStack(createApp({ validates: true }));
  const role = 'arn:aws:iam::111122223333:role/some';
  const code = { zipFile: '' };
  new CfnFunction(stack, 'Function', { code, handler: 'index.handler', runtime: 'nodejs24.x', role, timeout: 901 });

  expect(() => Template.fromStack(stack)).toThrow(/Timeout: 901 exceeds maximum 900/);
});
