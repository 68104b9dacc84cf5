import type { Clock } from '../clock';
import { describeError, kindOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import type { Relation } from '../engine/conditions/relation';
import { printableSql } from '../engine/conditions/sql';
import { DEMANDS_CLEANUP_SQL } from './traces';

// About 2 ms of sleep for each 200 blocks that are read from disk, as an automatic vacuum works by default.
const COST_SQL = `
  select
    pg_catalog.set_config('vacuum_cost_delay', $1, false), pg_catalog.set_config('vacuum_cost_limit', '200', false)`;
const COST_DELAY = '2ms';

const TIME_IS_UP = 'the time was up';

/**
 * Vacuums a table, so that nothing leads to the deleted rows any more: their indexes are cleaned, and no lock is waited
 * for. The file keeps its size, because giving space back takes a lock that stops the service. Never throws: what was
 * deleted before has to be reported, whatever happens here.
 *
 * @param timeLeftMs the time until which the vacuum must have ended; what is not vacuumed by then is left to the next run
 * @returns why a part of the table or an index may not have been vacuumed, for a person; undefined if all were
 */
export async function vacuum(
  session: Queryable,
  relations: readonly Relation[],
  clock: Clock,
  timeLeftMs: () => number,
): Promise<string | undefined> {
  try {
    const before = await countsOf(session, relations);
    try {
      for (const { quotedName } of relations) {
        await session.query(COST_SQL, [COST_DELAY]); // each time, since a new connection starts without
        const statementTimeoutMs = Math.floor(timeLeftMs());
        if (statementTimeoutMs <= 0) {
          return TIME_IS_UP;
        }
        // skip_locked: a vacuum that waits for a lock would be waited for by the service in turn.
        const statement = `vacuum (index_cleanup on, truncate off, skip_locked on, parallel 0) ${quotedName}`;
        await session.query(statement, [], { statementTimeoutMs, lockTimeoutMs: LOCK_TIMEOUT_MS });
      }
    } finally {
      await session.query(COST_SQL, ['0']);
    }
    return (await countsRise(session, relations, before, clock))
      ? undefined
      : 'the server skipped it: the role may not vacuum the table, or the table was locked';
  } catch (error) {
    return kindOf(error) === 'slow' ? TIME_IS_UP : describeError(error);
  }
}

const LOCK_TIMEOUT_MS = 25;
/** Before version 15 a process of its own collects statistics, and needs up to half a second. */
const STATISTICS_DELAY_MS = 1_000;
const LOOK_INTERVAL_MS = 100;

/** Without the privilege to vacuum, the server only warns. So only its statistics prove a vacuum. */
async function countsRise(
  session: Queryable,
  relations: readonly Relation[],
  before: ReadonlyMap<number, number>,
  clock: Clock,
): Promise<boolean> {
  for (const startedAt = clock.now(); ; await clock.sleep(LOOK_INTERVAL_MS)) {
    const now = await countsOf(session, relations);
    if ([...before].every(([oid, count]) => (now.get(oid) ?? 0) > count)) {
      return true;
    }
    if (clock.now() - startedAt >= STATISTICS_DELAY_MS) {
      return false;
    }
  }
}

async function countsOf(session: Queryable, relations: readonly Relation[]): Promise<Map<number, number>> {
  const { rows } = await session.query<{ oid: number; count: number }>(COUNTS_SQL, [relations.map(({ oid }) => oid)]);
  return new Map(rows.map(({ oid, count }) => [oid, count]));
}

// A vacuum of a table includes its TOAST table, but skips that if it is locked.
const COUNTS_SQL = `
  select part.oid::int8::float8 as oid, pg_stat_get_vacuum_count(part.oid)::float8 as count
  from pg_class as main
  join pg_class as part on part.oid in (main.oid, main.reltoastrelid)
  where main.oid = any($1::oid[])`;

/**
 * Advises on settings under which the server itself vacuums token tables soon and thoroughly: by default it waits until a
 * fifth of a table is dead, and skips the indexes if few blocks hold dead rows.
 *
 * @returns SQL for the owner, a statement for each relation that lacks them
 */
export async function adviseOnAutovacuum(
  session: Queryable,
  relations: readonly Pick<Relation, 'oid'>[],
): Promise<string[]> {
  const { rows } = await session.query<{ name: string; table: boolean; toast: boolean }>(WITHOUT_SETTINGS_SQL, [
    relations.map(({ oid }) => oid),
  ]);
  return rows.map(({ name, table, toast }) => {
    const settings = [...(table ? SETTINGS : []), ...(toast ? SETTINGS.map((setting) => `toast.${setting}`) : [])];
    return printableSql(`alter table ${name} set (${settings.join(', ')})`);
  });
}

const SETTINGS = ['autovacuum_vacuum_scale_factor = 0.01', 'vacuum_index_cleanup = on'];

// An automatic vacuum visits the TOAST table by itself, under settings of its own.
const WITHOUT_SETTINGS_SQL = `
  select
    format('%I.%I', nspname, main.relname) as name, bool_or(part.relkind <> 't') as table,
    bool_or(part.relkind = 't') as toast
  from pg_class as main
  join pg_namespace on pg_namespace.oid = main.relnamespace
  join pg_class as part on part.oid in (main.oid, main.reltoastrelid)
  where main.oid = any($1::oid[])
    and (part.relkind <> 't' or part.relpages > 0 or pg_stat_get_tuples_inserted(part.oid) > 0)
    and not ${DEMANDS_CLEANUP_SQL}
  group by name
  order by name`;
