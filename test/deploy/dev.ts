import { deepStrictEqual as equal, match, ok } from 'node:assert';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CloudWatchClient, SetAlarmStateCommand } from '@aws-sdk/client-cloudwatch';
import { SNSClient, SubscribeCommand } from '@aws-sdk/client-sns';
import { CreateQueueCommand, DeleteQueueCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { METRIC_NAMESPACE } from '../../lambda/metrics';
import { metricId, metricsIn } from '../support/metrics';
import { expectComplete } from './complete';
import type { TokenDatabase } from './database';
import { DeployedStack, differences } from './deployed-stack';
import { ACCOUNT, type Description, REGION } from './emulator';
import { DeployedFunction } from './invocation';
import type { World } from './world';

const EVERY_MINUTE = '* * * * *';

/** The emulator looks at schedules every ten seconds: 80 at most pass, and as much again on a busy machine. */
const PATIENCE_MS = 160_000;

/** The least stage that there is: the one that a clone is born with, with the ARN of a secret filled in. */
export class DevStage {
  readonly #world: World;
  #runsBefore = 0;
  readonly database: TokenDatabase;
  readonly secretArn: string;
  readonly stack: DeployedStack;
  readonly function: DeployedFunction;

  private constructor(world: World, database: TokenDatabase, secretArn: string) {
    this.#world = world;
    this.database = database;
    this.secretArn = secretArn;
    this.stack = new DeployedStack(world.emulator, 'TokenCleanup-dev');
    this.function = new DeployedFunction(world.emulator, 'token-cleanup-dev_auth');
  }

  static async deploy(world: World): Promise<DevStage> {
    const { project, secrets } = world;
    const database = await world.database('dev_auth');
    const secretArn = await secrets.create('dev/auth', database.login);
    // This server's certificate is nobody's to trust. TLS is the part of the other stage.
    const dev = { databases: { auth: { secretArn, sslMode: 'disable' } } } as const;
    project.fillIn({ ...project.stages, dev });
    await project.deploy('dev');
    return new DevStage(world, database, secretArn);
  }

  /** What was deployed. */
  async inspect(t: TestContext): Promise<void> {
    const { emulator } = this.#world;
    const found = await this.stack.inventory();
    const functionArn = `arn:aws:lambda:${REGION}:${ACCOUNT}:function:token-cleanup-dev_auth`;
    const queueArn = found.authDeadLetterQueue?.QueueArn;
    const topicArn = found.Alarms?.TopicArn;

    await t.test('creates every resource of the template', () => expectComplete(this.stack, this.#world));

    await t.test('invokes the function at 03:00 UTC, and keeps what cannot be delivered within an hour', () => {
      const { ScheduleExpression, ScheduleExpressionTimezone, FlexibleTimeWindow, State, Target, GroupName } =
        found.authSchedule ?? {};
      equal(
        { ScheduleExpression, ScheduleExpressionTimezone, FlexibleTimeWindow, State, Target, GroupName },
        {
          ScheduleExpression: 'cron(0 3 * * ? *)',
          ScheduleExpressionTimezone: 'Etc/UTC',
          FlexibleTimeWindow: { Mode: 'OFF' },
          State: 'ENABLED',
          Target: {
            Arn: functionArn,
            RoleArn: found.authScheduleRole?.Arn,
            DeadLetterConfig: { Arn: queueArn },
            RetryPolicy: { MaximumEventAgeInSeconds: 3600, MaximumRetryAttempts: 3 },
          },
          GroupName: found.authScheduleGroup?.Name,
        },
      );
    });

    await t.test('lets the scheduler invoke this function and write to its dead letters, for this group only', () => {
      equal(found.authScheduleRole?.trust, [
        {
          Effect: 'Allow',
          Principal: { Service: 'scheduler.amazonaws.com' },
          Action: 'sts:AssumeRole',
          Condition: {
            StringEquals: { 'aws:SourceAccount': ACCOUNT, 'aws:SourceArn': found.authScheduleGroup?.Arn },
          },
        },
      ]);
      equal(found.authScheduleRole?.statements, [
        { Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: [functionArn, `${functionArn}:*`] },
        { Effect: 'Allow', Action: 'sqs:SendMessage', Resource: queueArn },
      ]);
    });

    await t.test('configures the function, with nothing in its environment but what the stage says', () => {
      const { Runtime, Architectures, Handler, Timeout, MemorySize, Environment, Layers, TracingConfig, Role } =
        found.authFunction ?? {};
      equal(
        { Runtime, Architectures, Handler, Timeout, MemorySize, Environment, Layers, TracingConfig, Role },
        {
          Runtime: 'nodejs24.x',
          Architectures: ['arm64'],
          Handler: 'index.handler',
          Timeout: 900,
          MemorySize: 256,
          Environment: {
            Variables: {
              STAGE: 'dev',
              NODE_ENV: 'production',
              POWERTOOLS_SERVICE_NAME: 'token-cleanup',
              DB_SECRET_ARN: this.secretArn,
              DB_SSL_MODE: 'disable',
            },
          },
          Layers: [],
          TracingConfig: { Mode: 'PassThrough' },
          Role: found.authRole?.Arn,
        },
      );
    });

    await t.test('tries an invocation that breaks no second time, and sends it to the dead letters', () => {
      const { MaximumRetryAttempts, MaximumEventAgeInSeconds, DestinationConfig } =
        found.authFunctionEventInvokeConfig ?? {};
      equal(
        { MaximumRetryAttempts, MaximumEventAgeInSeconds, DestinationConfig },
        {
          MaximumRetryAttempts: 0,
          MaximumEventAgeInSeconds: 3600,
          DestinationConfig: { OnFailure: { Destination: queueArn } },
        },
      );
    });

    await t.test('logs as JSON to a group of its own, for 90 days', () => {
      equal(found.authFunction?.LoggingConfig, { LogFormat: 'JSON', LogGroup: found.authLogs?.logGroupName });
      equal(found.authLogs?.retentionInDays, 90);
    });

    await t.test('lets the function read its secret, write its log and its dead letters, and nothing else', () => {
      equal(found.authRole?.trust, [
        { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' },
      ]);
      equal(found.authRole?.statements, [
        { Effect: 'Allow', Action: ['logs:CreateLogStream', 'logs:PutLogEvents'], Resource: found.authLogs?.arn },
        {
          Effect: 'Allow',
          Action: ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'],
          Resource: this.secretArn,
        },
        {
          Effect: 'Allow',
          Action: ['sqs:GetQueueAttributes', 'sqs:GetQueueUrl', 'sqs:SendMessage'],
          Resource: queueArn,
        },
      ]);
    });

    await t.test('keeps dead letters for 14 days, encrypted, and takes them over TLS only', () => {
      const { MessageRetentionPeriod, SqsManagedSseEnabled, Policy } = found.authDeadLetterQueue ?? {};
      equal([MessageRetentionPeriod, SqsManagedSseEnabled], [String(14 * 86_400), 'true']);
      equal(Policy, [
        {
          Effect: 'Deny',
          Principal: { AWS: '*' },
          Action: 'sqs:*',
          Resource: queueArn,
          Condition: { Bool: { 'aws:SecureTransport': 'false' } },
        },
      ]);
    });

    await t.test('lets CloudWatch publish to the topic, for this account and over TLS only', () => {
      equal(
        found.Alarms?.Policy.map(({ Sid, ...statement }: Description) => statement),
        [
          {
            Effect: 'Deny',
            Principal: '*',
            Action: 'sns:Publish',
            Resource: topicArn,
            Condition: { Bool: { 'aws:SecureTransport': 'false' } },
          },
          {
            Effect: 'Allow',
            Principal: { Service: 'cloudwatch.amazonaws.com' },
            Action: 'sns:Publish',
            Resource: topicArn,
            Condition: { StringEquals: { 'aws:SourceAccount': ACCOUNT } },
          },
        ],
      );
    });

    await t.test('lets CloudWatch encrypt with the key of the topic, for this account only', async () => {
      const { id } = found.AlarmsKey ?? {};
      const { Policy } = await emulator.ask('kms', 'get_key_policy', { KeyId: id, PolicyName: 'default' });
      equal(JSON.parse(Policy).Statement, [
        { Effect: 'Allow', Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action: 'kms:*', Resource: '*' },
        {
          Effect: 'Allow',
          Principal: { Service: 'cloudwatch.amazonaws.com' },
          Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
          Resource: '*',
          Condition: { StringEquals: { 'aws:SourceAccount': ACCOUNT } },
        },
      ]);
    });

    await t.test('watches failures, silence, errors, rows that remain and dead letters', () => {
      const alarms = Object.values(found).filter(({ AlarmName }) => AlarmName);
      const queueName = queueArn.split(':').at(-1);
      equal(Object.fromEntries(alarms.map((alarm) => [alarm.AlarmName, summaryOf(alarm)])), {
        'token-cleanup-dev_auth-failed-run':
          'Sum Failed service=token-cleanup stage=dev >= 1 for 1 x 300 s, ignore missing',
        'token-cleanup-dev_auth-no-successful-run':
          'Sum Succeeded service=token-cleanup stage=dev < 1 for 27 x 3600 s, breaching missing',
        'token-cleanup-dev_auth-function-error-or-timeout':
          'Sum AWS/Lambda Errors FunctionName=token-cleanup-dev_auth >= 1 for 1 x 3600 s, ignore missing',
        'token-cleanup-dev_auth-rows-remain-refresh_tokens':
          'Minimum RowsRemaining service=token-cleanup stage=dev table=refresh_tokens > 0 for 3 x 93600 s, ignore missing',
        'token-cleanup-dev_auth-dead-letters': `Maximum AWS/SQS ApproximateNumberOfMessagesVisible QueueName=${queueName} >= 1 for 1 x 300 s, ignore missing`,
      });
      for (const { ActionsEnabled, AlarmActions } of alarms) {
        equal([ActionsEnabled, AlarmActions], [true, [topicArn]]);
      }
    });

    await t.test('wakes whoever subscribed to the topic', async () => {
      const sqs = emulator.client(SQSClient);
      const { QueueUrl } = await sqs.send(
        new CreateQueueCommand({
          QueueName: 'pager',
          Attributes: {
            Policy: JSON.stringify({
              Statement: [
                {
                  Effect: 'Allow',
                  Principal: { Service: 'sns.amazonaws.com' },
                  Action: 'sqs:SendMessage',
                  Resource: `arn:aws:sqs:${REGION}:${ACCOUNT}:pager`,
                },
              ],
            }),
          },
        }),
      );
      await emulator.client(SNSClient).send(
        new SubscribeCommand({
          TopicArn: topicArn,
          Protocol: 'sqs',
          Endpoint: `arn:aws:sqs:${REGION}:${ACCOUNT}:pager`,
        }),
      );
      await emulator.client(CloudWatchClient).send(
        new SetAlarmStateCommand({
          AlarmName: 'token-cleanup-dev_auth-failed-run',
          StateValue: 'ALARM',
          StateReason: 'a drill',
        }),
      );
      const { Messages: [message] = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20 }));
      await sqs.send(new DeleteQueueCommand({ QueueUrl }));
      const { AlarmName, NewStateValue } = JSON.parse(JSON.parse(message?.Body ?? '{}').Message);
      equal([AlarmName, NewStateValue], ['token-cleanup-dev_auth-failed-run', 'ALARM']);
    });

    await t.test('says in its outputs what a person looks for', async () => {
      equal(await this.stack.outputs(), {
        AuthFunctionName: 'token-cleanup-dev_auth',
        AuthSchedule: 'At 03:00 (Etc/UTC)',
        AlarmTopicArn: topicArn,
        DashboardUrl: `https://${REGION}.console.aws.amazon.com/cloudwatch/home?region=${REGION}#dashboards/dashboard/TokenCleanup-dev`,
      });
    });
  }

  /** What a further deployment changes. */
  async change(t: TestContext): Promise<void> {
    const { project } = this.#world;
    const before = { resources: await this.stack.inventory(), outputs: await this.stack.outputs() };

    await t.test('changes nothing when it is deployed once more', async () => {
      match(await project.deploy('dev'), /TokenCleanup-dev \(no changes\)/);
      const after = { resources: await this.stack.inventory(), outputs: await this.stack.outputs() };
      equal(differences(before, after), []);
    });

    await t.test('changes the schedule, and what is told by it, with REFRESH_TOKEN_CLEANUP_CRON', async () => {
      await project.deploy('dev', { crontab: EVERY_MINUTE });
      const after = { resources: await this.stack.inventory(), outputs: await this.stack.outputs() };
      const changed = differences(before, after).filter((difference) => !/Timestamp|LastModif/.test(difference));
      equal(changed, [
        'outputs.AuthSchedule: "At 03:00" -> "Every minute"',
        'resources.MonitoringDashboard.widgets.1.properties.markdown: "auth\\nAt 03:00" -> "auth\\nEvery minute"',
        // A minute between two runs, an hour to deliver one, a quarter of an hour to run: two hours, and one more.
        'resources.authAlarmnosuccessfulrun.AlarmDescription: "27" -> "3"',
        'resources.authAlarmnosuccessfulrun.EvaluationPeriods: 27 -> 3',
        'resources.authAlarmrowsremainrefreshtokens.AlarmDescription: "78" -> "6"',
        'resources.authAlarmrowsremainrefreshtokens.Period: 93600 -> 7200',
        'resources.authSchedule.Description: "0 3" -> "* *"',
        'resources.authSchedule.ScheduleExpression: "cron(0 3" -> "cron(* *"',
      ]);
    });
    // For the schedule to find. It has a minute, in which other things are done.
    this.#runsBefore = (await this.#runs()).length;
    await this.database.fill();
  }

  /** That the schedule fires, which is left at every minute, and what it begins does the job. */
  async waitForSchedule(t: TestContext): Promise<void> {
    await t.test('purges by itself when the schedule fires', async () => {
      const run = await until('a run that the schedule began, and that found rows', async () => {
        const runs = await this.#runs();
        return runs.slice(this.#runsBefore).find(([, rowsDeleted]) => rowsDeleted > 0);
      });
      equal(run, ['succeeded', 3]);
      equal((await this.database.rows()).refresh_tokens, ['live', 'live for ever', 'unknown']);
    });
  }

  /** Of each run that is in the log, how it ended and how many rows it deleted. */
  async #runs(): Promise<[string, number][]> {
    const log = (await this.function.log()) as readonly Description[];
    return log.flatMap(({ run }) => (run ? [[run.status, run.rowsDeleted]] : []));
  }

  /** That what was deployed does the job. */
  async run(t: TestContext): Promise<void> {
    const { emulator, secrets } = this.#world;
    const { database, function: deployed, secretArn } = this;

    await t.test('deletes dead rows and no live one, as the role of the README, and says so', async () => {
      await database.fill();
      const { report, log } = await deployed.invoke();
      equal(await database.rows(), {
        refresh_tokens: ['live', 'live for ever', 'unknown'],
        password_resets: ['expired 8 days ago', 'expired yesterday', 'live', 'used'],
      });
      equal(
        [report.status, report.stage, report.rowsDeleted, report.targets[0]?.rowsRemaining],
        ['succeeded', 'dev', 3, 0],
      );
      const { run } = log.find((line) => line.run) as { run: Description };
      equal([run.status, run.rowsDeleted], ['succeeded', 3]);
      const { 'Duration service=token-cleanup stage=dev table=refresh_tokens': duration, ...metrics } = metricsIn(log);
      equal(duration, report.targets[0]?.durationMs);
      equal(metrics, {
        'RowsDeleted service=token-cleanup stage=dev table=refresh_tokens': 3,
        'RowsRemaining service=token-cleanup stage=dev table=refresh_tokens': 0,
        'Succeeded service=token-cleanup stage=dev': 1,
        'Partial service=token-cleanup stage=dev': 0,
        'Failed service=token-cleanup stage=dev': 0,
      });
    });

    await t.test('emits every metric that an alarm watches', async () => {
      const { log } = await deployed.invoke({ dryRun: true });
      const emitted = Object.keys(metricsIn(log));
      const alarms = Object.values(await this.stack.inventory()).filter(
        ({ Namespace }) => Namespace === METRIC_NAMESPACE,
      );
      equal(alarms.length, 3);
      for (const { Namespace, MetricName, Dimensions } of alarms) {
        ok(emitted.includes(metricId(Namespace, MetricName, Dimensions)), `${MetricName} is not emitted`);
      }
    });

    await t.test('reports a password that was changed behind its back, and deletes nothing', async () => {
      await database.fill();
      const before = await database.rows();
      await database.changePassword('second');
      const { report, log } = await deployed.invoke();
      equal(report.status, 'failed');
      match(report.error ?? '', /refused the credentials|password authentication failed/);
      equal(metricsIn(log)['Failed service=token-cleanup stage=dev'], 1);
      equal(await database.rows(), before);
    });

    await t.test('works again once the secret is rotated, without a new deployment', async () => {
      await secrets.rotate(secretArn, { ...database.login, password: 'second' });
      const { report } = await deployed.invoke();
      equal([report.status, report.rowsDeleted], ['succeeded', 3]);
      equal((await database.rows()).refresh_tokens, ['live', 'live for ever', 'unknown']);
    });

    await t.test('may read no secret but its own', async () => {
      const foreign = await secrets.create('somebody/else', database.login);
      await deployed.setVariables({ DB_SECRET_ARN: foreign });
      const { report } = await deployed.invoke();
      await deployed.setVariables({ DB_SECRET_ARN: secretArn });
      equal(report.status, 'failed');
      match(report.error ?? '', /AccessDenied.*secretsmanager:GetSecretValue/);
    });

    await t.test('leaves a dead letter when the function itself breaks', async () => {
      await deployed.configure({ Handler: 'index.missing' });
      await deployed.invokeLater({ dryRun: true });
      const { authDeadLetterQueue } = await this.stack.inventory();
      const { Messages: [message] = [] } = await emulator
        .client(SQSClient)
        .send(new ReceiveMessageCommand({ QueueUrl: authDeadLetterQueue?.id, WaitTimeSeconds: 20 }));
      await deployed.configure({ Handler: 'index.handler' });
      const { requestPayload, responseContext } = JSON.parse(message?.Body ?? '{}');
      equal(requestPayload, { dryRun: true });
      equal(responseContext?.functionError, 'Unhandled');
    });
  }
}

/** An alarm in a line. */
function summaryOf(alarm: Description): string {
  const operator = {
    GreaterThanOrEqualToThreshold: '>=',
    GreaterThanThreshold: '>',
    LessThanThreshold: '<',
  }[alarm.ComparisonOperator as string];
  const metric = metricId(alarm.Namespace, alarm.MetricName, alarm.Dimensions);
  const when = `${operator} ${alarm.Threshold} for ${alarm.EvaluationPeriods} x ${alarm.Period} s`;
  return `${alarm.Statistic} ${metric} ${when}, ${alarm.TreatMissingData} missing`;
}

/** Asks again and again until there is an answer. */
async function until<Answer>(what: string, ask: () => Promise<Answer | undefined>): Promise<Answer> {
  for (const startedAt = Date.now(); Date.now() - startedAt < PATIENCE_MS; await delay(500)) {
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
  }
  throw new Error(`waited in vain for ${what}`);
}
