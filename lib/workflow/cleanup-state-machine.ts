import { Duration, Names, RemovalPolicy, Stack, type TimeZone, Validations } from 'aws-cdk-lib';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import { DefinitionBody, LogLevel, QueryLanguage, StateMachine, Succeed } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { given } from '../given';
import { OffSwitch } from './off-switch';
import { rounds } from './rounds';
import { announce, announceFailure } from './run-completed';

/** What follows the time limit of the function, and the end of a run. Each takes a state machine. */
export interface CleanupStateMachineProps {
  /**
   * The time of day in `timeZone`, such as `06:00`, until which a state machine runs the function again while its time
   * limit ends its work early.
   *
   * @default - the next run of the schedule continues from there; no state machine
   */
  readonly continueUntil?: string;

  /**
   * Whether a state machine puts an event `Token Cleanup Run Completed` on the default bus of EventBridge after each run,
   * with the report as detail.
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

/** The longest window, a day, of 25 hours in autumn; and two hours for retries. A longer execution hangs. */
const LONGEST_EXECUTION = Duration.hours(27);

/** The state machine that the schedule of a database starts in place of the function. */
export class CleanupStateMachine extends Construct {
  readonly stateMachine: StateMachine;
  readonly offSwitch: IStringParameter;

  constructor(scope: Construct, id: string, props: CleanupStateMachineProps, invoked: Invoked) {
    super(scope, id);
    const { continueUntil, events = false } = props;
    const { stage, timeZone, tracing, functionName } = invoked;
    this.offSwitch = props.offSwitch ?? new OffSwitch(this, 'OffSwitch').parameter;
    const { start, cleanUp } = rounds(this, {
      ...invoked,
      offSwitch: this.offSwitch,
      request: requestOf({ ...(continueUntil && { until: continueUntil, timeZone: timeZone.timezoneName }) }),
      continues: continueUntil !== undefined,
      done: events ? announce(this) : Succeed.jsonata(this, 'Done'),
    });
    if (events) {
      announceFailure(this, cleanUp, stage);
    }
    this.stateMachine = new StateMachine(this, 'Resource', {
      ...given({ stateMachineName: functionName }),
      comment: `Runs ${functionName ?? 'the token cleanup'} (${stage})`,
      definitionBody: DefinitionBody.fromChainable(start),
      queryLanguage: QueryLanguage.JSONATA,
      timeout: LONGEST_EXECUTION,
      tracingEnabled: tracing,
      logs: {
        level: LogLevel.ALL,
        includeExecutionData: true,
        destination: new LogGroup(this, 'Logs', {
          // Log groups of this name need no resource policy each, of which an account has ten.
          logGroupName: `/aws/vendedlogs/states/${functionName ?? Names.uniqueResourceName(this, {})}`,
          retention: invoked.logRetention ?? RetentionDays.THREE_MONTHS,
          // A fixed name would be in the way of the next deployment, and Step Functions keeps the history.
          removalPolicy: RemovalPolicy.DESTROY,
        }),
      },
    });
    this.#acknowledge(invoked);
  }

  #acknowledge({ function: { node }, tracing }: Invoked): void {
    const functionId = Stack.of(this).getLogicalId(node.defaultChild as lambda.CfnFunction);
    Validations.of(this.stateMachine.role).acknowledge(
      {
        id: `AwsSolutions-IAM5[Resource::<${functionId}.Arn>:*]`,
        reason: 'The CDK grants the invocation of every version and alias of this one function.',
      },
      {
        id: 'AwsSolutions-IAM5[Resource::*]',
        reason: `The delivery of logs${tracing ? ' and X-Ray have' : ' has'} no resources to name.`,
      },
    );
    if (!tracing) {
      const reason = 'A run is one conversation with one database; tracing is an option.';
      Validations.of(this.stateMachine).acknowledge(
        { id: 'AwsSolutions-SF2', reason },
        { id: 'Serverless-StepFunctionStateMachineXray', reason },
      );
    }
  }
}

/**
 * What the input of the execution does not say: until when, and from when that counts. A redrive by day is not bound by the
 * window of the night before.
 */
function requestOf(defaults: Readonly<Record<string, string>>): string {
  return (
    `$merge([${JSON.stringify(defaults)}, {'scheduledAt': $states.context.Execution.StartTime}, $states.input, ` +
    "$exists($states.context.Execution.RedriveTime) ? {'scheduledAt': $states.context.Execution.RedriveTime} : {}])"
  );
}
