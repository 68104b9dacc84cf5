import type { Target } from '../configuration/targets';
import { describeError, printable } from '../database/database-error';
import type { Diagnosis } from '../dry-run/diagnosis';
import type { Blockage, SweepCounts } from '../engine/outcome';
import { messageOf } from '../engine/preflight/finding';
import type { PreflightError } from '../engine/preflight/preflight';
import type { Erased } from '../erasure/erasing-purge';
import type { Erasure } from '../erasure/ladder';
import { joinAlike, type Line, limited, MOST_LINES } from './alike-lines';
import type { ServerReport } from './server';
import { sum, sumIfKnown } from './totals';

/**
 * - `succeeded`: every table was swept to its end
 * - `partial`: rows remain, and the stop reasons of the tables say why
 * - `skipped`: the run did not begin, because it is switched off or another run is active
 * - `failed`: at least one table, or the run as a whole, failed
 */
export type RunStatus = 'succeeded' | 'partial' | 'skipped' | 'failed';

/** The status of several parts together: `failed` if any part failed, and `partial` if they differ otherwise. */
export function overall([first = 'succeeded', ...others]: readonly RunStatus[]): RunStatus {
  return [first, ...others].includes('failed')
    ? 'failed'
    : others.every((status) => status === first)
      ? first
      : 'partial';
}

/** The result of a run. */
export interface RunReport {
  readonly status: RunStatus;
  readonly stage: string;
  readonly dryRun: boolean;
  /** The moment from which ages count back, by the database's clock; absent if the database was not reached. */
  readonly cutoff?: string;
  readonly rowsDeleted: number;
  readonly durationMs: number;
  /** Only if the status is `failed`. */
  readonly error?: string;
  /** Circumstances that do not stop a run, but need attention. */
  readonly warnings?: readonly string[];
  /** Only in a dry run. */
  readonly server?: ServerReport;
  readonly targets: readonly TargetReport[];
  /** How many targets the list lacks, since it would be too long to be handed on; absent if it has all. */
  readonly targetsLeftOut?: number;
  /** Only on the databases of a server: the run ended before it had finished the last one. */
  readonly isCutShort?: true;
  /** The last database that such a run finished, if any. Give it to the next run as `after`. */
  readonly next?: string;
}

/** The result of a run for one table. */
export interface TargetReport extends SweepCounts {
  /** Only if the run sweeps the databases of a server by pattern. */
  readonly database?: string;
  readonly table: string;
  /** The name of the configured target, if a pattern of schemas matched its table. Metrics carry this name. */
  readonly pattern?: string;
  readonly status: RunStatus;
  readonly durationMs: number;
  /** The obstacles that kept rows from being deleted; absent if there were none. */
  readonly blockedBy?: readonly Blockage[];
  /** How far the deleted rows are gone; absent if that could not be read. */
  readonly erasure?: Erasure;
  /** The dropped partitions, whose rows are not part of `rowsDeleted`; absent if there are none. */
  readonly partitionsDropped?: Erased['partitionsDropped'];
  readonly error?: string;
  /** Only in a dry run. */
  readonly diagnosis?: Diagnosis;
}

/** The part of a logger that a run needs. The logger of Powertools and the console fit. */
export interface RunLogger {
  debug(message: string, details: Record<string, unknown>): void;
  info(message: string, details: Record<string, unknown>): void;
  warn(message: string, details: Record<string, unknown>): void;
  error(message: string, details: Record<string, unknown>): void;
}

/** Whether a run deleted anything. */
export function hasDeleted({ rowsDeleted, targets }: RunReport): boolean {
  return rowsDeleted > 0 || targets.some(({ partitionsDropped }) => partitionsDropped !== undefined);
}

/** Writes one line for each table and one for the run, with the sum of the remaining rows if all tables were counted. */
export function logReport(logger: RunLogger, report: RunReport): void {
  for (const target of report.targets) {
    logger[LEVELS[target.status]](`${titleOf(target)}: ${summaryOf(target, report.dryRun)}`, { target });
  }
  const { targets, ...run } = report;
  const rowsRemaining = sumIfKnown(targets.map((target) => target.rowsRemaining));
  logger[LEVELS[report.status]](`token cleanup: ${summaryOf(report, report.dryRun)}`, {
    run: { ...run, ...(targets.length > 0 && rowsRemaining !== undefined && { rowsRemaining }) },
  });
}

function titleOf({ database, table }: TargetReport): string {
  return database === undefined ? table : `${database}, ${table}`;
}

/** Levels of the log. */
export const LEVELS = { succeeded: 'info', partial: 'warn', skipped: 'info', failed: 'error' } as const;

function summaryOf(part: RunReport | TargetReport, dryRun: boolean): string {
  const deleted = dryRun ? 'dry run, nothing deleted' : `${part.rowsDeleted} rows deleted`;
  const reason = 'stopReason' in part && part.status === 'partial' ? `, ${part.stopReason}` : '';
  return `${part.status}${reason}, ${deleted}, ${part.durationMs} ms${part.error ? `: ${part.error}` : ''}`;
}

/**
 * The result of the runs on the databases of a server, in the order in which they were swept.
 *
 * @param end whether the run had to stop before the last database, and where
 */
