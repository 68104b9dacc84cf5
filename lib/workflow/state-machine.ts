import { Duration, Names, RemovalPolicy, Validations } from 'aws-cdk-lib';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { DefinitionBody, LogLevel, type QueryLanguage, type State, StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import { given } from '../given';
import { justifyInvocation, justifyWildcard } from '../permissions';

export interface StateMachineSettings {
  readonly name?: string | undefined;
  readonly comment: string;
  readonly start: State;
  readonly queryLanguage: QueryLanguage;
  /** The functions that the state machine invokes. */
  readonly functions: lambda.Function[];
  readonly tracing: boolean;
  readonly logRetention?: RetentionDays | undefined;
}

/** The longest window, a day of 25 hours in autumn, and two hours for retries. A longer execution hangs. */
const LONGEST_EXECUTION = Duration.hours(27);

/** A state machine with a log, and with the reasons for the wildcards in its policy. */
export function createStateMachine(scope: Construct, settings: StateMachineSettings): StateMachine {
  const { name, tracing } = settings;
  const stateMachine = new StateMachine(scope, 'Resource', {
    ...given({ stateMachineName: name }),
    comment: settings.comment,
    definitionBody: DefinitionBody.fromChainable(settings.start),
    queryLanguage: settings.queryLanguage,
    timeout: LONGEST_EXECUTION,
    tracingEnabled: tracing,
    logs: {
      level: LogLevel.ALL,
      includeExecutionData: true,
      destination: new LogGroup(scope, 'Logs', {
        // With this prefix log groups need no resource policies of their own, of which an account may have only ten.
        logGroupName: `/aws/vendedlogs/states/${name ?? Names.uniqueResourceName(scope, {})}`,
        retention: settings.logRetention ?? RetentionDays.THREE_MONTHS,
        // A retained group would block the next deployment by its name, and Step Functions keeps the history.
        removalPolicy: RemovalPolicy.DESTROY,
      }),
    },
  });
  for (const invoked of settings.functions) {
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
