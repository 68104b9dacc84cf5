import { type Stack, TimeZone } from 'aws-cdk-lib';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { readServer } from '../../lambda/fleet/manifest';
import { FLEET_METRICS, RUN_METRICS } from '../../lambda/metrics';
import { given } from '../../lib/given';
import { SslMode } from '../../lib/login';
import { FleetMonitoring } from '../../lib/monitoring/fleet-monitoring';
import type { StageConfig } from '../../lib/stage/stage-schema';
import { TokenCleanupFleet, type TokenCleanupFleetProps } from '../../lib/token-cleanup-fleet';
import {
  CONTEXT,
  createStack,
  createStage,
  flat,
  metricsWatched,
  type Properties,
  resource,
  resources,
  runReadme,
} from '../support/cdk';
import { readmeCode } from '../support/readme';

const FLEET = CONTEXT.stages.fleet as StageConfig;
const TAG = { key: 'token-cleanup', value: 'test' };

function createFleet(props: { [K in keyof TokenCleanupFleetProps]?: TokenCleanupFleetProps[K] | undefined } = {}) {
  const stack = createStack();
  const fleet = new TokenCleanupFleet(stack, 'fleet', given({ stage: 'test', secretTag: TAG, ...props }) as never);
  return { stack, fleet };
}

function definitionOf(stack: Stack): Properties {
  return JSON.parse(flat(resource(stack, 'AWS::StepFunctions::StateMachine').DefinitionString));
}

/** The statements of the policies of a role, by the beginning of its logical id. */
function statementsOf(stack: Stack, role: string): Properties[] {
  return resources(stack, 'AWS::IAM::Policy')
    .filter(({ Roles }) => Roles.some(({ Ref }: Properties) => Ref.startsWith(role)))
    .flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
}

const actionsOf = (stack: Stack, role: string): string[] =>
  statementsOf(stack, role)
    .flatMap(({ Action }) => Action)
    .sort();

