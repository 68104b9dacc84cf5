/** Entry point of Lambda: one run for each invocation. */

import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import type { Context } from 'aws-lambda';
import { identityOf } from './configuration/environment';
import { executionOf } from './configuration/event';
import { RunFailed, runJob } from './job';
import { emitReport, METRIC_NAMESPACE } from './metrics';
import { abridged, LONGEST_ANSWER, LONGEST_STATE } from './run/abridged-report';
import type { RunReport } from './run/report';
import { type Answer, answerOf } from './run/rounds';

/**
 * Entry point of Lambda. A failure is logged, counted and returned, not thrown: Lambda would repeat the run.
 *
 * @throws RunFailed only if a state machine invokes the function and this was its last round, after the failure was logged
 * and counted: a state machine can see and redrive no other failure
 */
export async function handler(
  event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<RunReport | Answer> {
  const { stage, service } = identityOf(process.env);
  const execution = executionOf(event);
  const logger = new Logger({
    serviceName: service,
    persistentLogAttributes: { stage, ...(execution !== undefined && { execution }) },
  });
  const metrics = new Metrics({ namespace: METRIC_NAMESPACE, serviceName: service });
  const {
    report,
    request,
    complete = true,
    hasMaxRows = false,
  } = await runJob(event, {
    environment: () => process.env,
    timeLeftMs: context.getRemainingTimeInMillis(),
    logger,
    stage,
  });
  try {
    emitReport(metrics, report, complete);
  } catch (error) {
    logger.error('the metrics could not be emitted', error as Error);
  }
  if (execution === undefined) {
    return abridged(report, LONGEST_ANSWER);
  }
  const answer = answerOf(report, request, { hasMaxRows });
  if (answer.rounds.error !== undefined && answer.again === undefined) {
    throw new RunFailed(report.status === 'failed' ? answer.error : `an earlier round failed: ${answer.rounds.error}`);
  }
  return abridged(answer, LONGEST_STATE);
}
