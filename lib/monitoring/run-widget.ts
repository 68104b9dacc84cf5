import { Duration, Stack, Validations } from 'aws-cdk-lib';
import { CustomWidget } from 'aws-cdk-lib/aws-cloudwatch';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { CLEANUPS_VARIABLE, type WidgetCleanup } from '../../lambda/widget/cleanups';
import { functionCode } from '../function/function-code';
import { given } from '../given';
import { arnOf, justifyWildcard } from '../permissions';
import type { TokenCleanup } from '../token-cleanup';
import { TokenCleanupFleet } from '../token-cleanup-fleet';

/** The height of a cleanup in CloudWatch's grid: the buttons, and a table of up to ten runs. */
const ROWS_OF_GRID = 7;

/**
 * A widget that shows the last runs, with buttons that start and stop them, and the function behind it. Anyone who may see
 * the dashboard and invoke this function can press the buttons.
 */
export function createRunWidget(
  scope: Construct,
  cleanups: readonly (TokenCleanup | TokenCleanupFleet)[],
): CustomWidget {
  const logGroup = new LogGroup(scope, 'Logs', { retention: RetentionDays.ONE_MONTH });
  const role = new iam.Role(scope, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
  logGroup.grantWrite(role);
  for (const cleanup of cleanups) {
    allowRuns(role, cleanup);
  }
  const created = new lambda.Function(scope, 'Function', {
    ...functionCode('widget'),
    description: 'Shows, starts and stops runs of the token cleanup on a dashboard',
    role,
    memorySize: 256,
    timeout: Duration.seconds(30),
    environment: { [CLEANUPS_VARIABLE]: Stack.of(scope).toJsonString(cleanups.map(describe)) },
    logGroup,
  });
  Validations.of(created).acknowledge(
    { id: 'Serverless-LambdaDLQ', reason: 'CloudWatch invokes it synchronously, and shows its errors.' },
    { id: 'Serverless-LambdaTracing', reason: 'It answers one person, who sees how long it takes.' },
  );
  return new CustomWidget({
    title: 'Last runs',
    functionArn: created.functionArn,
    width: 24,
    height: 2 + ROWS_OF_GRID * cleanups.length,
    updateOnResize: false,
    updateOnTimeRangeChange: false,
  });
}

function allowRuns(role: iam.Role, cleanup: TokenCleanup | TokenCleanupFleet): void {
  const { logGroup, stateMachine } = cleanup;
  const allow = (actions: string[], ...resources: string[]) =>
    role.addToPolicy(new iam.PolicyStatement({ actions, resources }));
  // Both forms name the group. The IAM reference has one, the documentation of CloudWatch Logs the other.
  allow(['logs:FilterLogEvents'], arnOf(role, 'logs', 'log-group', logGroup.logGroupName), logGroup.logGroupArn);
  if (!stateMachine) {
    allow(['lambda:InvokeFunction'], cleanup.function.functionArn);
    return;
  }
  allow(['states:StartExecution', 'states:ListExecutions'], stateMachine.stateMachineArn);
  const executions = arnOf(role, 'states', 'execution', `${stateMachine.stateMachineName}:*`);
  allow(['states:StopExecution'], executions);
  const reason = 'Executions get their names when they start. All are of this one state machine.';
  justifyWildcard(role, executions, reason);
}

function describe(cleanup: TokenCleanup | TokenCleanupFleet): WidgetCleanup {
  const { node, logGroup, function: invoked, stateMachine } = cleanup;
  return {
    name: node.id,
    logGroupName: logGroup.logGroupName,
    functionName: invoked.functionName,
    ...given({ stateMachineArn: stateMachine?.stateMachineArn }),
    ...(cleanup instanceof TokenCleanupFleet && { isFleet: true }),
  };
}
