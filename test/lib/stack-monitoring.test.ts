import { readFileSync } from 'node:fs';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { Duration, type Stack, TimeZone } from 'aws-cdk-lib';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { identityOf, readConfig } from '../../lambda/configuration/environment';
import { emitReport, METRIC_NAMESPACE } from '../../lambda/metrics';
import { Monitoring, type MonitoringProps } from '../../lib/monitoring/monitoring';
import type { StageConfig } from '../../lib/stage/stage-schema';
import {
  type CleanupOverrides,
  CONTEXT,
  createCleanup,
  createStack,
  createStage,
  dashboardOf,
  flat,
  metricsWatched,
  type Properties,
  resources,
  warningsOf,
} from '../support/cdk';
import { linesOf, metricsIn } from '../support/metrics';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const RUNBOOK = `https://github.com/token-cleanup/token-cleanup/blob/v${version}/lib/RUNBOOK.md`;

/** The construct and its monitoring, in a stack of their own. */
function monitor(props: CleanupOverrides = {}, monitoring: Partial<MonitoringProps> = {}): Stack {
  const stack = createStack();
  const cleanup = createCleanup({ functionName: 'token-cleanup-test-auth', ...props }, stack);
  const topic = Topic.fromTopicArn(stack, 'Topic', 'arn:aws:sns:eu-central-1:111122223333:oncall');
  new Monitoring(stack, 'Monitoring', { cleanups: [cleanup], topic, ...monitoring });
  return stack;
}

function alarm(stack: Stack, name: string): Properties | undefined {
  return resources(stack, 'AWS::CloudWatch::Alarm').find(
    (each) => each.AlarmName === `token-cleanup-test-auth-${name}`,
  );
}

/** What the function with this environment emits of a run. */
function emittedWith(environment: Record<string, string>): string[] {
  const { stage, service } = identityOf(environment);
  const written: string[] = [];
  const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  try {
    emitReport(new Metrics({ namespace: METRIC_NAMESPACE, serviceName: service }), {
      status: 'succeeded',
      stage,
      dryRun: false,
      rowsDeleted: 1,
      durationMs: 1,
      targets: readConfig(environment).targets.map((target) => ({
        table: target.name,
        status: 'succeeded',
        rowsDeleted: 1,
        rowsRemaining: 0,
        erasure: { deleted: true, unreadable: true, unlinked: false, hoursUnlinked: 1.5 },
        batches: 1,
        longestBatchMs: 1,
        durationMs: 1,
      })),
    });
  } finally {
    write.mockRestore();
  }
  return Object.keys(metricsIn(linesOf(written.join('')))).sort();
}

const STAGES = Object.keys(CONTEXT.stages).filter((name) => CONTEXT.stages[name]?.databases);

test.each(STAGES)('watches and shows exactly what the functions of the stage %s emit', (name) => {
  const stage = createStage(name);
  // The one behind the buttons of the dashboard has no stage, and emits nothing.
  const emitted = resources(stage, 'AWS::Lambda::Function').flatMap(({ Environment: { Variables } }) =>
    Variables.STAGE === undefined ? [] : emittedWith(Variables),
  );

  expect(metricsWatched(stage, METRIC_NAMESPACE)).toEqual(emitted.sort());
});

test.each<[string, object]>([
  // A run of only some tables does not end it: it lasts until the next run of all tables is due.
  ['failed-run', { MetricName: 'Failed', Statistic: 'Maximum', Period: 26 * 3600 }],
  [
    'function-error-or-timeout',
    {
      ...{ Namespace: 'AWS/Lambda', MetricName: 'Errors', Statistic: 'Sum' },
      Dimensions: [{ Name: 'FunctionName', Value: { Ref: 'authFunction93AAB7F4' } }],
      // Lambda dates an error at the start of the invocation, which may last 15 minutes.
      Period: 3600,
    },
  ],
  [
    'dead-letters',
    {
      ...{ Namespace: 'AWS/SQS', MetricName: 'ApproximateNumberOfMessagesVisible', Statistic: 'Maximum' },
      Dimensions: [{ Name: 'QueueName', Value: { 'Fn::GetAtt': ['authDeadLetterQueue29459ACC', 'QueueName'] } }],
    },
  ],
])('goes off at the first data point of %s, and keeps its state without data', (name, expected) => {
  expect(alarm(monitor(), name)).toMatchObject({
    ComparisonOperator: 'GreaterThanOrEqualToThreshold',
    Threshold: 1,
    EvaluationPeriods: 1,
    TreatMissingData: 'ignore',
    ...expected,
  });
});

