import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { readConfig } from '../../lambda/configuration/environment';
import { exampleFields, readStage } from '../../lib/stage/stage-config';
import { CONTEXT, createDirectory, type Properties, SECRET_ARN } from '../support/cdk';

const DATABASE = { secretArn: SECRET_ARN };
const IAM_USER = { name: 'token_cleanup', resourceId: 'db-ABCDEFGHIJKL01234' };
const STAGE = { databases: { auth: DATABASE } };
const FLEET = { secretTag: { key: 'token-cleanup', value: 'prod' } };
const VPC = { vpcId: 'vpc-0a1b2c3d', subnets: { 'eu-central-1a': 'subnet-0a1b2c3d' } };

function mistakesOf(read: () => unknown): string[] {
  try {
    read();
    return [];
  } catch (error) {
    return (error as Error).message.split('\n');
  }
}

const mistakes = (stage: unknown, crontab?: string) => mistakesOf(() => readStage({ prod: stage }, 'prod', crontab));

test.each(Object.keys(CONTEXT.stages))('takes the stage %s of cdk.json as it stands', (name) => {
  expect(readStage(CONTEXT.stages, name)).toEqual(CONTEXT.stages[name]);
});

const IN_VPC = { ...DATABASE, cidrs: ['10.0.0.0/8'] };
const WITH_IAM = { host: 'db.internal', iamUser: IAM_USER };

test.each<[string, Properties]>([
  ['nothing but a secret', STAGE],
  ...['db-ABCDEFGHIJKL01234', 'cluster-ABCDEFGHIJKL01234', 'prx-0a1b2c3d4e5f67890'].map(
    (resourceId): [string, Properties] => [
      `a login to ${resourceId}`,
      { databases: { auth: { ...WITH_IAM, iamUser: { ...IAM_USER, resourceId } } } },
    ],
  ),
  [
    'an endpoint for one of two databases',
    {
      vpc: { ...VPC, secretsManagerEndpoint: true },
      databases: { auth: { ...WITH_IAM, cidrs: ['10.0.0.0/8'] }, audit: IN_VPC },
    },
  ],
  ...['eu-central-1', 'cn-north-1', 'us-gov-west-1', 'eusc-de-east-1', 'ap-southeast-7'].map(
    (region): [string, Properties] => [
      region,
      {
        region,
        vpc: { ...VPC, subnets: { [`${region}a`]: 'subnet-0a1b2c3d' } },
        databases: { auth: { ...IN_VPC, secretArn: SECRET_ARN.replace('eu-central-1', region) } },
      },
    ],
  ),
  ['a fleet with a tag', { fleet: FLEET }],
  ['a fleet with a user', { fleet: { iamUser: 'token_cleanup' } }],
])('accepts a stage with %s', (_, stage) => {
  expect(mistakes(stage)).toEqual([]);
});

test('lists all mistakes at once, each with its path, its rule and the value', () => {
  const stage = {
    ...STAGE,
    schedule: '0 3 30 2 *',
    timeoutSeconds: 901,
    vpc: { ...VPC, subnet: 'subnet-0a1b2c3d' },
    databases: {
      auth: { secretArn: 'auth', targets: [{ table: 'refresh_tokens', deleteWhen: [{}] }] },
      Audit: { ...DATABASE, cidrs: ['10.0.0.0/8'] },
    },
  };

  expect(mistakes(stage, '0 24 * * *').sort()).toEqual([
    'REFRESH_TOKEN_CLEANUP_CRON: hour must be 0 to 23, got "24"',
    'stages.prod.databases.Audit must have a name of lower-case words joined by hyphens',
    'stages.prod.databases.auth must have either securityGroupId or cidrs, since the stage has a vpc, got {"secretArn":"auth","targets":[{"table":"refresh_tokens","deleteWhen":[{}]}]}',
    'stages.prod.databases.auth.secretArn must be the complete ARN of a secret, got "auth"',
    'stages.prod.databases.auth.targets[0].deleteWhen[0] must name at least one column, or it would match every row, got {}',
    'stages.prod.schedule: day of month must exist in one of the months, or the crontab never fires, got "30" in month "2"',
    'stages.prod.timeoutSeconds must be a whole number from 60 to 900, got 901',
    'stages.prod.vpc.subnet is not a known key (did you mean subnets?)',
  ]);
});

