import { Annotations, Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type { IStateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import type { TokenCleanup } from '../token-cleanup';
import {
  type AlarmDetails,
  deadLetters,
  heartbeat,
  hoursOf,
  LONGEST_LOOK_BACK_HOURS,
  type Periods,
  severalRuns,
  timeOfARun,
} from './alarm';

/** All alarms of a cleanup. */
export function alarmsOf(
  cleanup: TokenCleanup,
  rowsRemainingThreshold: number,
  unlinkWithin: Duration | undefined,
): AlarmDetails[] {
  const { tables, stateMachine, successWithin, deadLetterQueue } = cleanup;
  const alarms = [
    failedRun(cleanup),
    stateMachine ? failedExecution(cleanup, stateMachine) : functionError(cleanup),
    deadLetters(deadLetterQueue, 'A run could not be started, or crashed'),
  ];
  if (unlinkWithin) {
    alarms.push(...tables.map((table) => notUnlinked(cleanup, table, unlinkWithin)));
  }
  // No runs are expected without a schedule.
  if (successWithin) {
    const periods = severalRuns(successWithin);
    alarms.push(
      ...noSuccessfulRun(cleanup, successWithin, rowsRemainingThreshold),
      ...tables.map((table) => rowsRemain(cleanup, table, periods, rowsRemainingThreshold)),
      ...tables.map((table) => cutShort(cleanup, table, periods)),
      skippedRuns(cleanup, periods),
    );
  }
  return alarms;
}

function failedRun(cleanup: TokenCleanup): AlarmDetails {
  return {
    name: 'failed-run',
    happened: 'A run failed, as a whole or for at least one table.',
    look: 'The errors in the log, which the dashboard lists: they name the table and the reason.',
    // A run of only some tables proves nothing about the others, so the alarm lasts until the next full run.
    metric: cleanup.metricFailed({ statistic: cloudwatch.Stats.MAXIMUM, period: timeOfARun(cleanup.successWithin) }),
  };
}

function functionError(cleanup: TokenCleanup): AlarmDetails {
  return {
    name: 'function-error-or-timeout',
    happened: 'The function crashed before it could report: it did not start, or ran out of time or memory.',
    look: 'The last lines in the log of that invocation.',
    // Lambda dates an error at the start of the invocation: a period of five minutes would miss one after a long run.
    metric: cleanup.function.metricErrors({ period: Duration.hours(1) }),
  };
}

/**
 * Replaces the alarm about function errors: under a state machine the function also throws the failures that it has reported,
 * and those belong to the alarm about failed runs.
 */
function failedExecution(cleanup: TokenCleanup, stateMachine: IStateMachine): AlarmDetails {
  const period = timeOfARun(cleanup.successWithin);
  const props = { period, statistic: cloudwatch.Stats.MAXIMUM };
  return {
    name: 'failed-execution',
    happened: 'An execution of the state machine failed or timed out, and the function has not reported why.',
    look: 'The execution in the Step Functions console, which shows the state that failed and its cause.',
    metric: new cloudwatch.MathExpression({
      expression: 'IF(FILL(broken, 0) + FILL(timedOut, 0) > 0 AND FILL(failed, 0) < 1, 1, 0)',
      usingMetrics: {
        broken: stateMachine.metricFailed(props),
        timedOut: stateMachine.metricTimedOut(props),
        failed: cleanup.metricFailed(props),
      },
      period,
      label: 'failed executions',
    }),
  };
}

function noSuccessfulRun(cleanup: TokenCleanup, successWithin: Duration, threshold: number): AlarmDetails[] {
  // One more, since a success early in one hour and one late in another are further apart than the hours between them.
  const hours = hoursOf(successWithin) + 1;
  if (hours > LONGEST_LOOK_BACK_HOURS) {
    Annotations.of(cleanup).addWarningV2(
      'token-cleanup:no-heartbeat',
      `no alarm detects missing runs of ${cleanup.node.id}: ${cleanup.scheduleInWords} leaves up to ${hours} hours ` +
        `between two successes, and CloudWatch looks back ${LONGEST_LOOK_BACK_HOURS} at most`,
    );
    return [];
  }
  const period = Duration.hours(1);
  const succeeded = cleanup.metricSucceeded({ period });
  const usingMetrics = { succeeded, partial: cleanup.metricPartial({ period }) };
  // If some rows may remain, a partial run counts as a success.
  const successes =
    threshold > 0
      ? new cloudwatch.MathExpression({ expression: 'succeeded + partial', usingMetrics, period })
      : succeeded;
  return [
    {
      name: 'no-successful-run',
      happened: `No run succeeded in ${hours} hours. (Expected before the first run of a new deployment.)`,
      look: 'The outcomes on the dashboard, which show whether there were runs and how they ended, then the dead letters.',
      ...heartbeat(successes, hours),
    },
  ];
}

function rowsRemain(
  cleanup: TokenCleanup,
  table: string,
  { count, hours, period }: Periods,
  threshold: number,
): AlarmDetails {
  return {
    name: `rows-remain-${table}`,
    section: 'rows-remain',
    happened: `Dead rows of ${table} remained after every run of the last ${hours} hours.`,
    look: 'The stop reason of the runs in the log: too little time, blocked rows, or a replica that lags behind.',
    // The minimum of a period, so that a single run that finished ends the alarm.
    metric: cleanup.metricRowsRemaining({ table, statistic: cloudwatch.Stats.MINIMUM, period }),
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    threshold,
    evaluationPeriods: count,
  };
}

/**
 * A run that ends before it has finished a table does not count the rows that remain, so no threshold can apply. A run
 * that left only blocked rows has counted them, and does not set off this alarm.
 */
function cutShort(cleanup: TokenCleanup, table: string, { count, hours, period }: Periods): AlarmDetails {
  // The maximum of a period: a run of other tables is not partial, and must not end the alarm.
  const statistic = cloudwatch.Stats.MAXIMUM;
  return {
    name: `cut-short-${table}`,
    section: 'cut-short',
    happened: `Runs of the last ${hours} hours ended early, and none of them had finished ${table}.`,
    look: 'The stop reason of the runs in the log. A dry run counts the backlog.',
    metric: new cloudwatch.MathExpression({
      expression: 'IF(partial > 0 AND FILL(remaining, -1) < 0, 1, 0)',
      usingMetrics: {
        partial: cleanup.metricPartial({ statistic, period }),
        remaining: cleanup.metricRowsRemaining({ table, statistic, period }),
      },
      period,
      label: `cut short: ${table}`,
    }),
    evaluationPeriods: count,
  };
}

function skippedRuns(cleanup: TokenCleanup, { count, hours, period }: Periods): AlarmDetails {
  // Not the minimum of `skipped`: a successful run of some tables emits 0 for all four.
  const props = { statistic: cloudwatch.Stats.MAXIMUM, period };
  return {
    name: 'skipped-runs',
    happened: `Every run of the last ${hours} hours was skipped.`,
    look: 'The sessions that hold the lock of a run in the database: those of another deployment, or of a run that hangs.',
    metric: new cloudwatch.MathExpression({
      expression: 'IF(skipped > 0 AND succeeded + partial + failed < 1, 1, 0)',
      usingMetrics: {
        skipped: cleanup.metricSkipped(props),
        succeeded: cleanup.metricSucceeded(props),
        partial: cleanup.metricPartial(props),
        failed: cleanup.metricFailed(props),
      },
      period,
      label: 'skipped runs',
    }),
    evaluationPeriods: count,
  };
}

/**
 * A run reports no hours if the server does not show when the indexes were last cleaned, and that must not count as good.
 * One such run is no reason for an alarm: another transaction may have held back the vacuum. So the time is divided into
 * periods, each long enough for a run, and the alarm goes off if all of them fall short.
 */
function notUnlinked(cleanup: TokenCleanup, table: string, unlinkWithin: Duration): AlarmDetails {
  const hours = unlinkWithin.toHours({ integral: false });
  const period = timeOfARun(cleanup.successWithin);
  const count = Math.max(1, Math.floor(Math.min(hours, LONGEST_LOOK_BACK_HOURS) / period.toHours()));
  return {
    name: `not-unlinked-${table}`,
    section: 'not-unlinked',
    happened: `For ${hours} hours no run could prove that the rows deleted from ${table} are unlinked. (Expected before the first run.)`,
    look: 'The key erasure in the log: heldBackBy names whatever keeps a vacuum from the rows; without hoursUnlinked, no vacuum is known to have cleaned the indexes.',
    metric: cleanup.metricHoursUnlinked({ table, statistic: cloudwatch.Stats.MINIMUM, period }),
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    threshold: hours - period.toHours() * (count - 1),
    evaluationPeriods: count,
    // No runs are expected without a schedule.
    treatMissingData: cleanup.successWithin
      ? cloudwatch.TreatMissingData.BREACHING
      : cloudwatch.TreatMissingData.IGNORE,
  };
}