test('describes what happened, where to look, and where to read more', () => {
  expect(alarm(monitor(), 'failed-run')?.AlarmDescription).toBe(
    'Token cleanup of auth (test): A run failed, as a whole or for at least one table. Look first at: The errors in the ' +
      'log, which the dashboard lists: they name the table and the reason. More: ' +
      `${RUNBOOK}#alarm-failed-run`,
  );
});

test.each<[string, string, number]>([
  ['0 3 * * *', 'Etc/UTC', 27],
  ['0 3 * * *', 'Europe/Berlin', 28],
  ['0 * * * *', 'Etc/UTC', 4],
  ['0 3 * * 1-5', 'Etc/UTC', 75],
  ['0 3 */6 * *', 'Etc/UTC', 147],
])('misses a successful run of %s in %s after %d hours, be there data or none', (schedule, zone, hours) => {
  const stack = monitor({ schedule, timeZone: TimeZone.of(zone) });

  expect(alarm(stack, 'no-successful-run')).toMatchObject({
    MetricName: 'Succeeded',
    Statistic: 'Sum',
    ComparisonOperator: 'LessThanThreshold',
    Threshold: 1,
    Period: 3600,
    EvaluationPeriods: hours,
    TreatMissingData: 'breaching',
  });
  expect(hours).toBeLessThanOrEqual(7 * 24);
});

test('counts partial runs as successes if rows may remain', () => {
  const { Metrics: metrics, ...rest } = alarm(monitor({}, { rowsRemainingThreshold: 1 }), 'no-successful-run') ?? {};

  expect(rest).toMatchObject({ Threshold: 1, EvaluationPeriods: 27, TreatMissingData: 'breaching' });
  const hourly = { MetricStat: { Period: 3600, Stat: 'Sum' }, ReturnData: false };
  expect(metrics).toMatchObject([
    { Expression: 'succeeded + partial' },
    { Id: 'succeeded', ...hourly },
    { Id: 'partial', ...hourly },
  ]);
});

test.each(['@weekly', '@monthly'])('warns that no alarm detects missing runs that are %s', (schedule) => {
  const stack = monitor({ schedule });
  const hours = schedule === '@weekly' ? 171 : 747;

  expect(alarm(stack, 'no-successful-run')).toBeUndefined();
  expect(warningsOf(stack)).toEqual([
    expect.stringMatching(
      `^/Test/auth: no alarm detects missing runs of auth: .* leaves up to ${hours} hours between two successes, and CloudWatch looks back 168 at most`,
    ),
  ]);
});

test('expects no runs if the job is switched off', () => {
  const stack = monitor({ nodeEnv: 'test' });

  expect(
    resources(stack, 'AWS::CloudWatch::Alarm')
      .map(({ AlarmName }) => AlarmName.slice(24))
      .sort(),
  ).toEqual(['dead-letters', 'failed-run', 'function-error-or-timeout']);
});

test.each<[string, number, number]>([
  ['0 * * * *', 3, 3],
  ['0 3 * * *', 26, 3],
  ['0 3 * * 1-5', 74, 2],
  ['@weekly', 168, 1],
  ['@monthly', 168, 1],
])('goes off when every run of %s falls short, for %d hours, %d times', (schedule, hours, times) => {
  const stack = monitor({ schedule }, { rowsRemainingThreshold: 1_000_000 });
  const inARow = { EvaluationPeriods: times, TreatMissingData: 'ignore' };
  const ofARun = (MetricName: string) => ({
    MetricStat: { Metric: { MetricName }, Period: hours * 3600, Stat: 'Maximum' },
  });

  expect(hours * times).toBeLessThanOrEqual(7 * 24);
  expect(alarm(stack, 'rows-remain-refresh_tokens')).toMatchObject({
    ...inARow,
    MetricName: 'RowsRemaining',
    // A later run of the same hours that got to the end calls it off.
    Statistic: 'Minimum',
    ComparisonOperator: 'GreaterThanThreshold',
    Threshold: 1_000_000,
    Period: hours * 3600,
  });
  expect(alarm(stack, 'cut-short-refresh_tokens')).toMatchObject({
    ...inARow,
    Threshold: 1,
    Metrics: [
      // A run that left only blocked rows has counted them, and a run that finished is not partial.
      { Expression: 'IF(partial > 0 AND FILL(remaining, -1) < 0, 1, 0)' },
      { Id: 'partial', ...ofARun('Partial') },
      { Id: 'remaining', ...ofARun('RowsRemaining') },
    ],
  });
  expect(alarm(stack, 'skipped-runs')).toMatchObject({
    ...inARow,
    Threshold: 1,
    ComparisonOperator: 'GreaterThanOrEqualToThreshold',
    Metrics: [
      // A run of some tables that succeeded is 0 in all of them, and does not count as a run that was not skipped.
      { Expression: 'IF(skipped > 0 AND succeeded + partial + failed < 1, 1, 0)' },
      ...['Skipped', 'Succeeded', 'Partial', 'Failed'].map(ofARun),
    ],
  });
});

