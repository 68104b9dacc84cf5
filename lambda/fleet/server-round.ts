import type { RunReport, RunStatus, TargetReport } from '../report';

/** The result of a run for one database of a server. */
export interface DatabaseResult {
  readonly database: string;
  /** That of the worst table. */
  readonly status: RunStatus;
  /** Whether every table was visited to its end, even if rows had to stay. */
  readonly isSwept: boolean;
  readonly rowsDeleted: number;
  /** Absent if the rows of a table were not counted. */
  readonly rowsRemaining?: number;
  readonly durationMs: number;
  readonly error?: string;
}

/** One round of a run on a server: the file that is kept in S3. */
export interface ServerRound extends Omit<RunReport, 'server' | 'targets'> {
  readonly server: string;
  /** Counts from 1. */
  readonly round: number;
  readonly databases: readonly DatabaseResult[];
}

/**
 * The databases of a round, whose results fit into the 256 KiB of a state, also if each of them failed at length. The next
 * round goes on behind the last one.
 */
export const MOST_DATABASES = 300;

/** The log of the function has the whole texts. */
const LONGEST_ERROR = 500;

/** The results of a run by database, in the order of the run. */
export function databaseResults(targets: readonly TargetReport[]): DatabaseResult[] {
  return [...groupedByDatabase(targets)].map(([database, tables]) => {
    const remaining = tables.map(({ rowsRemaining }) => rowsRemaining);
    const errors = tables.flatMap(({ table, error }) => (error === undefined ? [] : [`${table}: ${error}`]));
    return {
      database,
      status: worstOf(tables.map(({ status }) => status)),
      isSwept: tables.every(({ stopReason }) => stopReason === 'drained' || stopReason === 'blocked'),
      rowsDeleted: sum(tables.map(({ rowsDeleted }) => rowsDeleted)),
      ...(remaining.every((rows) => rows !== undefined) && { rowsRemaining: sum(remaining) }),
      durationMs: sum(tables.map(({ durationMs }) => durationMs)),
      ...(errors.length > 0 && { error: errors.join('\n').slice(0, LONGEST_ERROR) }),
    };
  });
}

/** From the worst on. */
const STATUSES = ['failed', 'partial', 'skipped', 'succeeded'] as const satisfies RunStatus[];

export function worstOf(statuses: readonly RunStatus[]): RunStatus {
  return STATUSES.find((status) => statuses.includes(status)) ?? 'succeeded';
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function groupedByDatabase(targets: readonly TargetReport[]): Map<string, TargetReport[]> {
  const groups = new Map<string, TargetReport[]>();
  for (const target of targets) {
    if (target.database !== undefined) {
      groups.set(target.database, [...(groups.get(target.database) ?? []), target]);
    }
  }
  return groups;
}
