import { LONGEST_STATE, sizeOf } from '../run/abridged-report';
import { overall, type RunReport, type RunStatus, type TargetReport } from '../run/report';
import { groupedBy, sum, sumIfKnown } from '../run/totals';

/** The result of a run for one database of a server. */
export interface DatabaseResult {
  readonly database: string;
  /** Of all its tables together. */
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
 * The limit of databases in a round. Their results, apart from errors, fit into the state of a state machine. The next round
 * continues after the last one.
 */
export const MOST_DATABASES = 300;

/** The results of a run by database, in the order of the run. */
export function databaseResults(targets: readonly TargetReport[]): DatabaseResult[] {
  return [...groupedBy(targets, ({ database }) => database)].flatMap(([database, tables]) => {
    if (database === undefined) {
      return []; // the run did not come to its databases
    }
    const rowsRemaining = sumIfKnown(tables.map((table) => table.rowsRemaining));
    const errors = tables.flatMap(({ table, error }) => (error === undefined ? [] : [`${table}: ${error}`]));
    return {
      database,
      status: overall(tables.map(({ status }) => status)),
      isSwept: tables.every(({ stopReason }) => stopReason === 'drained' || stopReason === 'blocked'),
      rowsDeleted: sum(tables.map(({ rowsDeleted }) => rowsDeleted)),
      ...(rowsRemaining !== undefined && { rowsRemaining }),
      durationMs: sum(tables.map(({ durationMs }) => durationMs)),
      ...(errors.length > 0 && { error: errors.join('\n') }),
    };
  });
}

/** Shortens the errors of databases to what a state holds. The log of the function has the whole texts. */
export function fitting<Round extends ServerRound>(round: Round): Round {
  const errors = round.databases.flatMap(({ error }) => error ?? []);
  const bare = { ...round, databases: round.databases.map(({ error: _, ...result }) => result) };
  const bytes = (LONGEST_STATE - sizeOf(bare)) / errors.length - sizeOf({ error: '' });
  const databases = round.databases.map(({ error, ...result }) => ({
    ...result,
    ...(error !== undefined && { error: beginning(error, Math.min(bytes, LONGEST_ERROR)) }),
  }));
  return { ...round, databases };
}

/** In bytes. A state holds as much for each database unless nearly all fail. */
const LONGEST_ERROR = 500;

/** The beginning of a text, in at most so many bytes of JSON. */
function beginning(text: string, bytes: number): string {
  let part = text.slice(0, Math.max(0, bytes));
  while (part && sizeOf(part) > bytes) {
    part = part.slice(0, -1);
  }
  return part;
}
