import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import type { TokenCleanup } from '../token-cleanup';
import type { TokenCleanupFleet } from '../token-cleanup-fleet';
import type { WatchProps } from './watch-props';

/** An alarm of a cleanup or a fleet. */
export interface AlarmDetails extends Partial<cloudwatch.AlarmProps> {
  readonly name: string;
  /**
   * The heading in the runbook: `failed-run` stands for `Alarm: failed run`.
   *
   * @default - the name
   */
  readonly section?: string;
  readonly happened: string;
  readonly look: string;
  readonly metric: cloudwatch.IMetric;
}

/** Creates alarms in the scope of what they watch, so that equal ids in different places do not clash. */
export function createAlarms(
  watched: TokenCleanup | TokenCleanupFleet,
  alarms: readonly AlarmDetails[],
  { topic, runbookUrl = defaultRunbookUrl() }: WatchProps,
): cloudwatch.Alarm[] {
  return alarms.map(({ name, section = name, happened, look, threshold = 1, ...props }) => {
    const alarm = new cloudwatch.Alarm(watched, `Alarm-${name}`, {
      alarmName: `${watched.name}-${name}`,
      alarmDescription:
        `Token cleanup of ${watched.node.id} (${watched.stage}): ${happened} Look first at: ${look} ` +
        `More: ${runbookUrl}#alarm-${section}`,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      evaluationPeriods: 1,
      // There is no data between two runs. The alarm keeps its state until the next run reports.
      treatMissingData: cloudwatch.TreatMissingData.IGNORE,
      ...props,
      threshold,
    });
    alarm.addAlarmAction(new SnsAction(topic));
    return alarm;
  });
}

/** @param happened why there can be messages */
export function deadLetters(queue: IQueue, happened: string): AlarmDetails {
  return {
    name: 'dead-letters',
    happened: `${happened}: there are messages in the dead-letter queue.`,
    look: 'A message, which contains the reason. Deleting it ends this alarm.',
    metric: queue.metricApproximateNumberOfMessagesVisible(),
  };
}

/** CloudWatch's limit of alarms in one composite alarm. */
const LARGEST_COMPOSITE = 100;

/** A composite alarm, of other composite alarms if there are too many alarms for one. */
export function anyOf(scope: Construct, id: string, alarms: readonly cloudwatch.IAlarm[]): cloudwatch.CompositeAlarm {
  const parts = Array.from({ length: Math.ceil(alarms.length / LARGEST_COMPOSITE) }, (_, i) =>
    alarms.slice(i * LARGEST_COMPOSITE, (i + 1) * LARGEST_COMPOSITE),
  );
  const children = parts.length > 1 ? parts.map((part, i) => anyOf(scope, `${id}${i + 1}`, part)) : alarms;
  return new cloudwatch.CompositeAlarm(scope, id, {
    alarmRule: cloudwatch.AlarmRule.anyOf(...children),
    alarmDescription: `Token cleanup: any of ${alarms.length} alarms is on.`,
  });
}

/** CloudWatch's limit: seven days. */
export const LONGEST_LOOK_BACK_HOURS = 7 * 24;

/** How many periods in a row must fall short. A single run may: the next one continues from there. */
const PERIODS_FALLEN_SHORT = 3;

/** Several periods in a row, each long enough for a run. */
export interface Periods {
  readonly period: Duration;
  readonly count: number;
  /** The length of all periods together. */
  readonly hours: number;
}

/**
 * A period in which at least one run ends, if all is well and CloudWatch can look back that far.
 *
 * @param within the longest time between two runs if all is well; a day without a schedule
 */
export function timeOfARun(within = Duration.days(1)): Duration {
  return Duration.hours(Math.min(hoursOf(within), LONGEST_LOOK_BACK_HOURS));
}

export function severalRuns(within: Duration): Periods {
  const period = timeOfARun(within);
  const count = Math.min(PERIODS_FALLEN_SHORT, Math.floor(LONGEST_LOOK_BACK_HOURS / period.toHours()));
  return { period, count, hours: period.toHours() * count };
}

/** The details of an alarm that goes off if there is nothing in so many hours, not even data. */
export function heartbeat(metric: cloudwatch.IMetric, hours: number) {
  return {
    metric,
    comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
    evaluationPeriods: hours,
    treatMissingData: cloudwatch.TreatMissingData.BREACHING,
  };
}

export function hoursOf(duration: Duration): number {
  return Math.ceil(duration.toHours({ integral: false }));
}

/** The runbook of this version. A URL, since alarms are read in e-mails. */
function defaultRunbookUrl(): string {
  // In a checkout this folder is lib/monitoring, in the published package dist/lib/monitoring.
  const folders = [join(__dirname, '..', '..'), join(__dirname, '..', '..', '..')];
  const file = folders.map((folder) => join(folder, 'package.json')).find(existsSync);
  const { version } = JSON.parse(readFileSync(file as string, 'utf8')) as { version: string };
  return `https://github.com/token-cleanup/token-cleanup/blob/v${version}/lib/RUNBOOK.md`;
}
