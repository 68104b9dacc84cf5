import { Duration, Names, RemovalPolicy, Validations } from 'aws-cdk-lib';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { LogLevel, StateMachine, type StateMachineProps } from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import type { FunctionSettings } from '../function/database-function';
import { given } from '../given';
import { justifyInvocation, justifyWildcard } from '../permissions';

/** The settings of the function apply to its state machine, too. */
export type StateMachineSettings = Pick<FunctionSettings, 'functionName' | 'tracing' | 'logRetention'>;

interface Definition extends Pick<StateMachineProps, 'comment' | 'definitionBody' | 'queryLanguage'> {
  /** The functions that the state machine invokes. */
  readonly functions: lambda.Function[];
}

/** The longest window, a day of 25 hours in autumn, and two hours for retries. A longer execution hangs. */
const LONGEST_EXECUTION = Duration.hours(27);

/** A state machine with a log, and with the reasons for the wildcards in its policy. */
export function createStateMachine(
  scope: Construct,
  { functionName, tracing = false, logRetention = RetentionDays.THREE_MONTHS }: StateMachineSettings,
  { functions, ...definition }: Definition,
): StateMachine {
  const stateMachine = new StateMachine(scope, 'Resource', {
    ...given({ stateMachineName: functionName }),
    ...definition,
    timeout: LONGEST_EXECUTION,
    tracingEnabled: tracing,
    logs: {
      level: LogLevel.ALL,
      includeExecutionData: true,
      destination: new LogGroup(scope, 'Logs', {
        // With this prefix log groups need no resource policies of their own, of which an account may have only ten.
        logGroupName: `/aws/vendedlogs/states/${functionName ?? Names.uniqueResourceName(scope, {})}`,
        retention: logRetention,
        // A retained group would block the next deployment by its name, and Step Functions keeps the history.
        removalPolicy: RemovalPolicy.DESTROY,
      }),
    },
  });
  for (const invoked of functions) {
    justifyInvocation(stateMachine.role, invoked);
  }
  const unnamed = tracing ? 'The delivery of logs and X-Ray have' : 'The delivery of logs has';
  justifyWildcard(stateMachine.role, '*', `${unnamed} no resources to name.`);
  if (!tracing) {
    const reason = 'A run is one conversation with each database; tracing is an option.';
    Validations.of(stateMachine).acknowledge(
      { id: 'AwsSolutions-SF2', reason },
      { id: 'Serverless-StepFunctionStateMachineXray', reason },
    );
  }
  return stateMachine;
}
