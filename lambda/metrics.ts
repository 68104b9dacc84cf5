import type { RunReport } from './report';

export const METRIC_NAMESPACE = 'TokenCleanup';

/** With the dimensions `service`, `stage` and `table`. */
export const TABLE_METRICS = {
  rowsDeleted: 'RowsDeleted',
  duration: 'Duration',
  rowsRemaining: 'RowsRemaining',
} as const;

/** With the dimensions `service` and `stage`; each 0 or 1 on every run. */
export const RUN_METRICS = { succeeded: 'Succeeded', partial: 'Partial', failed: 'Failed' } as const;

/** The dimensions besides `service`, which the metrics library adds by itself. */
export const STAGE_DIMENSION = 'stage';

export const TABLE_DIMENSION = 'table';

/** All that a run needs of a metrics library; that of Powertools fits. */
export interface RunMetrics {
  addDimensions(dimensions: Record<string, string>): unknown;
  addMetric(name: string, unit: 'Count' | 'Milliseconds', value: number): unknown;
  publishStoredMetrics(): void;
}

/**
 * Emits the metrics of a run. A dry run counts neither as succeeded nor as partial, since nothing got cleaned: it must not
 * quiet the alarm that watches for successful runs.
 */
export function emitReport(metrics: RunMetrics, report: RunReport): void {
  for (const target of report.targets) {
    metrics.addDimensions({ [STAGE_DIMENSION]: report.stage, [TABLE_DIMENSION]: target.table });
    metrics.addMetric(TABLE_METRICS.rowsDeleted, 'Count', target.rowsDeleted);
    metrics.addMetric(TABLE_METRICS.duration, 'Milliseconds', target.durationMs);
    if (target.rowsRemaining !== undefined) {
      metrics.addMetric(TABLE_METRICS.rowsRemaining, 'Count', target.rowsRemaining);
    }
    metrics.publishStoredMetrics();
  }
  metrics.addDimensions({ [STAGE_DIMENSION]: report.stage });
  for (const status of ['succeeded', 'partial', 'failed'] as const) {
    const counts = report.status === status && (status === 'failed' || !report.dryRun);
    metrics.addMetric(RUN_METRICS[status], 'Count', counts ? 1 : 0);
  }
  metrics.publishStoredMetrics();
}
