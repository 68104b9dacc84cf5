import { CloudWatchLogsClient } from '@aws-sdk/client-cloudwatch-logs';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { SFNClient } from '@aws-sdk/client-sfn';
import type { Context } from 'aws-lambda';
import { act, actionsOf, runningExecutions } from './actions';
import { CLEANUPS_VARIABLE, type WidgetCleanup } from './cleanups';
import { answer, page, type State } from './page';
import { lastRuns } from './runs';

/** The event of CloudWatch: a request for the documentation, the parameters of a button, or those of the widget, which has none. */
interface WidgetEvent {
  readonly describe?: boolean;
  readonly action?: unknown;
  readonly cleanup?: unknown;
}

/** The function behind the widget of the dashboard: shows the last runs, and carries out the action of a button. */
export async function handler(
  { describe, action, cleanup: name }: WidgetEvent,
  { invokedFunctionArn }: Pick<Context, 'invokedFunctionArn'>,
): Promise<string> {
  if (describe) {
    return 'The last runs of the token cleanup, with buttons for a dry run, a run and a stop. It has no parameters.';
  }
  const cleanups = JSON.parse(process.env[CLEANUPS_VARIABLE] ?? '[]') as readonly WidgetCleanup[];
  const clients = { logs: new CloudWatchLogsClient(), lambda: new LambdaClient(), stepFunctions: new SFNClient() };
  if (action === undefined) {
    return page(await Promise.all(cleanups.map((cleanup) => stateOf(cleanup, clients))), invokedFunctionArn).markup;
  }
  const cleanup = cleanups.find((each) => each.name === name);
  const known = cleanup && actionsOf(cleanup).find((each) => each === action);
  if (!known) {
    return answer(`There is no action ${JSON.stringify(action)} for ${JSON.stringify(name)}.`).markup;
  }
  return answer(await act(known, cleanup, clients).catch(reasonOf)).markup;
}

async function stateOf(
  cleanup: WidgetCleanup,
  { logs, stepFunctions }: { readonly logs: CloudWatchLogsClient; readonly stepFunctions: SFNClient },
): Promise<State> {
  try {
    const running = await runningExecutions(cleanup.stateMachineArn, stepFunctions);
    const runs = await lastRuns(logs, cleanup);
    return { cleanup, runs, runningSince: running.flatMap(({ startDate }) => startDate ?? []) };
  } catch (error) {
    return { cleanup, runs: [], runningSince: [], error: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  const { name, message } = error as Error;
  return `${name}: ${message}`;
}
