import type { Clock, Deadlines } from '../clock';
import { matchesPattern, type NamePattern } from '../configuration/name-pattern';
import { describeError } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { Session, type SessionContext } from '../database/session';
import type { RunOptions } from './options';
import { planOf } from './plan';
import { notRunResult, type RunResult, serverResult } from './report';
import { Run } from './run';
import { AnotherRunError } from './server';

/** Sessions that idle for two minutes are ended, and the lock with them. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Runs on the databases of a server, one after the other, under one lock. A database that fails is reported and passed
 * over. Never throws.
 */
export async function runOnDatabases(
  options: RunOptions,
  pattern: NamePattern,
  clock: Clock,
  deadlines: Deadlines,
): Promise<RunResult> {
  const { connection, targets, after, mostDatabases, logger } = options;
  const { stopDeleting, stopCounting: stop, abandon } = deadlines;
  const context: SessionContext = { clock, stop, abandon, onRetry: logger.warn.bind(logger) };
  const lock = new Session(connection, context, planOf(options).onConnect);
  const keepAlive = setInterval(() => lock.query('select').catch(() => {}), KEEP_ALIVE_MS).unref();
  const runs = new Map<string, RunResult>();
  const dropped: string[] = [];
  let next = after;
  try {
    const { databases, own } = await databasesOf(lock, pattern, after);
    for (const database of databases) {
      if (stopDeleting.aborted || runs.size >= mostDatabases) {
        break;
      }
      const result = await new Run({ ...options, database, isLocked: database === own }, clock, deadlines).execute();
      const hasOnlyFailed = result.status === 'failed' && result.rowsDeleted === 0;
      if (hasOnlyFailed && !namesIn(pattern).includes(database) && !(await exists(lock, database))) {
        const warning = `${database}: was dropped during the run`;
        logger.warn(warning, {});
        dropped.push(warning);
      } else {
        runs.set(database, result);
      }
      // The next run continues with a database that was cut short, instead of skipping it.
      next = stopDeleting.aborted && result.status === 'partial' ? next : database;
    }
    const isCutShort = databases.length > 0 && next !== databases.at(-1);
    return serverResult(runs, dropped, isCutShort ? { isCutShort, ...(next !== undefined && { next }) } : {});
  } catch (error) {
    const reason = describeError(error);
    return error instanceof AnotherRunError
      ? notRunResult(targets, { warnings: [reason] })
      : notRunResult(targets, { warnings: [] }, reason);
  } finally {
    clearInterval(keepAlive);
    await lock.close();
  }
}

/**
 * Finds the databases of a server that a pattern takes, in the order of their names, and the one of the session.
 *
 * @param after if given, only the databases behind this name
 * @throws Error if the pattern takes no database
 */
async function databasesOf(session: Queryable, pattern: NamePattern, after?: string) {
  const { rows } = await session.query<{ name: string; isOwn: boolean }>(DATABASES_SQL);
  const existing = rows.map(({ name }) => name);
  const taken = [...new Set([...existing, ...namesIn(pattern)])].filter((name) => matchesPattern(pattern, name));
  if (taken.length === 0) {
    throw new Error(`DB_NAMES must match at least one database of the server, got ${JSON.stringify(pattern)}`);
  }
  const databases = taken.filter((name) => after === undefined || name > after).sort(byCodeUnits);
  return { databases, own: rows.find(({ isOwn }) => isOwn)?.name };
}

// Whether the role may connect is found out by connecting: a database that refuses it has to be reported.
const DATABASES_SQL = `
  select datname::text as name, datname operator(pg_catalog.=) pg_catalog.current_database() as "isOwn"
  from pg_catalog.pg_database
  where datallowconn and not datistemplate`;

/** The databases that are named, and not only matched. They have to be there: their absence is reported. */
function namesIn({ like }: NamePattern): string[] {
  return like.filter((name) => !name.includes('*'));
}

/** Whether a database is still there, as far as can be seen. */
async function exists(session: Queryable, database: string): Promise<boolean> {
  try {
    return (await session.query(DATABASE_SQL, [database])).rows.length > 0;
  } catch {
    return true;
  }
}

const DATABASE_SQL = 'select from pg_catalog.pg_database where datname = $1';

/** The same order for every locale of a server: `after` and `next` depend on it. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
