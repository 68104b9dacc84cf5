import { LONGEST_STATE, sizeOf } from '../run/abridged-report';
import { LEVELS, type RunLogger, type RunStatus } from '../run/report';
import { groupedBy, sum } from '../run/totals';
import { type Memory, type OldestSweep, oldestSweep, remember, rowsRemainingIn } from './memory';
import type { ServerResult } from './server-result';
import type { DatabaseResult } from './server-round';

/** A run on a fleet. */
export interface FleetRun {
  readonly stage: string;
  /** The id of the execution of the state machine. */
  readonly execution: string;
  readonly dryRun: boolean;
  /** Whether the run was to sweep all tables of all databases. */
  readonly isWhole: boolean;
  readonly startedAt: string;
  readonly durationMs: number;
  /** Why the run ended early, if it did. */
  readonly error?: string;
}

/** The result of a run on a fleet. */
export interface FleetReport extends FleetRun {
  readonly status: RunStatus;
  readonly servers: Counts<ServerResult['outcome']>;
  readonly databases: Counts<RunStatus>;
  readonly rowsDeleted: number;
  /** The dead rows that remain, where they were counted; in a dry run those that a run would delete. */
  readonly rowsRemaining: number;
  /** Databases whose server was reached, and that were not swept to their end. */
  readonly databasesCutShort: number;
  /** Whether databases were cut short or not reached, or, after a whole run, more dead rows remain than after the last. */
  readonly backlogGrows: boolean;
  readonly oldestSweep?: OldestSweep;
  readonly failures: readonly Failure[];
  /** The number of failures that are left out, since the list would be too long for an event. */
  readonly failuresLeftOut?: number;
  /** Absent if there are too many for an event. Each has a line in the log. */
  readonly results?: readonly FleetDatabaseResult[];
}

type Counts<Outcome extends string> = Readonly<Partial<Record<Outcome, number>>> & { readonly total: number };

interface Failure {
  readonly server: string;
  /** Absent if the server failed as a whole. */
  readonly database?: string;
  readonly error: string;
}

export type FleetDatabaseResult = DatabaseResult & { readonly server: string };

/**
 * Sums up the results of all servers of the manifest. The memory changes only after a whole run: a dry run sweeps nothing, and a
 * run whose manifest was refused has no servers.
 */
export function fleetReport(
  run: FleetRun,
  servers: readonly ServerResult[],
  before: Memory,
): { readonly report: FleetReport; readonly results: readonly FleetDatabaseResult[]; readonly memory: Memory } {
  const results = servers.flatMap(({ server, databases }) => databases.map((result) => ({ server, ...result })));
  const isSweep = run.isWhole && !run.dryRun && servers.length > 0;
  const memory = isSweep ? remember(before, servers, run.startedAt) : before;
  const isUndone = servers.some(({ outcome, isComplete }) => outcome !== 'failed' && !isComplete);
  const databasesCutShort = results.filter(({ isSwept, status }) => !isSwept && status !== 'failed').length;
  const oldest = oldestSweep(memory);
  const report = {
    status: statusOf(servers, results, isUndone, run.error),
    ...run,
    servers: counted(servers.map(({ outcome }) => outcome)),
    databases: counted(results.map(({ status }) => status)),
    rowsDeleted: sum(results.map(({ rowsDeleted }) => rowsDeleted)),
    rowsRemaining: rowsRemainingIn(servers),
    databasesCutShort,
    backlogGrows: isUndone || databasesCutShort > 0 || memory.rowsRemaining > before.rowsRemaining,
    ...(oldest && { oldestSweep: oldest }),
    failures: failuresOf(servers),
  };
  return { report: fitting(report, results), results, memory };
}

/** Writes one line for each database, one for each server that failed as a whole, and one for the run. */
export function logFleetReport(
  logger: RunLogger,
  { results: _, failures, ...run }: FleetReport,
  results: readonly FleetDatabaseResult[],
): void {
  for (const result of results) {
    const { server, database, status, rowsDeleted } = result;
    logger[LEVELS[status]](`${server}, ${database}: ${status}, ${rowsDeleted} rows deleted`, { result });
  }
  for (const { server, error } of failures.filter(({ database }) => database === undefined)) {
    logger.error(`${server}: failed: ${error}`, { result: { server, status: 'failed', error } });
  }
  logger[LEVELS[run.status]](
    `fleet: ${run.status}, ${run.servers.total} servers, ${run.databases.total} databases, ${run.rowsDeleted} rows deleted`,
    { run },
  );
}

function statusOf(
  servers: readonly ServerResult[],
  results: readonly DatabaseResult[],
  isUndone: boolean,
  error: string | undefined,
): RunStatus {
  const isAny = (status: RunStatus) => results.some((result) => result.status === status);
  if (error !== undefined || isAny('failed') || servers.some(({ outcome }) => outcome === 'failed')) {
    return 'failed';
  }
  if (servers.every(({ outcome }) => outcome === 'skipped')) {
    return 'skipped';
  }
  return isUndone || isAny('partial') ? 'partial' : 'succeeded';
}

function failuresOf(servers: readonly ServerResult[]): Failure[] {
  return servers.flatMap(({ server, databases, error }) => [
    ...(error === undefined ? [] : [{ server, error }]),
    ...databases.flatMap(({ database, error: text }) =>
      text === undefined ? [] : [{ server, database, error: text }],
    ),
  ]);
}

function counted<Outcome extends string>(outcomes: readonly Outcome[]): Counts<Outcome> {
  const counts = [...groupedBy(outcomes, (outcome) => outcome)].map(([outcome, { length }]) => [outcome, length]);
  return { total: outcomes.length, ...Object.fromEntries(counts) };
}

/** With the results if they fit, and with as many of the failures as fit. */
function fitting(report: FleetReport, results: readonly FleetDatabaseResult[]): FleetReport {
  const whole = { ...report, results };
  if (sizeOf(whole) <= LONGEST_STATE) {
    return whole;
  }
  let bytes = sizeOf({ ...report, failures: [] });
  const failures = report.failures.filter((failure) => {
    bytes += sizeOf(failure) + 1;
    return bytes <= LONGEST_STATE;
  });
  const failuresLeftOut = report.failures.length - failures.length;
  return { ...report, failures, ...(failuresLeftOut > 0 && { failuresLeftOut }) };
}