export function serverResult(
  runs: ReadonlyMap<string, RunResult>,
  ownWarnings: readonly string[],
  end: Pick<RunReport, 'isCutShort' | 'next'>,
): RunResult {
  const results = [...runs];
  const statuses = results.map(([, { status }]) => status);
  const targets = results.flatMap(([database, run]) => run.targets.map((target) => ({ database, ...target })));
  const lines = (texts: (result: RunResult) => readonly string[]) =>
    joinAlike(results.flatMap(([subject, result]) => texts(result).map((text) => ({ subject, text, kind: text }))));
  const warnings = limited([...ownWarnings, ...lines((result) => result.warnings ?? [])]);
  const [first] = runs.values();
  const facts = { cutoff: first?.cutoff, server: first?.server, warnings };
  const mistakes = lines((result) => result.mistakes);
  return { ...result(overall(end.isCutShort ? [...statuses, 'partial'] : statuses), targets, facts, mistakes), ...end };
}

/** A replica whose lag hovers around the limit causes a warning every few seconds. The log contains all of them. */
export const MOST_WARNINGS = MOST_LINES;

/** A report without the fields that only the service knows, with its mistakes one by one. */
export interface RunResult extends Omit<RunReport, keyof Circumstances | 'error'> {
  readonly mistakes: readonly string[];
}

type Circumstances = Pick<RunReport, 'stage' | 'dryRun' | 'durationMs'>;

export function runReport(
  { status, mistakes, ...result }: RunResult,
  { stage, dryRun, durationMs }: Circumstances,
): RunReport {
  return { status, stage, dryRun, durationMs, ...errorOf(mistakes), ...result };
}

/** The report of a run that does not take place because of its environment or its event. */
export function notRunReport(
  reason: Pick<RunReport, 'status' | 'error' | 'warnings'>,
  { stage, dryRun }: Omit<Circumstances, 'durationMs'>,
): RunReport {
  return { ...reason, stage, dryRun, rowsDeleted: 0, durationMs: 0, targets: [] };
}

/** The reason of every run where the job does not run. */
export const SWITCHED_OFF = { status: 'skipped', warnings: ['NODE_ENV is test, where the job does not run'] } as const;

interface Facts {
  readonly cutoff?: string | undefined;
  readonly server?: ServerReport | undefined;
  readonly warnings: readonly string[];
}

export function runResult(targets: readonly TargetResult[], facts: Facts): RunResult {
  const lines = targets.flatMap(({ target, mistakes }) => mistakes.map((text) => lineOf(target, text)));
  const reports = targets.map(({ report }) => report);
  return result(overall(reports.map(({ status }) => status)), reports, facts, joinAlike(lines));
}

/** A line about a table. Those of the tables that one target matches are of a kind if they differ only in the schema. */
export function lineOf({ name, pattern, schema }: Target, text: string): Line {
  return {
    subject: printable(name),
    text,
    ...(pattern !== undefined && { kind: JSON.stringify([pattern, text.replaceAll(schema, '*')]) }),
  };
}

/** The result of a run that failed as a whole or, without a mistake, was skipped. */
export function notRunResult(targets: readonly Target[], facts: Facts, mistake?: string): RunResult {
  const status = mistake === undefined ? 'skipped' : 'failed';
  const mistakes = mistake === undefined ? [] : [mistake];
  const reports = targets.map((target) => targetResult(target, { status, ...NOTHING_DONE }, mistakes).report);
  return result(status, reports, facts, mistakes);
}

function result(
  status: RunStatus,
  targets: readonly TargetReport[],
  { cutoff, server, warnings }: Facts,
  mistakes: readonly string[],
): RunResult {
  return {
    status,
    ...(cutoff && { cutoff }),
    rowsDeleted: sum(targets.map(({ rowsDeleted }) => rowsDeleted)),
    mistakes,
    ...(warnings.length > 0 && { warnings }),
    ...(server && { server }),
    targets,
  };
}

/** The outcome of the work on a table; in a dry run with its diagnosis. */
export interface Examined extends Erased {
  readonly diagnosis?: Diagnosis;
}

/** The report of a table, and its mistakes one by one. */
interface TargetResult {
  readonly target: Target;
  readonly report: TargetReport;
  readonly mistakes: readonly string[];
}

export function workedTarget(target: Target, examined: Examined): TargetResult {
  const { outcome, durationMs, erasure, partitionsDropped, diagnosis } = examined;
  const { error, blockedBy, longestBatchMs, ...counts } = outcome;
  const report = {
    status: error !== undefined ? 'failed' : outcome.stopReason === 'drained' ? 'succeeded' : 'partial',
    ...counts,
    longestBatchMs: Math.round(longestBatchMs),
    durationMs: Math.round(durationMs),
    ...(blockedBy.length > 0 && { blockedBy }),
    ...(erasure && { erasure }),
    ...(partitionsDropped && { partitionsDropped }),
    ...(diagnosis && { diagnosis }),
  } as const;
  return targetResult(target, report, error === undefined ? [] : [describeError(error)]);
}

/** The result for a table that did not pass the preflight. */
export function refusedTarget(target: Target, { findings }: PreflightError, diagnosis?: Diagnosis): TargetResult {
  // A table of thousands of partitions may lack a privilege for each.
  const mistakes = limited(findings.map(messageOf));
  return targetResult(target, { status: 'failed', ...NOTHING_DONE, ...(diagnosis && { diagnosis }) }, mistakes);
}

const NOTHING_DONE = { rowsDeleted: 0, batches: 0, longestBatchMs: 0, durationMs: 0 };

function targetResult(
  target: Target,
  report: Omit<TargetReport, 'table' | 'pattern' | 'error'>,
  mistakes: readonly string[],
): TargetResult {
  const { name: table, pattern } = target;
  return {
    target,
    report: { table, ...(pattern !== undefined && { pattern }), ...report, ...errorOf(mistakes) },
    mistakes,
  };
}

function errorOf(mistakes: readonly string[]): { readonly error?: string } {
  return mistakes.length > 0 ? { error: mistakes.join('\n') } : {};
}
