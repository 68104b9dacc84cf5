import { groupedBy } from '../run/totals';
import type { DatabaseResult, ServerRound } from './server-round';

/** The result of all rounds of a run on one server. */
export interface ServerResult {
  readonly server: string;
  /**
   * - `swept`: the databases have their own results
   * - `skipped`: another run was at work on the server
   * - `failed`: the server as a whole, in its last round
   * - `not-reached`: the run ended before the server's turn
   */
  readonly outcome: 'swept' | 'skipped' | 'failed' | 'not-reached';
  /** Whether the list has all databases of the server that are to be swept. */
  readonly isComplete: boolean;
  readonly databases: readonly DatabaseResult[];
  readonly error?: string;
}

/**
 * @param rounds of the server, in any order
 * @param failure why its execution failed, if it did
 */
export function serverResult(server: string, rounds: readonly ServerRound[], failure?: string): ServerResult {
  const ordered = [...rounds].sort((a, b) => a.round - b.round);
  const last = ordered.at(-1);
  const databases = joined(ordered.flatMap((round) => round.databases));
  const error = failure ?? (databases.length === 0 ? last?.error : undefined);
  return {
    server,
    outcome:
      error !== undefined
        ? 'failed'
        : last === undefined
          ? 'not-reached'
          : last.status === 'skipped' && databases.length === 0
            ? 'skipped'
            : 'swept',
    isComplete: error === undefined && last !== undefined && last.status !== 'skipped' && !last.isCutShort,
    databases,
    ...(error !== undefined && { error }),
  };
}

/** A database that a round did not finish is in the next one again. */
function joined(results: readonly DatabaseResult[]): DatabaseResult[] {
  return [...groupedBy(results, ({ database }) => database).values()].map((rounds) =>
    rounds.reduce((earlier, later) => ({
      ...later,
      rowsDeleted: earlier.rowsDeleted + later.rowsDeleted,
      durationMs: earlier.durationMs + later.durationMs,
    })),
  );
}