const RESOURCE_ID_RULE = 'must be a resource id, which begins with db-, cluster- or prx-, and not a name';
const ENCRYPTED_WITH_IAM =
  'must be verify-full with iamUser: anyone who reads a token off the network can log in with it';

test.each<[string, unknown, string]>([
  ['account', '1111-2222-3333', 'must be an account of 12 digits'],
  ['region', 'Frankfurt', 'must be a region such as eu-central-1'],
  ['nodeEnv', '', 'must not be empty'],
  ...['Test', 'TEST', 'testing', 'test ', 'tets', 'tes', 'ttest'].map((name): [string, unknown, string] => [
    'nodeEnv',
    name,
    'must be exactly test to switch the job off, or a name that does not look like it',
  ]),
  ['schedule', 3, 'must be a crontab'],
  ['timeZone', 'Mars/Phobos', 'must be a time zone of the IANA database'],
  ['timeZone', 'europe/berlin', 'must be a time zone of the IANA database (did you mean Europe/Berlin?)'],
  ['timeZone', 'Europe/berlin', 'must be a time zone of the IANA database (did you mean Europe/Berlin?)'],
  ['timeZone', 'Europe/Berln', 'must be a time zone of the IANA database (did you mean Europe/Berlin?)'],
  ['timeZone', '+02:00', 'must be a time zone of the IANA database'],
  ['flexibleWindowMinutes', 1441, 'must be a whole number from 1 to 1440'],
  ['timeoutSeconds', 59, 'must be a whole number from 60 to 900'],
  ['memoryMb', 127, 'must be a whole number from 128 to 10240'],
  ['reservedConcurrency', 0, 'must be a whole number from 1 to 1000'],
  ['tracing', 'yes', 'must be true or false'],
  ['consoleTestEvents', true, 'must be new-registry or existing-registry'],
  ['runbookUrl', 'README.md', 'must be an address that begins with https://'],
  ['vpc', true, 'must be an object'],
  ['vpc.vpcId', 'vpc-main', 'must be the id of a VPC'],
  ['vpc.subnets', {}, 'must name at least one subnet'],
  ['vpc.subnets', ['subnet-0a1b2c3d'], 'must be an object of availability zones and subnets'],
  ['vpc.subnets.eu-central-1a', 'main', 'must be the id of a subnet'],
  ['vpc.secretsManagerEndpoint', 'yes', 'must be true or false'],
  ['alarms', 'team@example.com', 'must be an object'],
  ['alarms.email', 'the team', 'must be an e-mail address'],
  ['alarms.topicArn', 'oncall', 'must be the ARN of an SNS topic'],
  ['alarms.rowsRemainingThreshold', -1, 'must be a whole number from 0 to 1000000000'],
  ['alarms.unlinkWithinHours', 0, 'must be a whole number from 1 to 8760'],
  ['databases', {}, 'must name at least one database'],
  ['databases.auth', SECRET_ARN, 'must be an object'],
  ['databases.auth.secretArn', SECRET_ARN.slice(0, -7), 'must be the complete ARN of a secret'],
  ['databases.auth.secretArn', SECRET_ARN.replace('secretsmanager', 'ssm'), 'must be the complete ARN of a secret'],
  ['databases.auth.encryptionKeyArn', 'alias/auth', 'must be the ARN of a KMS key'],
  ['databases.auth.iamUser', 'token_cleanup', 'must be an object'],
  ['databases.auth.iamUser.name', 'token_*', 'must be a name of at most 63 characters, without spaces, *, ?, $ and /'],
  ['databases.auth.iamUser.resourceId', 'db-production', RESOURCE_ID_RULE],
  ['databases.auth.iamUser.resourceId', 'db-*', RESOURCE_ID_RULE],
  ['databases.auth.host', 'db.internal:5432', 'must be a host name, without a port'],
  ['databases.auth.port', '5432', 'must be a whole number from 1 to 65535'],
  ['databases.auth.sslMode', 'prefer', 'must be verify-full or disable'],
  ['databases.auth.rootCertificates', 'no-such.pem', 'must be a readable PEM file'],
  ['databases.auth.rootCertificates', 'package.json', 'must be a readable PEM file'],
  ['databases.auth.securityGroupId', 'default', 'must be the id of a security group'],
  ['databases.auth.cidrs', [], 'must not be empty'],
  ['databases.auth.cidrs', '10.0.0.0/8', 'must be a list'],
  ['databases.auth.concurrency', 17, 'must be a whole number from 1 to 16'],
  ['databases.auth.maxLoad', 0, 'must be above 0 and at most 1'],
  ['databases.auth.maxRows', 0.5, 'must be a whole number from 1 to 1000000000000'],
  ['databases.auth.maxReplicaLagSeconds', 0, 'must be a whole number from 1 to 86400'],
  ['databases.auth.targets', [], 'must name at least one table'],
])('refuses %s %j', (path, value, rule) => {
  const peer = path.endsWith('cidrs') || path.endsWith('securityGroupId') ? {} : { cidrs: ['10.0.0.0/8'] };
  const stage = { vpc: VPC, databases: { auth: { ...DATABASE, ...peer } } };

  expect(mistakes(set(stage, path.split('.'), value))).toContain(
    `stages.prod.${path} ${rule}, got ${JSON.stringify(value)}`,
  );
});