test('watches the rows of each table separately, and tolerates none unless some may remain', () => {
  const targets = ['refresh_tokens', 'sessions'].map((table) => ({ table, deleteWhen: [{ revoked: true }] }));
  const stack = monitor({ targets });

  for (const { table } of targets) {
    const dimensions = { service: 'token-cleanup', stage: 'test', table };
    expect(alarm(stack, `rows-remain-${table}`)).toMatchObject({
      Threshold: 0,
      Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
    });
  }
});

describe('an alarm for deleted rows that are not unlinked, if a limit is set', () => {
  test.each([
    [36, { Threshold: 36, EvaluationPeriods: 1 }],
    [72, { Threshold: 46, EvaluationPeriods: 2 }],
    [24 * 365, { Threshold: 24 * 365 - 5 * 26, EvaluationPeriods: 6 }],
  ])('goes off when no run within %s hours found them unlinked', (hours, expected) => {
    expect(alarm(monitor({}, { unlinkWithin: Duration.hours(hours) }), 'not-unlinked-refresh_tokens')).toMatchObject({
      MetricName: 'HoursUnlinked',
      Statistic: 'Minimum',
      ComparisonOperator: 'GreaterThanThreshold',
      Period: 26 * 3600,
      TreatMissingData: 'breaching',
      ...expected,
    });
  });

  test('keeps its state without a schedule', () => {
    const stack = monitor({ enabled: false }, { unlinkWithin: Duration.hours(36) });
    expect(alarm(stack, 'not-unlinked-refresh_tokens')).toMatchObject({ TreatMissingData: 'ignore' });
  });
});

