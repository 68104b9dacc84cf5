import { Duration, Stack, TimeZone } from 'aws-cdk-lib';
import type { Role } from 'aws-cdk-lib/aws-iam';
import type { TokenCleanup } from '../../lib/token-cleanup';
import { createCleanup, type Properties, permissionsOf, resources } from '../support/cdk';

function schedulesOf(cleanup: TokenCleanup): Properties[] {
  return resources(Stack.of(cleanup), 'AWS::Scheduler::Schedule');
}

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

test('fires in its time zone, within its window, in two schedules if the crontab picks dates and weekdays', () => {
  const cleanup = createCleanup({
    schedule: '30 4 1 * 1-5',
    timeZone: TimeZone.EUROPE_BERLIN,
    flexibleWindow: Duration.minutes(15),
  });

  expect(schedulesOf(cleanup)).toMatchObject(
    ['cron(30 4 1 * ? *)', 'cron(30 4 ? * MON-FRI *)'].map((ScheduleExpression) => ({
      FlexibleTimeWindow: { Mode: 'FLEXIBLE', MaximumWindowInMinutes: 15 },
      ScheduleExpression,
      ScheduleExpressionTimezone: 'Europe/Berlin',
    })),
  );
  expect(cleanup.scheduleInWords).toBe(
    'At 04:30, on day 1 of the month, and At 04:30, Monday through Friday (Europe/Berlin)',
  );
});

test('is disabled if the job does not run', () => {
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
  const { AssumeRolePolicyDocument } = resources(stack, 'AWS::IAM::Role').at(-1) as Properties;
  expect(AssumeRolePolicyDocument.Statement).toEqual([
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
  ]);
});

test.each<[string, string, number, string | undefined, number?]>([
  ['0 3 * * *', 'Etc/UTC', 24, undefined],
  // A day has 25 hours when summer ends.
  ['0 3 * * *', 'Europe/Berlin', 25, undefined],
  // There is no such minute when summer begins, and no run.
  ['30 2 * * *', 'Europe/Berlin', 49, undefined],
  ['30 1 * * *', 'Europe/London', 49, undefined],
  ['0 0 * * *', 'Africa/Cairo', 49, undefined],
  ['0 2 * * *', 'Asia/Kolkata', 24, undefined],
  // Half an hour is all that Lord Howe moves its clocks.
  ['15 2 * * *', 'Australia/Lord_Howe', 48.5, undefined],
  ['45 1 * * *', 'Australia/Lord_Howe', 24.5, undefined],
  ['0 3 * * 1-5', 'Etc/UTC', 72, undefined],
  // A state machine may continue until its window ends.
  ['0 3 * * *', 'Etc/UTC', 24, '04:00', 1],
  ['0 22 * * *', 'Etc/UTC', 24, '06:00', 8],
  // The clocks of a day in autumn repeat an hour, both of the day and of the window.
  ['0 22 * * *', 'Europe/Berlin', 25, '06:00', 9],
  ['0 1,5 * * *', 'Etc/UTC', 20, '06:00', 5],
  ['0 6 * * *', 'Etc/UTC', 24, '06:00', 24],
])('knows how long a success may be away: %s in %s', (schedule, zone, gapHours, continueUntil, windowHours = 0) => {
  const timeZone = TimeZone.of(zone);
  const [timeout, flexibleWindow] = [Duration.minutes(10), Duration.minutes(20)];
  const cleanup = createCleanup({ schedule, timeZone, timeout, flexibleWindow, continueUntil });

  // The delivery may take an hour, too.
  expect(cleanup.successWithin?.toMinutes()).toBe((gapHours + 1 + windowHours) * 60 + 10 + 20);
});
