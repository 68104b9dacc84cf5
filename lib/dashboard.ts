import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type { Construct } from 'constructs';
import { RunWidget } from './run-widget';
import type { TokenCleanup } from './token-cleanup';

/** The columns of CloudWatch's grid. */
const WIDTH = 24;

/** Alarms in a row of the widget. Longer rows cut off the names. */
const ALARMS_IN_A_ROW = 4;

/** One dashboard for several cleanups: the alarms, the tables and outcomes of each, and the last failures of all. */
export function createDashboard(
  scope: Construct,
  cleanups: readonly TokenCleanup[],
  alarms: readonly cloudwatch.Alarm[],
  { dashboardName, buttons }: { readonly dashboardName?: string | undefined; readonly buttons: boolean },
): cloudwatch.Dashboard {
  const dashboard = new cloudwatch.Dashboard(scope, 'Dashboard', {
    ...(dashboardName !== undefined && { dashboardName }),
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
    new cloudwatch.LogQueryWidget({
      title: 'Last failures',
      width: WIDTH,
      logGroupNames: cleanups.map(({ logGroup }) => logGroup.logGroupName),
      queryLines: [
        // The function logs its own failures. If it crashed, Lambda writes a report instead.
        'fields @timestamp, @log, coalesce(message, record.status) as failure',
        'filter level = "ERROR" or (type = "platform.report" and record.status != "success")',
        'sort @timestamp desc',
        'limit 20',
      ],
    }),
  );
  return dashboard;
}

function runWidgets(cleanup: TokenCleanup): cloudwatch.IWidget[] {
  const ofEachTable = (metric: (props: { table: string; label: string }) => cloudwatch.Metric) =>
    cleanup.tables.map((table) => metric.call(cleanup, { table, label: table }));
  const graph = (title: string, left: cloudwatch.Metric[]) =>
    new cloudwatch.GraphWidget({ title, left, leftYAxis: { min: 0, showUnits: false } });
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
