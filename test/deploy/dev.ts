import { deepStrictEqual as equal, match } from 'node:assert';
import type { TestContext } from 'node:test';
import { CloudWatchClient, SetAlarmStateCommand } from '@aws-sdk/client-cloudwatch';
import { SNSClient, SubscribeCommand } from '@aws-sdk/client-sns';
import { CreateQueueCommand, DeleteQueueCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { eventually } from '../support/eventually';
import { metricsIn } from '../support/metrics';
import { expectComplete } from './complete';
import type { TokenDatabase } from './database';
import { DeployedStack } from './deployed-stack';
import { ACCOUNT, type Description, PATIENCE, REGION } from './emulator';
import { DeployedFunction } from './invocation';
import type { World } from './world';

const EVERY_MINUTE = '* * * * *';

/** The smallest stage: that of a fresh clone, with the ARN of a secret filled in. */
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
    // No authority signed this server's certificate. The other stage tests TLS.
    const dev = { databases: { auth: { secretArn, sslMode: 'disable' } } } as const;
    project.fillIn({ ...project.stages, dev });
    await project.deploy('dev');
    return new DevStage(world, database, secretArn);
  }

  /** The effects that only a deployment shows. The properties of the template have their own tests. */
  async inspect(t: TestContext): Promise<void> {
    const { emulator } = this.#world;
    const { AlarmTopicArn: topicArn } = await this.stack.outputs();

    await t.test('creates every resource of the template', () => expectComplete(this.stack, this.#world));

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
  }

  /** The changes of a further deployment. */
  async change(t: TestContext): Promise<void> {
    const { project } = this.#world;
    await t.test('changes nothing if it is deployed again', async () => {
      match(await project.deploy('dev'), /TokenCleanup-dev \(no changes\)/);
    });

    await t.test('changes the schedule with REFRESH_TOKEN_CLEANUP_CRON', async () => {
      await project.deploy('dev', { crontab: EVERY_MINUTE });
      equal((await this.stack.outputs()).AuthSchedule, 'Every minute (Etc/UTC)');
    });
    // For the schedule to find. It has a minute, in which other things are done.
    this.#runsBefore = (await this.#runs()).length;
    await this.database.fill();
  }

  /** That the schedule fires, which is left at every minute, and what it begins does the job. */
  async waitForSchedule(t: TestContext): Promise<void> {
    await t.test('purges by itself when the schedule fires', async () => {
      const foundRows = async () =>
        (await this.#runs()).slice(this.#runsBefore).find(([, rowsDeleted]) => rowsDeleted > 0);
      const run = await eventually(foundRows, {
        what: 'a run that the schedule began, and that found rows',
        ...PATIENCE,
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
      const {
        'Duration service=token-cleanup-auth stage=dev table=refresh_tokens': duration,
        'HoursUnlinked service=token-cleanup-auth stage=dev table=refresh_tokens': hoursUnlinked,
        ...metrics
      } = metricsIn(log);
      equal(duration, report.targets[0]?.durationMs);
      equal(hoursUnlinked, report.targets[0]?.erasure?.hoursUnlinked);
      equal(metrics, {
        'RowsDeleted service=token-cleanup-auth stage=dev table=refresh_tokens': 3,
        'RowsRemaining service=token-cleanup-auth stage=dev table=refresh_tokens': 0,
        'Succeeded service=token-cleanup-auth stage=dev': 1,
        'Partial service=token-cleanup-auth stage=dev': 0,
        'Failed service=token-cleanup-auth stage=dev': 0,
        'Skipped service=token-cleanup-auth stage=dev': 0,
      });
    });

    await t.test('reports a password that was changed behind its back, and deletes nothing', async () => {
      await database.fill();
      const before = await database.rows();
      await database.changePassword('second');
      const { report, log } = await deployed.invoke();
      equal(report.status, 'failed');
      match(report.error ?? '', /refused the credentials|password authentication failed/);
      equal(metricsIn(log)['Failed service=token-cleanup-auth stage=dev'], 1);
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
      const queueUrl = await this.stack.physicalId('authDeadLetterQueue');
      const { Messages: [message] = [] } = await emulator
        .client(SQSClient)
        .send(new ReceiveMessageCommand({ QueueUrl: queueUrl, WaitTimeSeconds: 20 }));
      await deployed.configure({ Handler: 'index.handler' });
      const { requestPayload, responseContext } = JSON.parse(message?.Body ?? '{}');
      equal(requestPayload, { dryRun: true });
      equal(responseContext?.functionError, 'Unhandled');
    });
  }
}
