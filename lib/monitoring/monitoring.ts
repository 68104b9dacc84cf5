import { type Duration, Names } from 'aws-cdk-lib';
import type { Alarm, CompositeAlarm, Dashboard } from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import type { TokenCleanup } from '../token-cleanup';
import { anyOf, createAlarms } from './alarm';
import { alarmsOf } from './cleanup-alarms';
import { createDashboard } from './dashboard';
import { CLEANUP_QUERIES, createQueries } from './saved-queries';
import type { WatchProps } from './watch-props';

export interface MonitoringProps extends WatchProps {
  /** The cleanups to watch. Alarms and the dashboard name each by its construct id. */
  readonly cleanups: TokenCleanup[];

  /**
   * The number of dead rows of a table that may remain, run after run. Raise it if a constraint keeps some for good. A
   * partial run then counts as a success.
   *
   * @default 0
   */
  readonly rowsRemainingThreshold?: number;

  /**
   * The time within which a vacuum must remove deleted rows from the table and its indexes. Each table gets an alarm that
   * goes off if no run can show that.
   *
   * @default - no alarm
   */
  readonly unlinkWithin?: Duration;
}

/** Alarms for each of several cleanups, and one dashboard and saved queries for all of them. */
export class Monitoring extends Construct {
  readonly alarms: Alarm[];
  /**
   * In alarm while any of the alarms is, for example to gate deployments or for a status page. It has no action.
   * Undefined for a single cleanup.
   */
  readonly anyAlarm?: CompositeAlarm;
  readonly dashboard: Dashboard;

  constructor(scope: Construct, id: string, props: MonitoringProps) {
    super(scope, id);
    const { rowsRemainingThreshold = 0, unlinkWithin } = props;
    this.alarms = props.cleanups.flatMap((cleanup) =>
      createAlarms(cleanup, alarmsOf(cleanup, rowsRemainingThreshold, unlinkWithin), props),
    );
    if (props.cleanups.length > 1) {
      this.anyAlarm = anyOf(this, 'AnyAlarm', this.alarms);
    }
    const failureFields = '@log, coalesce(message, record.status) as failure';
    this.dashboard = createDashboard(this, props.cleanups, this.alarms, props, failureFields);
    const logGroups = props.cleanups.map(({ logGroup }) => logGroup);
    createQueries(this, props.dashboardName ?? Names.uniqueResourceName(this, {}), logGroups, CLEANUP_QUERIES);
  }
}