test('refuses a retention that CloudWatch does not offer, and lists those that it offers', () => {
  const offered = Object.values(RetentionDays).filter(
    (days) => typeof days === 'number' && days !== RetentionDays.INFINITE,
  );

  expect(mistakes({ ...STAGE, logRetentionDays: 8 })).toEqual([
    `stages.prod.logRetentionDays must be one of ${offered.join(', ')}, got 8`,
  ]);
});

test.each<[Properties, ...string[]]>([
  [
    { alarms: { email: 'a@b.de', topicArn: 'arn:aws:sns:eu-central-1:111122223333:oncall' } },
    'alarms.email must not be set together with topicArn, whose subscribers get the alarms, got "a@b.de"',
  ],
  [{ region: 'us-east-1' }, `databases.auth.secretArn must be in the stage's region us-east-1, got "${SECRET_ARN}"`],
  [
    { region: 'eu-central-1', alarms: { topicArn: 'arn:aws:sns:us-east-1:111122223333:oncall' } },
    `alarms.topicArn must be in the stage's region eu-central-1, got "arn:aws:sns:us-east-1:111122223333:oncall"`,
  ],
  [
    {
      region: 'eu-central-1',
      vpc: { ...VPC, subnets: { 'eu-west-1a': 'subnet-0a1b2c3d' } },
      databases: { auth: IN_VPC },
    },
    'vpc.subnets.eu-west-1a must be under an availability zone such as eu-central-1a, got "subnet-0a1b2c3d"',
  ],
  [
    { vpc: VPC },
    `databases.auth must have either securityGroupId or cidrs, since the stage has a vpc, got {"secretArn":"${SECRET_ARN}"}`,
  ],
  [
    { databases: { auth: { ...DATABASE, securityGroupId: 'sg-0a1b2c3d' } } },
    'databases.auth.securityGroupId must not be set if the stage has no vpc, got "sg-0a1b2c3d"',
  ],
  [{ databases: { auth: { host: 'db.internal' } } }, 'databases.auth.secretArn is required without iamUser'],
  [
    { databases: { auth: { ...WITH_IAM, ...DATABASE } } },
    `databases.auth.secretArn must not be set with iamUser, which needs no secret, got "${SECRET_ARN}"`,
  ],
  [
    { databases: { auth: { ...WITH_IAM, encryptionKeyArn: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd' } } },
    'databases.auth.encryptionKeyArn must not be set without secretArn, got "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"',
  ],
  [{ databases: { auth: { iamUser: IAM_USER } } }, 'databases.auth.host is required with iamUser'],
  [
    { databases: { auth: { ...WITH_IAM, sslMode: 'disable' } } },
    `databases.auth.sslMode ${ENCRYPTED_WITH_IAM}, got "disable"`,
  ],
  [
    {
      vpc: { ...VPC, secretsManagerEndpoint: true },
      databases: { auth: { ...WITH_IAM, cidrs: ['10.0.0.0/8'] } },
    },
    'vpc.secretsManagerEndpoint must not be set if no database has a secret, got true',
  ],
  [
    { vpc: VPC, databases: { auth: { ...IN_VPC, addIngressRule: true } } },
    'databases.auth.addIngressRule must not be set without securityGroupId, which gets the rule, got true',
  ],
  [{ databases: undefined, fleet: {} }, 'fleet.secretTag is required without iamUser'],
  [{ fleet: FLEET }, expect.stringMatching('must have either databases or fleet, got ')],
  [
    { databases: undefined, fleet: FLEET, vpc: VPC },
    expect.stringMatching('^fleet must have either securityGroupId or cidrs'),
  ],
  [
    {
      databases: undefined,
      fleet: FLEET,
      events: true,
      consoleTestEvents: 'existing-registry',
      alarms: { unlinkWithinHours: 1, rowsRemainingThreshold: 1 },
    },
    'consoleTestEvents must not be set on a stage with a fleet, got "existing-registry"',
    'events must not be set on a stage with a fleet, got true',
    'alarms.rowsRemainingThreshold must not be set on a stage with a fleet, got 1',
    'alarms.unlinkWithinHours must not be set on a stage with a fleet, got 1',
  ],
  [
    { databases: undefined, fleet: FLEET, reservedConcurrency: 10 },
    'reservedConcurrency must be at least fleet.serversAtOnce, which is 50, got 10',
  ],
  [
    {
      databases: undefined,
      fleet: {
        ...{ secretTag: { key: 'a' }, iamUser: '*', ports: [0], targets: { Tokens: [] } },
        ...{ serversAtOnce: 0, sslMode: 'disable' },
      },
    },
    'fleet.targets.Tokens must have a name of lower-case words joined by hyphens',
    'fleet.iamUser must be a name of at most 63 characters, without spaces, *, ?, $ and /, got "*"',
    'fleet.secretTag.value is required',
    'fleet.ports[0] must be a whole number from 1 to 65535, got 0',
    'fleet.serversAtOnce must be a whole number from 1 to 1000, got 0',
    `fleet.sslMode ${ENCRYPTED_WITH_IAM}, got "disable"`,
  ],
])('refuses %j', (part, ...messages) => {
  expect(mistakes({ ...STAGE, ...part }).map((mistake) => mistake.replace(/^stages\.prod\.?/, ''))).toEqual(messages);
});

test('refuses certificates for a connection that is not encrypted', () => {
  const rootCertificates = join(createDirectory(), 'roots.pem');
  writeFileSync(rootCertificates, '-----BEGIN CERTIFICATE-----');

  expect(mistakes({ databases: { auth: { ...DATABASE, rootCertificates } } })).toEqual([]);
  expect(mistakes({ databases: { auth: { ...DATABASE, rootCertificates, sslMode: 'disable' } } })).toEqual([
    `stages.prod.databases.auth.rootCertificates must not be set if sslMode is disable, got "${rootCertificates}"`,
  ]);
});

test.each([
  ['memroyMb', 'stages.prod.memroyMb is not a known key (did you mean memoryMb?)'],
  ['databases.auth.secretARN', 'stages.prod.databases.auth.secretARN is not a known key (did you mean secretArn?)'],
  [
    'databases.auth.targets.0.deleteWhn',
    'stages.prod.databases.auth.targets[0].deleteWhn is not a known key (did you mean deleteWhen?)',
  ],
  ['environment', 'stages.prod.environment is not a known key'],
])('suggests a key for %s where there is one that is like it', (path, message) => {
  const targets = [{ table: 'refresh_tokens', deleteWhen: [{ revoked: true }] }];

  expect(mistakes(set({ databases: { auth: { ...DATABASE, targets } } }, path.split('.'), 1))).toEqual([message]);
});

const TOO_LONG = 'pre-production-of-the-east';

test.each<[string, unknown, string]>([
  ['prd', CONTEXT.stages, 'stage must be one of dev, staging, prod, fleet (did you mean prod?), got "prd"'],
  ['toString', CONTEXT.stages, 'stage must be one of dev, staging, prod, fleet, got "toString"'],
  ...[undefined, {}, [], 'prod'].map((stages): [string, unknown, string] => [
    'dev',
    stages,
    'stages in the context of cdk.json must be an object of names and stages',
  ]),
  [
    TOO_LONG,
    { [TOO_LONG]: STAGE },
    `the name of stages.${TOO_LONG} must be at most 20 lower-case letters, digits and hyphens`,
  ],
])('does not find the stage %s in %j', (name, stages, message) => {
  expect(() => readStage(stages, name)).toThrow(new Error(message));
});

test('lets the crontab of the environment win over that of the stage', () => {
  const stages = { prod: { ...STAGE, schedule: '0 3 * * *' } };

  expect(readStage(stages, 'prod').schedule).toBe('0 3 * * *');
  expect(readStage(stages, 'prod', '30 4 * * 1').schedule).toBe('30 4 * * 1');
});

test('refuses an empty crontab in the environment', () => {
  expect(mistakes(STAGE, '')).toEqual([
    'REFRESH_TOKEN_CLEANUP_CRON: crontab must be five fields (minute, hour, day of month, month, day of week; no seconds, no year), got 0 in ""',
  ]);
});

// The ranges stand in two places, because the function must not trust its environment either.
test.each<[string, string, number[]]>([
  ['port', 'DB_PORT', [0, 1, 65_535, 65_536, 1.5]],
  ['concurrency', 'CLEANUP_CONCURRENCY', [0, 1, 16, 17, 1.5]],
  ['maxLoad', 'CLEANUP_MAX_LOAD', [0, 0.01, 1, 1.01]],
  ['maxRows', 'CLEANUP_MAX_ROWS', [0, 1, 1_000_000_000_000, 1_000_000_000_001, 1.5]],
  ['maxReplicaLagSeconds', 'CLEANUP_MAX_REPLICA_LAG_SECONDS', [0, 1, 86_400, 86_401]],
])('takes the values for %s that the function takes for %s', (key, variable, values) => {
  const isTaken = (read: () => unknown) => mistakesOf(read).length === 0;
  const stageOf = (value: number) => ({ prod: { databases: { auth: { ...DATABASE, [key]: value } } } });
  const takenHere = values.filter((value) => isTaken(() => readStage(stageOf(value), 'prod')));
  const takenThere = values.filter((value) =>
    isTaken(() => readConfig({ DB_SECRET_ARN: SECRET_ARN, [variable]: String(value) })),
  );

  expect(takenHere).toEqual(takenThere);
  expect(takenHere.length).toBe(2);
});

test.each<[Properties, Properties, boolean]>([
  [{ account: '111122223333', region: 'eu-west-1' }, { account: '111122223333', region: 'eu-west-1' }, true],
  [{ account: '111122223333' }, { account: '111122223333', region: 'eu-west-1' }, true],
  [{}, {}, true],
  [{ account: '111122223333' }, { account: '444455556666' }, false],
  [{ region: 'eu-west-1' }, { region: 'eu-central-1' }, false],
])('lets one stage create the registry of test events in an account and region: %j and %j', (one, other, clash) => {
  const secretArn = SECRET_ARN.replace('eu-central-1', one.region ?? 'eu-central-1');
  const stages = {
    prod: { databases: { auth: { secretArn } }, ...one, consoleTestEvents: 'new-registry' },
    dev: { ...STAGE, ...other, consoleTestEvents: 'new-registry' },
    staging: { ...STAGE, consoleTestEvents: 'existing-registry' },
  };

  expect(mistakesOf(() => readStage(stages, 'prod'))).toEqual(
    clash
      ? [
          'stages.prod.consoleTestEvents must be existing-registry, since stages.dev creates the registry in what may be the ' +
            'same account and region, got "new-registry"',
        ]
      : [],
  );
});

test('finds the fields that still hold examples', () => {
  const stage = {
    account: '111122223333',
    region: 'eu-central-1',
    vpc: { vpcId: 'vpc-0123456789abcdef0', subnets: { 'eu-central-1a': 'subnet-0a1b2c3d' } },
    alarms: { email: 'team@example.com' },
    databases: {
      auth: { secretArn: SECRET_ARN, host: 'auth.db.example.com', cidrs: ['10.0.0.0/16'] },
      reports: { iamUser: IAM_USER, host: 'reports.internal', cidrs: ['10.0.0.0/16'] },
    },
  };

  expect(exampleFields(stage, 'stages.prod')).toEqual([
    'stages.prod.account',
    'stages.prod.vpc.vpcId',
    'stages.prod.alarms.email',
    'stages.prod.databases.auth.secretArn',
    'stages.prod.databases.auth.host',
    'stages.prod.databases.reports.iamUser.resourceId',
  ]);
});

/** A copy in which one value is another. */
function set(value: Properties, [key = '', ...rest]: string[], replacement: unknown): Properties {
  const copy = structuredClone(value);
  copy[key] = rest.length === 0 ? replacement : set(copy[key] ?? {}, rest, replacement);
  return copy;
}
