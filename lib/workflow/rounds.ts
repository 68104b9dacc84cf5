import { Duration } from 'aws-cdk-lib';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import {
  Choice,
  Condition,
  type IChainable,
  JitterType,
  Pass,
  TaskInput,
  type TaskStateBase,
  Timeout,
} from 'aws-cdk-lib/aws-stepfunctions';
import { LambdaInvoke } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';
import { whileOn } from './off-switch';

export interface RoundsProps {
  readonly stage: string;
  readonly function: IFunction;
  /** The timeout of the function. */
  readonly timeout: Duration;
  readonly offSwitch: IStringParameter;

  /** The request of a round, a JSONata expression of the input of the first state. The id of the execution is added. */
  readonly request: string;

  /** Whether another round follows if the function asks for one. */
  readonly continues: boolean;

  /**
   * A state that stores the result of every round. Its output must equal its input.
   *
   * @default - only the output of the execution has the result
   */
  readonly keep?: TaskStateBase;

  /** Follows the last round, with its result as input. */
  readonly done: IChainable;
}

/** Lambda refused or lost the invocation. Errors that the function throws are not among them: they have been reported. */
const TRANSIENT_ERRORS = [
  'Lambda.ClientExecutionTimeoutException',
  'Lambda.ServiceException',
  'Lambda.AWSLambdaException',
  'Lambda.SdkClientException',
  'Lambda.TooManyRequestsException',
];

/** States that invoke the function, again and again as long as its result has the request of another round. */
export function rounds(scope: Construct, props: RoundsProps) {
  const cleanUp = LambdaInvoke.jsonata(scope, 'Clean up', {
    lambdaFunction: props.function,
    payload: TaskInput.fromText(`{% $merge([${props.request}, {'execution': $states.context.Execution.Id}]) %}`),
    outputs: '{% $states.result.Payload %}',
    taskTimeout: Timeout.duration(props.timeout.plus(Duration.minutes(1))),
    retryOnServiceExceptions: false,
  });
  retryTransientErrors(cleanUp);
  const last = props.keep ?? cleanUp;
  if (props.keep) {
    cleanUp.next(props.keep);
  }
  const off = Pass.jsonata(scope, 'Switched off', { outputs: switchedOff(props.stage) });
  off.next(props.done);
  const start = whileOn(scope, props.offSwitch, { on: cleanUp, off });
  if (props.continues) {
    const more = Choice.jsonata(scope, 'Is there more?');
    more.when(Condition.jsonata('{% $exists($states.input.again) %}'), start, {
      outputs: '{% $states.input.again %}',
    });
    more.otherwise(props.done);
    last.next(more);
  } else {
    last.next(props.done);
  }
  // The failures of `cleanUp` may be caught. If they are not, a failed execution can be redriven.
  return { start, cleanUp };
}

/** Retries for some twenty minutes, also if the account's concurrency is used up. */
export function retryTransientErrors(invoke: LambdaInvoke): void {
  invoke.addRetry({
    errors: TRANSIENT_ERRORS,
    interval: Duration.seconds(10),
    maxDelay: Duration.minutes(5),
    backoffRate: 2,
    maxAttempts: 10,
    jitterStrategy: JitterType.FULL,
  });
}

/** In the form of a report. It hides no failure of an earlier round, and fields without a value are left out. */
function switchedOff(stage: string): string {
  return (
    "{% {'status': $exists($states.input.rounds.error) ? 'failed' : $exists($states.input.rounds) ? 'partial' : 'skipped', " +
    `'stage': '${stage}', 'dryRun': $states.input.dryRun = true, 'rowsDeleted': 0, 'durationMs': 0, ` +
    "'error': $states.input.rounds.error, 'warnings': ['the off switch is set'], 'targets': [], " +
    "'rounds': $states.input.rounds} %}"
  );
}
