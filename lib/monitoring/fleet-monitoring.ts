import { Duration, Names } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { FLEET_METRICS } from '../../lambda/metrics';
import type { TokenCleanupFleet } from '../token-cleanup-fleet';
import {
  type AlarmDetails,
  anyOf,
  createAlarms,
  deadLetters,
  heartbeat,
  hoursOf,
  LONGEST_LOOK_BACK_HOURS,
  type Periods,
  severalRuns,
} from './alarm';
import { createDashboard } from './dashboard';
import { createQueries, FLEET_QUERIES } from './saved-queries';
import type { WatchProps } from './watch-props';

export interface FleetMonitoringProps extends WatchProps {
  readonly fleet: TokenCleanupFleet;

  /**
   * The time within which each database must be swept completely.
   *
   * @default - three times the time between two runs
   */
  readonly sweptWithin?: Duration;
}

/** Alarms, a dashboard and saved queries for a whole fleet, however many databases it has. */
export class FleetMonitoring extends Construct {
  readonly alarms: cloudwatch.Alarm[];
  /** In alarm while any of the alarms is, for example to gate deployments or for a status page. It has no action. */
  readonly anyAlarm: cloudwatch.CompositeAlarm;
  readonly dashboard: cloudwatch.Dashboard;

  constructor(scope: Construct, id: string, props: FleetMonitoringProps) {
    super(scope, id);
    const { fleet } = props;
    this.alarms = createAlarms(fleet, alarmsOf(fleet, props.sweptWithin), props);
    this.anyAlarm = anyOf(this, 'AnyAlarm', this.alarms);
    const failureFields = 'coalesce(result.server, server) as on, result.database, coalesce(message, record.status)';
    this.dashboard = createDashboard(this, [fleet], this.alarms, props, failureFields);
    createQueries(this, props.dashboardName ?? Names.uniqueResourceName(this, {}), [fleet.logGroup], FLEET_QUERIES);
  }
}

function alarmsOf(fleet: TokenCleanupFleet, sweptWithin: Duration | undefined): AlarmDetails[] {
  const alarms = [failedRun(fleet), deadLetters(fleet.deadLetterQueue, 'A run could not be started')];
  if (fleet.completedWithin) {
    const hours = hoursOf(fleet.completedWithin);
    alarms.push(...(hours < LONGEST_LOOK_BACK_HOURS ? [noRun(fleet, hours + 1)] : []));
    alarms.push(
      backlogGrows(fleet, severalRuns(fleet.completedWithin)),
      notSwept(fleet, sweptWithin ?? Duration.hours(3 * hours)),
    );
  }
  return alarms;
}

function failedRun({ stateMachine }: TokenCleanupFleet): AlarmDetails {
  const period = Duration.hours(1);
  return {
    name: 'failed-run',
    section: 'failed-fleet-run',
    happened: 'A run failed: at least one database or server did, the manifest has mistakes, or the run was cut off.',
    look: 'The last failures on the dashboard, and the execution in the Step Functions console.',
    metric: new cloudwatch.MathExpression({
      expression: 'failed + timedOut + aborted',
      usingMetrics: {
        failed: stateMachine.metricFailed({ period }),
        timedOut: stateMachine.metricTimedOut({ period }),
        aborted: stateMachine.metricAborted({ period }),
      },
      period,
      label: 'failed runs',
    }),
  };
}

/** A run that failed for some databases counts. */
function noRun(fleet: TokenCleanupFleet, hours: number): AlarmDetails {
  const period = Duration.hours(1);
  return {
    name: 'no-run',
    section: 'no-fleet-run',
    happened: `No run finished in ${hours} hours. (Expected before the first run of a new deployment.)`,
    look: 'The executions of the state machine, the off switch, then the dead letters.',
    ...heartbeat(fleet.metric(FLEET_METRICS.duration, { statistic: cloudwatch.Stats.SAMPLE_COUNT, period }), hours),
  };
}

function backlogGrows(fleet: TokenCleanupFleet, { count, hours, period }: Periods): AlarmDetails {
  return {
    name: 'backlog-grows',
    section: 'growing-backlog',
    happened: `Every run of the last ${hours} hours left databases unfinished, or more dead rows than the run before.`,
    look: 'The databases that were not swept, in the saved query databases, and the stop reasons of their tables.',
    // The minimum of a period, so that a single run without growth ends the alarm.
    metric: fleet.metric(FLEET_METRICS.backlogGrows, { statistic: cloudwatch.Stats.MINIMUM, period }),
    evaluationPeriods: count,
  };
}

function notSwept(fleet: TokenCleanupFleet, sweptWithin: Duration): AlarmDetails {
  return {
    name: 'database-not-swept',
    happened: `A database was not swept completely for more than ${hoursOf(sweptWithin)} hours.`,
    look: 'oldestSweep of the last run in the saved query fleet-runs: it names the server and the database.',
    metric: fleet.metric(FLEET_METRICS.oldestSweepHours),
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    threshold: hoursOf(sweptWithin),
  };
}
