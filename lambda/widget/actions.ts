import { InvokeCommand, type LambdaClient } from '@aws-sdk/client-lambda';
import {
  type ExecutionListItem,
  paginateListExecutions,
  type SFNClient,
  StartExecutionCommand,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import type { WidgetCleanup } from './cleanups';

export type Action = 'dry-run' | 'run-now' | 'stop';

/** A single invocation of a function cannot be stopped. */
export function actionsOf({ stateMachineArn }: WidgetCleanup): readonly Action[] {
  return stateMachineArn === undefined ? ['dry-run', 'run-now'] : ['dry-run', 'run-now', 'stop'];
}

export interface Clients {
  readonly lambda: LambdaClient;
  readonly stepFunctions: SFNClient;
}

/**
 * Starts or stops runs, and waits for none of them.
 *
 * @returns what was done, in a sentence
 */
export async function act(action: Action, cleanup: WidgetCleanup, clients: Clients): Promise<string> {
  if (action !== 'stop') {
    await start(cleanup, action === 'dry-run' ? { dryRun: true } : {}, clients);
    return action === 'dry-run'
      ? `The dry run of ${cleanup.name} has started. It deletes nothing. Its result will appear among the last runs.`
      : `The run of ${cleanup.name} has started. Its result will appear among the last runs.`;
  }
  const stopped = await stop(cleanup, clients);
  const executions = stopped === 1 ? 'execution of' : 'executions of';
  return stopped === 0
    ? `No execution of ${cleanup.name} is running.`
    : `${stopped} ${executions} ${cleanup.name} ${stopped === 1 ? 'has' : 'have'} been stopped. The current round ends by itself, ` +
        'at the latest at the timeout of its function.';
}

async function start(
  { stateMachineArn, functionName }: WidgetCleanup,
  request: object,
  clients: Clients,
): Promise<void> {
  const payload = JSON.stringify(request);
  await (stateMachineArn === undefined
    ? clients.lambda.send(
        new InvokeCommand({ FunctionName: functionName, InvocationType: 'Event', Payload: Buffer.from(payload) }),
      )
    : clients.stepFunctions.send(new StartExecutionCommand({ stateMachineArn, input: payload })));
}

async function stop({ stateMachineArn }: WidgetCleanup, { stepFunctions }: Clients): Promise<number> {
  const running = await runningExecutions(stateMachineArn, stepFunctions);
  for (const { executionArn } of running) {
    await stepFunctions.send(
      new StopExecutionCommand({ executionArn, error: 'Stopped', cause: 'Stop on the dashboard' }),
    );
  }
  return running.length;
}

/** The executions of a state machine that have not ended; none without a state machine. */
export async function runningExecutions(stateMachineArn: string | undefined, stepFunctions: SFNClient) {
  const running: ExecutionListItem[] = [];
  if (stateMachineArn === undefined) {
    return running;
  }
  const pages = paginateListExecutions({ client: stepFunctions }, { stateMachineArn, statusFilter: 'RUNNING' });
  for await (const { executions = [] } of pages) {
    running.push(...executions);
  }
  return running;
}
