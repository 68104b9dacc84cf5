/** The names of all metrics, and their emission. The stack takes the names from here. */

import type { FleetReport } from './fleet/fleet-report';
import type { RunReport, RunStatus } from './run/report';
import { groupedBy, sum, sumIfKnown } from './run/totals';

export const METRIC_NAMESPACE = 'TokenCleanup';

/** Metrics with the dimensions `service`, `stage` and `table`. */
export const TABLE_METRICS = {
  rowsDeleted: 'RowsDeleted',
  duration: 'Duration',
  rowsRemaining: 'RowsRemaining',
  hoursUnlinked: 'HoursUnlinked',
} as const;

/** Metrics with the dimensions `service` and `stage`. Each is 0 or 1 on every run; a dry run emits none. */
export const RUN_METRICS = {
  succeeded: 'Succeeded',
  partial: 'Partial',
  failed: 'Failed',
  skipped: 'Skipped',
} as const satisfies Record<RunStatus, string>;

/** Metrics of a run on a fleet, with the dimensions `service` and `stage`, in addition to {@link RUN_METRICS}. */
export const FLEET_METRICS = {
  serversFailed: 'ServersFailed',
  databases: 'Databases',
  databasesFailed: 'DatabasesFailed',
  databasesCutShort: 'DatabasesCutShort',
  rowsDeleted: 'RowsDeleted',
  rowsRemaining: 'RowsRemaining',
  duration: 'Duration',
  backlogGrows: 'BacklogGrows',
  oldestSweepHours: 'OldestSweepHours',
} as const;

/** The dimensions in addition to `service`, which the metrics library adds. */
export const STAGE_DIMENSION = 'stage';

export const TABLE_DIMENSION = 'table';

/** The part of a metrics library that a run needs. The one of Powertools fits. */
export interface RunMetrics {
  addDimensions(dimensions: Record<string, string>): unknown;
  addMetric(name: string, unit: 'Count' | 'Milliseconds', value: number): unknown;
  publishStoredMetrics(): void;
}

/**
 * Emits the metrics of a run. A dry run has none: it deletes nothing.
 *
 * @param complete whether the run was to sweep all configured tables. Only such a run counts as a success and ends the
 * alarm about missing runs.
 */
export function emitReport(metrics: RunMetrics, report: RunReport, complete = true): void {
  if (report.dryRun) {
    return;
  }
  // The tables that one target matches in many schemas share a metric, since each value of a dimension costs money.
  for (const [table, targets] of groupedBy(report.targets, (target) => target.pattern ?? target.table)) {
    const sumOf = (key: 'rowsDeleted' | 'durationMs') => sum(targets.map(({ [key]: value }) => value));
    metrics.addDimensions({ [STAGE_DIMENSION]: report.stage, [TABLE_DIMENSION]: table });
    metrics.addMetric(TABLE_METRICS.rowsDeleted, 'Count', sumOf('rowsDeleted'));
    metrics.addMetric(TABLE_METRICS.duration, 'Milliseconds', sumOf('durationMs'));
    const rowsRemaining = sumIfKnown(targets.map((target) => target.rowsRemaining));
    if (rowsRemaining !== undefined) {
      metrics.addMetric(TABLE_METRICS.rowsRemaining, 'Count', rowsRemaining);
    }
    // Not of those in which it is known alone: the alarm would take them for all.
    const hoursUnlinked = targets.map(({ erasure }) => erasure?.hoursUnlinked ?? Number.NaN);
    if (!hoursUnlinked.some(Number.isNaN)) {
      metrics.addMetric(TABLE_METRICS.hoursUnlinked, 'Count', Math.max(...hoursUnlinked));
    }
    metrics.publishStoredMetrics();
  }
  metrics.addDimensions({ [STAGE_DIMENSION]: report.stage });
  addOutcome(metrics, report.status, complete);
  metrics.publishStoredMetrics();
}

/**
 * Emits the metrics of a run on a fleet: one value of each, however many servers it has. A dry run has none. A run of some
 * tables or databases has only those of what it did: it counts as no success, and ends no alarm about the whole fleet.
 */
export function emitFleetReport(metrics: RunMetrics, report: FleetReport): void {
  if (report.dryRun) {
    return;
  }
  const { status, isWhole, servers, databases, oldestSweep, startedAt, durationMs } = report;
  metrics.addDimensions({ [STAGE_DIMENSION]: report.stage });
  addOutcome(metrics, status, isWhole);
  metrics.addMetric(FLEET_METRICS.serversFailed, 'Count', servers.failed ?? 0);
  metrics.addMetric(FLEET_METRICS.databasesFailed, 'Count', databases.failed ?? 0);
  metrics.addMetric(FLEET_METRICS.rowsDeleted, 'Count', report.rowsDeleted);
  if (isWhole) {
    metrics.addMetric(FLEET_METRICS.databases, 'Count', databases.total);
    metrics.addMetric(FLEET_METRICS.databasesCutShort, 'Count', report.databasesCutShort);
    metrics.addMetric(FLEET_METRICS.rowsRemaining, 'Count', report.rowsRemaining);
    metrics.addMetric(FLEET_METRICS.duration, 'Milliseconds', durationMs);
    metrics.addMetric(FLEET_METRICS.backlogGrows, 'Count', report.backlogGrows ? 1 : 0);
  }
  if (isWhole && oldestSweep) {
    const ageMs = Date.parse(startedAt) + durationMs - Date.parse(oldestSweep.at);
    metrics.addMetric(FLEET_METRICS.oldestSweepHours, 'Count', ageMs / MS_PER_HOUR);
  }
  metrics.publishStoredMetrics();
}

function addOutcome(metrics: RunMetrics, status: RunStatus, isWhole: boolean): void {
  for (const [outcome, name] of Object.entries(RUN_METRICS)) {
    const counts = outcome === status && (isWhole || status !== 'succeeded');
    metrics.addMetric(name, 'Count', counts ? 1 : 0);
  }
}

const MS_PER_HOUR = 3_600_000;
