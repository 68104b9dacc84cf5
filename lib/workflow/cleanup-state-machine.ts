import { type Duration, TimeZone } from 'aws-cdk-lib';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import { DefinitionBody, QueryLanguage } from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import { OffSwitch } from './off-switch';
import { rounds } from './rounds';
import { announce, announceFailure, ending } from './run-completed';
import { createStateMachine, type StateMachineSettings } from './state-machine';

/** The settings that need a state machine. */
export interface CleanupStateMachineProps {
  /**
   * The time of day in `timeZone`, such as `06:00`, until which a state machine invokes the function again if its timeout
   * cut a run short.
   *
   * @default - no state machine; the next scheduled run continues where the last one ended
   */
  readonly continueUntil?: string;

  /**
   * Whether a state machine puts an event `Token Cleanup Run Completed` on the default event bus after each run, with the
   * report as detail.
   *
   * @default false
   */
  readonly events?: boolean;

  /**
   * The parameter of SSM that stops the state machine before its next round if it is anything but `on`.
   *
   * @default - a new parameter; none without a state machine
   */
  readonly offSwitch?: IStringParameter;
}

/** The function, its timeout and its place. */
interface Invoked {
  readonly stage: string;
  readonly function: lambda.Function;
  readonly timeout: Duration;
}

/** The state machine that the schedule of a database starts in place of the function. */
export function createCleanupStateMachine(
  scope: Construct,
  props: CleanupStateMachineProps & StateMachineSettings & { readonly timeZone?: TimeZone },
  invoked: Invoked,
) {
  const { continueUntil, timeZone, functionName = 'the token cleanup' } = props;
  const offSwitch = props.offSwitch ?? new OffSwitch(scope, 'OffSwitch').parameter;
  const end = ending(scope, '{% $states.input.error %}');
  const announced = props.events ? announce(scope) : undefined;
  announced?.next(end);
  const { start, cleanUp } = rounds(scope, {
    ...invoked,
    offSwitch,
    request: requestOf(continueUntil, timeZone),
    continues: continueUntil !== undefined,
    done: announced ?? end,
  });
  if (announced) {
    announceFailure(cleanUp, announced, invoked.stage);
  }
  const stateMachine = createStateMachine(scope, props, {
    comment: `Runs ${functionName} (${invoked.stage})`,
    definitionBody: DefinitionBody.fromChainable(start),
    queryLanguage: QueryLanguage.JSONATA,
    functions: [invoked.function],
  });
  return { stateMachine, offSwitch };
}

/**
 * JSONata for the request: the input of the execution, and defaults for what it lacks. The window counts from the start of
 * the execution, or from its redrive, so that a redrive by day is not bound by the window of the night before.
 */
export function requestOf(until: string | undefined, timeZone = TimeZone.ETC_UTC): string {
  const defaults = until === undefined ? {} : { until, timeZone: timeZone.timezoneName };
  return (
    `$merge([${JSON.stringify(defaults)}, {'scheduledAt': $states.context.Execution.StartTime}, $states.input, ` +
    "$exists($states.context.Execution.RedriveTime) ? {'scheduledAt': $states.context.Execution.RedriveTime} : {}])"
  );
}
