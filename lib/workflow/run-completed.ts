import { EventBus } from 'aws-cdk-lib/aws-events';
import { Choice, Condition, Fail, type State, Succeed, TaskInput } from 'aws-cdk-lib/aws-stepfunctions';
import { EventBridgePutEvents, type LambdaInvoke } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';

/** The source of the events. */
export const EVENT_SOURCE = 'token-cleanup';

export const RUN_COMPLETED = 'Token Cleanup Run Completed';

/**
 * A state that puts an event on the default bus, with its input, the report, as detail. The state machine does this because
 * a function in a VPC may have no route to EventBridge.
 */
export function announce(scope: Construct, id = 'Announce'): EventBridgePutEvents {
  const announced = EventBridgePutEvents.jsonata(scope, id, {
    entries: [
      {
        eventBus: EventBus.fromEventBusName(scope, `${id} on`, 'default'),
        source: EVENT_SOURCE,
        detailType: RUN_COMPLETED,
        detail: TaskInput.fromText("{% $merge([$states.input, {'execution': $states.context.Execution.Id}]) %}"),
      },
    ],
    outputs: '{% $states.input %}',
  });
  announced.addRetry({ maxAttempts: 5 });
  return announced;
}

/**
 * Announces a failure, too. Such an execution has to be started again: a redrive would resume at the state `Failed`, and fail
 * again.
 */
export function announceFailure(cleanUp: LambdaInvoke, announced: EventBridgePutEvents, stage: string): void {
  // A timeout has no cause.
  const otherwise = '$exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : $states.errorOutput.Error';
  cleanUp.addCatch(announced, {
    outputs:
      `{% {'status': 'failed', 'stage': '${stage}', 'errorType': $states.errorOutput.Error, ` +
      `'error': ${messageOf('$states.errorOutput', otherwise)}, 'rounds': $states.input.rounds} %}`,
  });
}

/**
 * JSONata for the message of a caught error.
 *
 * @param error JSONata for the error
 * @param otherwise JSONata for the message of an error that no function threw
 */
export function messageOf(error: string, otherwise: string): string {
  // The cause is JSON if a function threw the error, else text.
  return `$contains(${error}.Cause, '"errorMessage"') ? $parse(${error}.Cause).errorMessage : ${otherwise}`;
}

/** The end of an execution, which fails if the report that is its input is of a failure. */
export function ending(scope: Construct, cause: string): State {
  const failed = Fail.jsonata(scope, 'Failed', {
    error: "{% $exists($states.input.errorType) ? $states.input.errorType : 'RunFailed' %}",
    cause,
  });
  return Choice.jsonata(scope, 'Did it fail?')
    .when(Condition.jsonata("{% $states.input.status = 'failed' %}"), failed)
    .otherwise(Succeed.jsonata(scope, 'Done'));
}