test('runs the function on each server of the checked manifest, at most 50 at once, with results in S3', () => {
  const { Servers: map } = definitionOf(createFleet().stack).States;

  expect(map).toMatchObject({
    Type: 'Map',
    Label: 'servers',
    MaxConcurrency: 50,
    ToleratedFailurePercentage: 25,
    ItemReader: { ReaderConfig: { InputType: 'JSONL' }, Parameters: { 'Key.$': '$.manifest' } },
    ItemSelector: { 'server.$': '$$.Map.Item.Value', 'run.$': '$$.Execution.Name', 'request.$': '$.request' },
    ResultWriter: { Parameters: { 'Prefix.$': "States.Format('runs/{}/executions', $$.Execution.Name)" } },
    ResultPath: null,
    Catch: [{ ErrorEquals: ['States.ALL'], ResultPath: '$.failure', Next: 'Sum up' }],
    Next: 'Sum up',
  });
  expect(map.ItemProcessor.ProcessorConfig).toEqual({ Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' });
});

test('reads the off switch before it begins, and before each round on a server', () => {
  const { StartAt, States } = definitionOf(createFleet().stack);
  const { StartAt: first, States: server } = States.Servers.ItemProcessor;

  expect([StartAt, first]).toEqual(['Read the off switch', 'Server: Read the off switch']);
  expect(States['Is it on?'].Choices[0].Next).toBe('Check the manifest');
  expect(States['Switched off'].Output).toMatchObject({
    ...{ status: 'skipped', stage: 'test', dryRun: '{% $states.input.dryRun = true %}', rowsDeleted: 0, durationMs: 0 },
  });
  expect(server['Server: Clean up'].Next).toBe('Server: Keep the result');
  expect(server['Server: Keep the result'].Next).toBe('Server: Is there more?');
  expect(server['Server: Is there more?'].Choices[0].Next).toBe('Server: Read the off switch');
});

test('sums up and announces whatever became of the manifest and the servers, and fails if the run failed', () => {
  const { States } = definitionOf(createFleet().stack);
  const { Next, Arguments } = States['Sum up'];

  expect([States['Check the manifest'].Catch[0].Next, Next, States.Announce.Next]).toEqual([
    ...['Sum up', 'Announce', 'Did it fail?'],
  ]);
  expect(Arguments.Payload).toContain('$request := $states.context.Execution.Input; ');
  expect(Arguments.Payload).toContain("'isWhole': $not($exists($request.tables) or $exists($request.after))");
  expect(States['Did it fail?']).toMatchObject({
    Choices: [{ Condition: "{% $states.input.status = 'failed' %}", Next: 'Failed' }],
    Default: 'Done',
  });
});

test.each([
  // A day, an hour for the delivery, and six for a run that ends with the last server.
  [undefined, 'Etc/UTC', 24 + 1 + 6],
  // The window, and the 15 minutes of a round.
  ['06:00', 'Etc/UTC', 24 + 1 + 3.25],
  ['02:00', 'Etc/UTC', 24 + 1 + 23.25],
  // The clocks of a day in autumn repeat an hour, both of the day and of the window.
  ['06:00', 'Europe/Berlin', 25 + 1 + 4.25],
])('comes to its end as late as its window does: until %s in %s', (continueUntil, zone, hours) => {
  const { fleet } = createFleet({ continueUntil, timeZone: TimeZone.of(zone) });

  expect(fleet.completedWithin?.toMinutes()).toBe(hours * 60);
});

test('lets the function read the secrets with the tag, or log in as the one user, and nothing else', () => {
  const both = statementsOf(createFleet({ iamUserName: 'token_cleanup' }).stack, 'fleetRole');
  const iam = statementsOf(createFleet({ secretTag: undefined, iamUserName: 'token_cleanup' }).stack, 'fleetRole');
  const login = ({ Action }: Properties) => /^(secretsmanager|rds-db|s3|states|events|ssm)/.test(Action);

  expect(both.filter(login).map((statement) => ({ ...statement, Resource: flat(statement.Resource) }))).toEqual([
    {
      Effect: 'Allow',
      Action: 'secretsmanager:GetSecretValue',
      Resource: 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:*',
      Condition: { StringEquals: { 'aws:ResourceTag/token-cleanup': 'test' } },
    },
    {
      Effect: 'Allow',
      Action: 'rds-db:connect',
      Resource: 'arn:aws:rds-db:eu-central-1:111122223333:dbuser:*/token_cleanup',
    },
  ]);
  expect(iam.filter(login).map(({ Action }) => Action)).toEqual(['rds-db:connect']);
});

test('lets the summary write no manifest, and reach no database', () => {
  const { stack } = createFleet();

  expect(actionsOf(stack, 'fleetSummaryRole')).toEqual([
    ...['logs:CreateLogStream', 'logs:PutLogEvents', 's3:GetObject', 's3:ListBucket', 's3:PutObject'],
  ]);
  const writable = statementsOf(stack, 'fleetSummaryRole')
    .find(({ Action }) => Action === 's3:PutObject')
    ?.Resource.map(flat);
  expect(writable.map((arn: string) => arn.split('/').slice(1).join('/'))).toEqual(['memory.json', 'runs/*']);
});

test.each<[string, object, string]>([
  ['no login', { secretTag: undefined }, 'secretTag is required without iamUserName'],
  [
    'IAM over a connection that is not encrypted',
    { iamUserName: 'token_cleanup', sslMode: SslMode.DISABLE },
    'sslMode must be verify-full with iamUserName',
  ],
  ['a user of many names', { iamUserName: '*' }, 'iamUserName must be a name of at most 63 characters'],
  ['rules with mistakes', { targetLists: { a: [{ table: 't' }] } }, 'FLEET_TARGETS.a[0].deleteWhen is required'],
  ['a nodeEnv that looks like test', { nodeEnv: 'tets' }, 'nodeEnv must be exactly test to switch the job off'],
  ['no list', { targetLists: {} }, 'FLEET_TARGETS must have at least one list'],
  ['a pace out of range', { maxLoad: 2 }, 'CLEANUP_MAX_LOAD must be above 0 and at most 1, got "2"'],
])('refuses %s', (_, props, message) => {
  expect(() => createFleet(props)).toThrow(message);
});

test('opens the ports of the servers', () => {
  const { vpc, ...stage } = CONTEXT.stages.prod as StageConfig;
  const { databases: _, consoleTestEvents: __, ...rest } = stage;
  const fleet = { ...FLEET.fleet, ports: [5432, 6432], cidrs: ['10.0.0.0/16'] };
  const stack = createStage('prod', { ...rest, vpc, fleet } as StageConfig);
  const groups = resources(stack, 'AWS::EC2::SecurityGroup');

  const egress = groups.flatMap(({ SecurityGroupEgress = [] }) => SecurityGroupEgress);
  expect(egress.filter(({ CidrIp }) => CidrIp === '10.0.0.0/16').map(({ FromPort }) => FromPort)).toEqual([5432, 6432]);
});

test('is the same number of resources whatever the manifest holds, and has no metric by database', () => {
  const stack = createStage('fleet', FLEET);
  const dimensions = 'service=token-cleanup-fleet stage=fleet';

  expect(resources(stack, 'AWS::Lambda::Function')).toHaveLength(2);
  const alarms = resources(stack, 'AWS::CloudWatch::Alarm').map(({ AlarmName }) => AlarmName);
  const names = ['backlog-grows', 'database-not-swept', 'dead-letters', 'failed-run', 'no-run'];
  expect(alarms.sort()).toEqual(names.map((name) => `token-cleanup-fleet_fleet-${name}`));
  expect(metricsWatched(stack, 'TokenCleanup')).toEqual(
    [...Object.values(RUN_METRICS), ...Object.values(FLEET_METRICS)].map((name) => `${name} ${dimensions}`).sort(),
  );
});

test('has buttons that start and stop the state machine, and list the runs on the whole fleet', () => {
  const stack = createStage('fleet', { ...FLEET, dashboardButtons: true });
  const widget = resources(stack, 'AWS::Lambda::Function').find(({ Environment }) => Environment.Variables.CLEANUPS);

  expect(JSON.parse(flat(widget?.Environment.Variables.CLEANUPS))).toMatchObject([
    { name: 'fleet', isFleet: true, stateMachineArn: expect.stringContaining('fleetWorkflow') },
  ]);
  expect(actionsOf(stack, 'MonitoringRunsRole')).toEqual([
    ...['logs:CreateLogStream', 'logs:FilterLogEvents', 'logs:PutLogEvents'],
    ...['states:ListExecutions', 'states:StartExecution', 'states:StopExecution'],
  ]);
});

test('refuses a metric that no run emits', () => {
  expect(() => createFleet().fleet.metric('Database')).toThrow(
    /^metricName must be one of Succeeded, .*got "Database"$/,
  );
});

describe('the documents', () => {
  test('show a server that the manifest takes', () => {
    expect(readServer(JSON.parse(readmeCode('json', '## A fleet')), ['tokens'])).toMatchObject({ name: 'eu-1' });
  });

  test('show an app that synthesizes', () => {
    expect(runReadme<TokenCleanupFleet>('## A fleet', 'fleet').scheduleInWords).toBe('At 03:00 (Etc/UTC)');
  });
});

test('can be watched by a topic of anybody', () => {
  const { stack, fleet } = createFleet({ enabled: false });
  const { alarms } = new FleetMonitoring(stack, 'Monitoring', { fleet, topic: new Topic(stack, 'Topic') });

  // Without a schedule nobody expects runs.
  expect(alarms.map(({ node }) => node.id)).toEqual(['Alarm-failed-run', 'Alarm-dead-letters']);
});
