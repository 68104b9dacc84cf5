import type { Duration, TimeZone } from 'aws-cdk-lib';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import { QueryLanguage, type StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { OffSwitch } from './off-switch';
import { rounds } from './rounds';
import { announce, announceFailure, ending } from './run-completed';
import { createStateMachine } from './state-machine';

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

interface Invoked {
  readonly stage: string;
  readonly function: lambda.Function;
  /** The timeout of the function. */
  readonly timeout: Duration;
  readonly timeZone: TimeZone;
  readonly tracing: boolean;
  readonly logRetention?: RetentionDays | undefined;
  readonly functionName?: string | undefined;
}

/** The state machine that the schedule of a database starts in place of the function. */
export class CleanupStateMachine extends Construct {
  readonly stateMachine: StateMachine;
  readonly offSwitch: IStringParameter;

  constructor(scope: Construct, id: string, props: CleanupStateMachineProps, invoked: Invoked) {
    super(scope, id);
    const { continueUntil, events = false } = props;
    const { stage, timeZone, tracing, functionName } = invoked;
    this.offSwitch = props.offSwitch ?? new OffSwitch(this, 'OffSwitch').parameter;
    const end = ending(this, '{% $states.input.error %}');
    const announced = events ? announce(this) : undefined;
    announced?.next(end);
    const { start, cleanUp } = rounds(this, {
      ...invoked,
      offSwitch: this.offSwitch,
      request: requestOf({ ...(continueUntil && { until: continueUntil, timeZone: timeZone.timezoneName }) }),
      continues: continueUntil !== undefined,
      done: announced ?? end,
    });
    if (announced) {
      announceFailure(cleanUp, announced, stage);
    }
    this.stateMachine = createStateMachine(this, {
      name: functionName,
      comment: `Runs ${functionName ?? 'the token cleanup'} (${stage})`,
      start,
      queryLanguage: QueryLanguage.JSONATA,
      functions: [invoked.function],
      tracing,
      logRetention: invoked.logRetention,
    });
  }
}

/**
 * JSONata for the request: the input of the execution, and defaults for what it lacks. The window counts from the start of
 * the execution, or from its redrive, so that a redrive by day is not bound by the window of the night before.
 */
export function requestOf(defaults: Readonly<Record<string, string>>): string {
  return (
    `$merge([${JSON.stringify(defaults)}, {'scheduledAt': $states.context.Execution.StartTime}, $states.input, ` +
    "$exists($states.context.Execution.RedriveTime) ? {'scheduledAt': $states.context.Execution.RedriveTime} : {}])"
  );
}
