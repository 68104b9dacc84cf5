import { sum } from '../run/totals';
import type { ServerResult } from './server-result';

/** What a fleet keeps from one run to the next. */
export interface Memory {
  readonly servers: Readonly<Record<string, ServerMemory>>;
  /** The dead rows that the last run left. */
  readonly rowsRemaining: number;
}

interface ServerMemory {
  /** When the server was first in the manifest. */
  readonly since: string;
  /** When each database was swept to its end, or was first seen if it never was. */
  readonly sweptAt: Readonly<Record<string, string>>;
}

export const NO_MEMORY: Memory = { servers: {}, rowsRemaining: 0 };

/** The database whose last complete sweep is the oldest; a server if its databases are not known. */
export interface OldestSweep {
  readonly server: string;
  readonly database?: string;
  readonly at: string;
}

/**
 * The memory after a run. Servers that are no longer in the manifest are dropped, and so are databases that are no longer on
 * their server.
 *
 * @param at the start of the run
 */
export function remember({ servers }: Memory, results: readonly ServerResult[], at: string): Memory {
  return {
    servers: Object.fromEntries(
      results.map(({ server, databases, isComplete }) => {
        const { since = at, sweptAt = {} } = servers[server] ?? {};
        const met = databases.map(
          ({ database, isSwept }) => [database, isSwept ? at : (sweptAt[database] ?? at)] as const,
        );
        return [server, { since, sweptAt: { ...(!isComplete && sweptAt), ...Object.fromEntries(met) } }];
      }),
    ),
    rowsRemaining: rowsRemainingIn(results),
  };
}

/** The dead rows that are left, where they were counted. */
export function rowsRemainingIn(results: readonly ServerResult[]): number {
  return sum(results.flatMap(({ databases }) => databases.map(({ rowsRemaining = 0 }) => rowsRemaining)));
}

export function oldestSweep({ servers }: Memory): OldestSweep | undefined {
  const sweeps = Object.entries(servers).flatMap(([server, { since, sweptAt }]): OldestSweep[] => {
    const databases = Object.entries(sweptAt);
    return databases.length > 0
      ? databases.map(([database, at]) => ({ server, database, at }))
      : [{ server, at: since }];
  });
  return sweeps.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))[0];
}
