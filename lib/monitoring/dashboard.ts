import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { FLEET_METRICS, RUN_METRICS } from '../../lambda/metrics';
import { given } from '../given';
import type { TokenCleanup } from '../token-cleanup';
import { TokenCleanupFleet } from '../token-cleanup-fleet';
import { createRunWidget } from './run-widget';
import { FAILURES } from './saved-queries';
import type { WatchProps } from './watch-props';

/** The width of CloudWatch's grid. */
const WIDTH = 24;

/** Alarms in a row of the widget. With more, the names are cut off. */
const ALARMS_IN_A_ROW = 4;

/**
 * One dashboard: the alarms, the graphs of each cleanup or of the fleet, and the last failures of all.
 *
 * @param failureFields the columns of the last failures, after the time
 */
export function createDashboard(
  scope: Construct,
  watched: readonly (TokenCleanup | TokenCleanupFleet)[],
  alarms: cloudwatch.Alarm[],
  { dashboardName, dashboardButtons }: WatchProps,
  failureFields: string,
): cloudwatch.Dashboard {
  const dashboard = new cloudwatch.Dashboard(scope, 'Dashboard', {
    ...given({ dashboardName }),
    defaultInterval: Duration.days(14),
  });
  const height = 1 + Math.ceil(alarms.length / ALARMS_IN_A_ROW);
  dashboard.addWidgets(new cloudwatch.AlarmStatusWidget({ title: 'Alarms', alarms, width: WIDTH, height }));
  if (dashboardButtons) {
    dashboard.addWidgets(createRunWidget(new Construct(scope, 'Runs'), watched));
  }
  for (const each of watched) {
    const markdown = `## ${each.node.id}\n${each.scheduleInWords}`;
    dashboard.addWidgets(new cloudwatch.TextWidget({ markdown, width: WIDTH, height: 2 }));
    dashboard.addWidgets(...(each instanceof TokenCleanupFleet ? graphsOfFleet(each) : graphsOfCleanup(each)));
  }
  dashboard.addWidgets(
    new cloudwatch.LogQueryWidget({
      title: 'Last failures',
      width: WIDTH,
      logGroupNames: watched.map(({ logGroup }) => logGroup.logGroupName),
      queryLines: [`fields @timestamp, ${failureFields}`, `filter ${FAILURES}`, 'sort @timestamp desc', 'limit 20'],
    }),
  );
  return dashboard;
}

function graphsOfCleanup(cleanup: TokenCleanup): cloudwatch.IWidget[] {
  const ofEachTable = (metric: (props: { table: string; label: string }) => cloudwatch.Metric) =>
    cleanup.tables.map((table) => metric.call(cleanup, { table, label: table }));
  return [
    graph('Rows deleted', ofEachTable(cleanup.metricRowsDeleted)),
    graph('Rows remaining', ofEachTable(cleanup.metricRowsRemaining)),
    graph('Hours unlinked', ofEachTable(cleanup.metricHoursUnlinked)),
    graph('Duration (ms)', ofEachTable(cleanup.metricDuration)),
    graph('Outcomes', [
      cleanup.metricSucceeded({ label: 'succeeded', color: cloudwatch.Color.GREEN }),
      cleanup.metricPartial({ label: 'partial', color: cloudwatch.Color.ORANGE }),
      cleanup.metricFailed({ label: 'failed', color: cloudwatch.Color.RED }),
      cleanup.metricSkipped({ label: 'skipped', color: cloudwatch.Color.GREY }),
    ]),
  ];
}

function graphsOfFleet(fleet: TokenCleanupFleet): cloudwatch.IWidget[] {
  const metrics = (...names: string[]) => names.map((name) => fleet.metric(name, { label: name }));
  const { databases, databasesFailed, databasesCutShort, rowsDeleted, rowsRemaining } = FLEET_METRICS;
  return [
    graph('Outcomes', metrics(...Object.values(RUN_METRICS))),
    graph('Databases', metrics(databases, databasesFailed, databasesCutShort)),
    graph('Servers that failed', metrics(FLEET_METRICS.serversFailed)),
    graph('Rows', metrics(rowsDeleted, rowsRemaining)),
    graph('Hours since the oldest sweep', metrics(FLEET_METRICS.oldestSweepHours)),
    graph('Backlog grows', metrics(FLEET_METRICS.backlogGrows)),
    graph('Duration (ms)', metrics(FLEET_METRICS.duration)),
  ];
}

function graph(title: string, left: cloudwatch.IMetric[]): cloudwatch.GraphWidget {
  return new cloudwatch.GraphWidget({ title, left, leftYAxis: { min: 0, showUnits: false } });
}
