import { deepStrictEqual as equal, ok } from 'node:assert';
import type { TestContext } from 'node:test';
import { ListExecutionsCommand, SFNClient, StartExecutionCommand, StopExecutionCommand } from '@aws-sdk/client-sfn';
import {
  CreateQueueCommand,
  DeleteQueueCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { eventually } from '../support/eventually';
import type { TokenDatabase } from './database';
import { type Description, PATIENCE } from './emulator';
import type { DeployedFunction } from './invocation';
import type { World } from './world';

const ROWS = 300_000;

/** The deadline of a round is a part of it. */
const SHORT = { Timeout: 6 };

/** So little that rounds of seconds cannot be enough for all rows. */
const SLOWLY = { maxLoad: 0.002 };

/** A state machine that continues runs, with the function and the database behind it. */
export class Continuation {
  readonly #world: World;
  readonly #function: DeployedFunction;
  readonly #database: TokenDatabase;
  readonly stateMachineArn: string;
  readonly #client: SFNClient;

  constructor(world: World, deployed: DeployedFunction, database: TokenDatabase, stateMachineArn: string) {
    this.#world = world;
    this.#function = deployed;
    this.#database = database;
    this.stateMachineArn = stateMachineArn;
    this.#client = world.emulator.client(SFNClient);
  }

  async run(t: TestContext): Promise<void> {
    const eventOf = await this.#events();
    await this.#database.fill();
    await this.#database.addDead(ROWS);
    await this.#function.configure(SHORT);

    await t.test('continues after the deadline of a round, until the off switch is set', async () => {
      const before = await this.#database.count();
      const execution = await this.#start(SLOWLY);
      await this.#rounds(execution, 2);
      await this.#switch('off');
      const { status, output } = await this.end(execution);
      equal([status, output], ['SUCCEEDED', { ...output, status: 'partial', warnings: ['the off switch is set'] }]);
      ok(output.rounds.count >= 2);
      equal(output.rounds.rowsDeleted, before - (await this.#database.count()));
      equal(await eventOf(execution), { ...output, execution });
    });

    await t.test('starts nothing as long as it is set', async () => {
      const before = await this.#database.count();
      const execution = await this.#start({ maxLoad: 1 });
      const { status, output } = await this.end(execution);
      equal([status, output.status], ['SUCCEEDED', 'skipped']);
      equal(await this.#database.count(), before);
      equal((await eventOf(execution)).status, 'skipped');
      await this.#switch('on');
    });

    await t.test('ends with an execution that is stopped, and starts again', async () => {
      const execution = await this.startSlowly();
      await this.#rounds(execution, 1);
      await this.#client.send(new StopExecutionCommand({ executionArn: execution }));
      equal((await this.end(execution)).status, 'ABORTED');
      await this.#function.configure({ Timeout: 60 });
      // A round that was at work ends by itself, and others are skipped until then.
      const notSkipped = async () => {
        const end = await this.end(await this.#start({ maxLoad: 1 }));
        return end.output.status !== 'skipped' && end;
      };
      const again = await eventually(notSkipped, PATIENCE);
      equal([again.error, again.cause, again.output.status], [undefined, undefined, 'succeeded']);
      const left = ['live', 'live for ever', 'revoked today', 'unknown'];
      equal((await this.#database.rows()).refresh_tokens, left);
      equal((await eventOf(again.executionArn)).status, 'succeeded');
      await this.#function.configure(SHORT);
    });

    await t.test('fails with what the function reported, and announces it', async () => {
      const execution = await this.#start({ tables: ['no_table'] });
      const { status, error, cause } = await this.end(execution);
      equal([status, error], ['FAILED', 'RunFailed']);
      equal(
        cause,
        'event.tables[0] must be a list of configured tables (refresh_tokens, password_resets), got "no_table"',
      );
      const { stage, status: announced, error: reason } = await eventOf(execution);
      equal([stage, announced, reason], ['prod', 'failed', cause]);
    });
    await this.#forgetEvents();
  }

  /** Starts a run that takes several rounds. */
  async startSlowly(): Promise<string> {
    await this.#database.addDead(ROWS);
    return await this.#start(SLOWLY);
  }

  /** The executions there were, the last first. */
  async executions(): Promise<(string | undefined)[]> {
    const { stateMachineArn } = this;
    const { executions = [] } = await this.#client.send(new ListExecutionsCommand({ stateMachineArn }));
    const byStart = executions.sort((a, b) => Number(b.startDate) - Number(a.startDate));
    return byStart.map(({ executionArn }) => executionArn);
  }

  async endOfLast(): Promise<Description> {
    const [last = ''] = await this.executions();
    return await this.end(last);
  }

  async #start(request: object): Promise<string> {
    const inTwoHours = new Date(Date.now() + 7_200_000);
    const time = new Intl.DateTimeFormat('de', { timeZone: 'Europe/Berlin', hour: '2-digit', minute: '2-digit' });
    const { executionArn = '' } = await this.#client.send(
      new StartExecutionCommand({
        stateMachineArn: this.stateMachineArn,
        input: JSON.stringify({ until: time.format(inTwoHours), ...request }),
      }),
    );
    return executionArn;
  }

  /** Waits until so many rounds of an execution have reported. */
  async #rounds(execution: string, count: number): Promise<void> {
    const haveReported = async () => {
      const log = (await this.#function.log()) as readonly Description[];
      return log.filter((line) => line.run && line.execution === execution).length >= count;
    };
    await eventually(haveReported, { what: `${count} rounds of ${execution}`, ...PATIENCE });
  }

  async end(execution: string): Promise<Description> {
    return await this.#world.emulator.endOf(execution);
  }

  async #switch(value: 'on' | 'off'): Promise<void> {
    const client = this.#world.emulator.client(SSMClient);
    await client.send(new PutParameterCommand({ Name: '/token-cleanup/prod/switch', Value: value, Overwrite: true }));
  }

  async #forgetEvents(): Promise<void> {
    const { emulator } = this.#world;
    const sqs = emulator.client(SQSClient);
    const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: 'completed-runs' }));
    await sqs.send(new DeleteQueueCommand({ QueueUrl }));
    await emulator.ask('events', 'remove_targets', { Rule: 'completed-runs', Ids: ['queue'] });
    await emulator.ask('events', 'delete_rule', { Name: 'completed-runs' });
  }

  /** @returns what waits for the event of an execution on the default bus, and reads its detail */
  async #events(): Promise<(execution: string) => Promise<Description>> {
    const { emulator } = this.#world;
    const sqs = emulator.client(SQSClient);
    const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: 'completed-runs' }));
    const pattern = { source: ['token-cleanup'], 'detail-type': ['Token Cleanup Run Completed'] };
    await emulator.ask('events', 'put_rule', { Name: 'completed-runs', EventPattern: JSON.stringify(pattern) });
    const queue = (QueueUrl ?? '').split('/');
    await emulator.ask('events', 'put_targets', {
      Rule: 'completed-runs',
      Targets: [{ Id: 'queue', Arn: `arn:aws:sqs:eu-central-1:${queue.at(-2)}:${queue.at(-1)}` }],
    });
    return (execution) =>
      eventually(
        async () => {
          const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 5 }));
          const details: Description[] = Messages.map(({ Body = '{}' }) => JSON.parse(Body).detail);
          return details.find((detail) => detail.execution === execution);
        },
        { what: `the event of ${execution}`, ...PATIENCE },
      );
  }
}
