import type { Clock } from '../../clock';
import { kindOf, sqlStateOf } from '../../database/database-error';
import type { Limits, Queryable } from '../../database/queryable';
import type { Look } from './others';
import { deadTuplesPileUp } from './vacuum-lag';

/** The statistics of a table lag behind by this much anyway. */
const VACUUM_CHECK_INTERVAL_MS = 5_000;

/**
 * Reads the state of the cluster from time to time, as far as the role may see it.
 *
 * @param limits those of the batches, so that a look between two of them needs no other settings
 * @returns takes a look; undefined if the server refuses to show its state
 */
export function watchCluster(clock: Clock, limits: Limits) {
  let logIsReadable = true;
  let blind = false;
  let pilesUp = false;
  let vacuumCheckedAt = clock.now();
  /** @param oid the table whose dead tuples count */
  return async function look(session: Queryable, oid: number): Promise<Look | undefined> {
    if (blind) {
      return undefined;
    }
    try {
      const sql = logIsReadable ? READING_WITH_LOG_SQL : READING_SQL;
      const { rows } = await session.query<ReadingRow>(sql, [], limits);
      if (clock.now() - vacuumCheckedAt >= VACUUM_CHECK_INTERVAL_MS) {
        vacuumCheckedAt = clock.now();
        pilesUp = await deadTuplesPileUp(session, oid, limits);
      }
      const sessions = rows.flatMap(({ session: pid, xid, xmin }) => (pid === null ? [] : [{ pid, xid, xmin }]));
      return rows[0] && { ...rows[0], sessions, deadTuplesPileUp: pilesUp };
    } catch (error) {
      if (sqlStateOf(error) === undefined) {
        throw error;
      }
      if (kindOf(error) === 'slow' || kindOf(error) === 'locked') {
        return undefined; // this time
      }
      // Aurora refuses the positions of the log; without them the rest can be read.
      blind = !logIsReadable;
      logIsReadable = false;
      return await look(session, oid);
    }
  };
}

/** A session, next to what is the same in all rows. */
interface ReadingRow extends Omit<Look, 'sessions' | 'deadTuplesPileUp'> {
  readonly session: number | null;
  readonly xid: string | null;
  readonly xmin: string | null;
}

/**
 * The function behind `pg_stat_activity`, since planning the view takes longer than running it. Sessions without a user
 * are the server's own: autovacuum, the checkpointer. All names are qualified, and all comparisons are left to us: a role
 * may have a search path on which another function or operator stands first.
 */
function readingSql(unflushedBytes: string): string {
  return `
    select
      pg_catalog.pg_backend_pid() as pid,
      pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.float8 as "nextId",
      ${unflushedBytes} as "unflushedBytes",
      array(select sender.pid from pg_catalog.pg_stat_get_wal_senders() as sender) as "walSenders",
      pg_catalog.date_part(
        'epoch',
        pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.statement_timestamp()
      ) operator(pg_catalog.*) 1000::pg_catalog.float8 as "workedMs",
      session.pid as session,
      session.backend_xid::pg_catalog.text as xid,
      session.backend_xmin::pg_catalog.text as xmin
    from (select) as here
    left join pg_catalog.pg_stat_get_activity(null) as session
      on session.usesysid is not null and (session.backend_xid is not null or session.backend_xmin is not null)`;
}

const READING_SQL = readingSql('0::pg_catalog.float8');

const READING_WITH_LOG_SQL = readingSql(`
      pg_catalog.pg_wal_lsn_diff(
        pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn()
      )::pg_catalog.float8`);