test('links each alarm to its heading in the runbook of this version', () => {
  const dev: StageConfig = { ...(CONTEXT.stages.dev as StageConfig), alarms: { unlinkWithinHours: 24 } };
  const everyAlarm = [
    createStage('dev', dev),
    createStage('dev', { ...dev, continueUntil: '06:00' }),
    createStage('fleet'),
  ].flatMap((stage) => resources(stage, 'AWS::CloudWatch::Alarm'));
  const descriptions: string[] = everyAlarm.map(({ AlarmDescription }) => AlarmDescription);
  const links = descriptions.map((text) => / More: (\S+)$/.exec(text)?.[1]?.split('#') ?? []);
  const anchors = [...readFileSync('lib/RUNBOOK.md', 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  );

  expect(new Set(links.map(([url]) => url))).toEqual(new Set([RUNBOOK]));
  expect([...new Set(links.map(([, anchor]) => anchor))].sort()).toEqual(
    anchors.filter((anchor) => anchor.startsWith('alarm-')).sort(),
  );
});

test('links alarms to another document if one is configured', () => {
  const stack = monitor({}, { runbookUrl: 'https://wiki.example.com/token-cleanup' });

  expect(alarm(stack, 'failed-run')?.AlarmDescription).toMatch(
    / More: https:\/\/wiki\.example\.com\/token-cleanup#alarm-failed-run$/,
  );
});

test('shows the alarms, the tables and outcomes of each database, and the last failures', () => {
  const stage = createStage('prod');
  const { widgets, start } = dashboardOf(stage);

  expect(start).toBe('-P14D');
  expect(widgets.map(({ properties }: Properties) => properties.title ?? properties.markdown)).toEqual([
    'Alarms',
    'Last runs',
    '## auth\nAt 03:00 (Europe/Berlin)',
    'Rows deleted',
    'Rows remaining',
    'Hours unlinked',
    'Duration (ms)',
    'Outcomes',
    '## partners\nAt 03:00 (Europe/Berlin)',
    'Rows deleted',
    'Rows remaining',
    'Hours unlinked',
    'Duration (ms)',
    'Outcomes',
    'Last failures',
  ]);
  expect(widgets[0].properties.alarms).toHaveLength(resources(stage, 'AWS::CloudWatch::Alarm').length);
  expect(widgets.at(-1).properties.query).toBe(
    "SOURCE '<authLogsD6F3DC28>' | SOURCE '<partnersLogs3ABA738C>' | fields @timestamp, @log, coalesce(message, record.status) as failure\n" +
      '| filter level = "ERROR" or (type = "platform.report" and record.status != "success")\n' +
      '| sort @timestamp desc\n| limit 20',
  );
});

test('lays the widgets out side by side in the 24 columns of CloudWatch, none over another', () => {
  const { widgets } = dashboardOf(createStage('prod'));
  const cells = widgets.flatMap(({ x, y, width, height }: Properties) =>
    Array.from({ length: width * height }, (_, i) => `${x + (i % width)},${y + Math.floor(i / width)}`),
  );

  expect(new Set(cells).size).toBe(cells.length);
  expect(widgets.every(({ x, width }: Properties) => x >= 0 && width > 0 && x + width <= 24)).toBe(true);
});

test('saves queries over the logs of all databases', () => {
  const stage = createStage('prod');
  const queries = resources(stage, 'AWS::Logs::QueryDefinition');

  expect(queries.map(({ Name }) => Name).sort()).toEqual([
    'TokenCleanup-prod/failures',
    'TokenCleanup-prod/runs',
    'TokenCleanup-prod/tables',
  ]);
  for (const { LogGroupNames } of queries) {
    expect(LogGroupNames).toEqual([{ Ref: 'authLogsD6F3DC28' }, { Ref: 'partnersLogs3ABA738C' }]);
  }
  expect(queries.find(({ Name }) => Name.endsWith('runs'))?.QueryString).toBe(
    'filter ispresent(run.status)\n| sort @timestamp desc\n' +
      '| display @timestamp, @log, run.status, run.rowsDeleted, run.durationMs, run.error',
  );
});

test('is in alarm as a whole while any of its alarms is, at most a hundred in one composite', () => {
  const secretArn = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/auth-AbCdEf';
  const databases = Object.fromEntries(Array.from({ length: 15 }, (_, i) => [`db${i}`, { secretArn }]));
  const watchedBy = (stage: Stack) => {
    const composites = resources(stage, 'AWS::CloudWatch::CompositeAlarm');
    expect(composites.flatMap(({ AlarmActions = [] }) => AlarmActions)).toEqual([]);
    return composites.map(({ AlarmRule }) => JSON.stringify(AlarmRule).match(/ALARM\(/g)?.length).sort();
  };

  // 15 times 7, in two, and these in one.
  expect(watchedBy(createStage('test', { databases }))).toEqual([100, 2, 5]);
  expect(watchedBy(createStage('fleet'))).toEqual([5]);
  expect(watchedBy(createStage('dev'))).toEqual([]);
});

describe('the buttons of the dashboard', () => {
  const functionOf = (stack: Stack) =>
    resources(stack, 'AWS::Lambda::Function').find(({ Environment }) => Environment.Variables.CLEANUPS);
  const allowed = (stack: Stack) =>
    resources(stack, 'AWS::IAM::Policy')
      .filter(({ PolicyName }) => PolicyName.includes('Runs'))
      .flatMap(({ PolicyDocument }) => PolicyDocument.Statement)
      .map(({ Action, Resource }) => [[Action].flat().join(), Resource])
      .filter(([action]) => !action.startsWith('logs:Create'));

  const readLog = [
    'logs:FilterLogEvents',
    [{ 'Fn::GetAtt': [expect.stringMatching(/^authLogs/), 'Arn'] }, expect.anything()],
  ];

  test('are not there unless somebody wants them', () => {
    expect([monitor(), createStage('fleet')].map(functionOf)).toEqual([undefined, undefined]);
  });

  test('read the log and invoke the function, and nothing else', () => {
    const stack = monitor({}, { dashboardButtons: true });

    expect(allowed(stack)).toEqual([
      readLog,
      ['lambda:InvokeFunction', { 'Fn::GetAtt': [expect.stringMatching(/^authFunction/), 'Arn'] }],
    ]);
    expect(functionOf(stack)).not.toHaveProperty('VpcConfig');
    const bundles = resources(stack, 'AWS::Lambda::Function').map(({ Code }) => Code.S3Key);
    expect(new Set(bundles).size).toBe(2);
  });

  test('start and stop the state machine in place of the function, if there is one', () => {
    const stack = monitor({ continueUntil: '06:00' }, { dashboardButtons: true });

    expect(allowed(stack)).toEqual([
      readLog,
      ['states:ListExecutions,states:StartExecution', { Ref: expect.stringMatching(/^authWorkflow/) }],
      ['states:StopExecution', expect.anything()],
    ]);
    expect(flat(allowed(stack)[0]?.[1][1])).toMatch(/:log-group:<authLogs\w+>$/);
    expect(flat(allowed(stack)[2]?.[1])).toMatch(/:execution:<authWorkflow\w+\.Name>:\*$/);
  });
});
