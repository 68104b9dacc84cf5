import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type { ILogGroup } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { FLEET_METRICS, RUN_METRICS } from '../../lambda/metrics';
import { given } from '../given';
import type { TokenCleanup } from '../token-cleanup';
import type { TokenCleanupFleet } from '../token-cleanup-fleet';
import { RunWidget } from './run-widget';
import { FAILURES } from './saved-queries';

/** The width of CloudWatch's grid. */
const WIDTH = 24;

/** Alarms in a row of the widget. With more, the names are cut off. */
const ALARMS_IN_A_ROW = 4;

interface DashboardSettings {
  readonly dashboardName?: string | undefined;
  readonly buttons: boolean;
}

/** One dashboard for several cleanups: the alarms, the tables and outcomes of each, and the last failures of all. */
export function createDashboard(
  scope: Construct,
  cleanups: readonly TokenCleanup[],
  alarms: readonly cloudwatch.Alarm[],
  { dashboardName, buttons }: DashboardSettings,
): cloudwatch.Dashboard {
  const dashboard = new cloudwatch.Dashboard(scope, 'Dashboard', {
    ...given({ dashboardName }),
    defaultInterval: Duration.days(14),
  });
  dashboard.addWidgets(
    new cloudwatch.AlarmStatusWidget({
      title: 'Alarms',
      alarms: [...alarms],
      width: WIDTH,
      height: 1 + Math.ceil(alarms.length / ALARMS_IN_A_ROW),
    }),
  );
  if (buttons) {
    dashboard.addWidgets(new RunWidget(scope, 'Runs', cleanups).widget);
  }
  for (const cleanup of cleanups) {
    const markdown = `## ${cleanup.node.id}\n${cleanup.scheduleInWords}`;
    dashboard.addWidgets(new cloudwatch.TextWidget({ markdown, width: WIDTH, height: 2 }));
    dashboard.addWidgets(...runWidgets(cleanup));
  }
  dashboard.addWidgets(
    lastFailures(
      cleanups.map(({ logGroup }) => logGroup),
      'fields @timestamp, @log, coalesce(message, record.status) as failure',
    ),
  );
  return dashboard;
}

function runWidgets(cleanup: TokenCleanup): cloudwatch.IWidget[] {
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

/** One dashboard for a whole fleet. */
export function createFleetDashboard(
  scope: Construct,
  fleet: TokenCleanupFleet,
  alarms: cloudwatch.Alarm[],
  { dashboardName, buttons }: DashboardSettings,
): cloudwatch.Dashboard {
  const dashboard = new cloudwatch.Dashboard(scope, 'Dashboard', {
    ...given({ dashboardName }),
    defaultInterval: Duration.days(14),
  });
  const metrics = (...names: string[]) => names.map((name) => fleet.metric(name, { label: name }));
  const { databases, databasesFailed, databasesCutShort, rowsDeleted, rowsRemaining } = FLEET_METRICS;
  const markdown = `## ${fleet.node.id}\n${fleet.scheduleInWords}`;
  dashboard.addWidgets(new cloudwatch.AlarmStatusWidget({ title: 'Alarms', alarms, width: WIDTH }));
  if (buttons) {
    dashboard.addWidgets(new RunWidget(scope, 'Runs', [fleet]).widget);
  }
  dashboard.addWidgets(new cloudwatch.TextWidget({ markdown, width: WIDTH, height: 2 }));
  dashboard.addWidgets(
    graph('Outcomes', metrics(...Object.values(RUN_METRICS))),
    graph('Databases', metrics(databases, databasesFailed, databasesCutShort)),
    graph('Servers that failed', metrics(FLEET_METRICS.serversFailed)),
    graph('Rows', metrics(rowsDeleted, rowsRemaining)),
    graph('Hours since the oldest sweep', metrics(FLEET_METRICS.oldestSweepHours)),
    graph('Backlog grows', metrics(FLEET_METRICS.backlogGrows)),
    graph('Duration (ms)', metrics(FLEET_METRICS.duration)),
  );
  dashboard.addWidgets(
    lastFailures(
      [fleet.logGroup],
      'fields @timestamp, coalesce(result.server, server) as on, result.database, coalesce(message, record.status)',
    ),
  );
  return dashboard;
}

function graph(title: string, left: cloudwatch.IMetric[]): cloudwatch.GraphWidget {
  return new cloudwatch.GraphWidget({ title, left, leftYAxis: { min: 0, showUnits: false } });
}

function lastFailures(logGroups: readonly ILogGroup[], fields: string): cloudwatch.LogQueryWidget {
  return new cloudwatch.LogQueryWidget({
    title: 'Last failures',
    width: WIDTH,
    logGroupNames: logGroups.map(({ logGroupName }) => logGroupName),
    queryLines: [fields, `filter ${FAILURES}`, 'sort @timestamp desc', 'limit 20'],
  });
}
