import type { Clock } from '../clock';
import type { Queryable } from '../database/queryable';

/** How far the deleted rows of a table are gone. PostgreSQL overwrites nothing: each step only makes a row harder to read. */
export interface Erasure {
  /** Whether the deletes are on the server's disk. */
  readonly deleted: boolean;
  /** Whether no snapshot can read the deleted rows any more, on this server. */
  readonly unreadable: boolean;
  /** Whatever keeps the deleted rows readable; absent if nothing does. */
  readonly heldBackBy?: readonly Holder[];
  /** Whether a vacuum that cleaned the indexes has finished since the deletes. */
  readonly unlinked: boolean;
  /** The end of the last vacuum, of the table or of its least recently vacuumed partition; absent if there was none. */
  readonly vacuumedAt?: string;
  /**
   * An upper bound for the age of the oldest deleted row that a table or an index may still hold, in hours. It is 0 if no
   * row was deleted or replaced since the last vacuum. Absent if no vacuum was ever recorded.
   */
  readonly hoursUnlinkedAtMost?: number;
}

/** A session, a replication slot or a prepared transaction with a snapshot from before the deletes. */
export interface Holder {
  readonly kind: 'session' | 'replica' | 'replication slot' | 'prepared transaction';
  /** The process id and the application of a session, the name of a slot, the identifier of a prepared transaction. */
  readonly name: string;
  /** Age of the transaction; absent if the role may not see it. */
  readonly seconds?: number;
}

/** The service's own short transactions hold a snapshot too. Those that are still there after this time are not short. */
const SHORT_TRANSACTION_MS = 1_000;
const LOOK_INTERVAL_MS = 100;

/**
 * Finds the step that the deletes of a run have reached. Read only, and readable by any role.
 *
 * @param relations the oids of the table or of its partitions
 * @param run the server's time at which the deletes began, and whether the run itself vacuumed the table after them;
 *   absent in a dry run
 */
export async function erasureOf(
  session: Queryable,
  relations: readonly number[],
  clock: Clock,
  until: AbortSignal,
  run?: { readonly startedAt: Date; readonly vacuumed: boolean },
): Promise<Erasure> {
  const heldBackBy = await holdersOf(session, clock, until);
  const { rows } = await session.query<Vacuums>(VACUUMS_SQL, [relations]);
  const { vacuumedAt = null, hours = null, unsure = true } = rows[0] ?? {};
  const isSince = (moment: Date) => !unsure && vacuumedAt !== null && moment < new Date(vacuumedAt);
  return {
    deleted: true,
    unreadable: heldBackBy.length === 0,
    ...(heldBackBy.length > 0 && { heldBackBy }),
    unlinked: heldBackBy.length === 0 && (run ? run.vacuumed || isSince(run.startedAt) : hours === 0 && !unsure),
    ...(vacuumedAt !== null && { vacuumedAt }),
    ...(hours !== null && { hoursUnlinkedAtMost: hours }),
  };
}

/** Everything that still reads what was deleted before now, except transactions that end within a second. */
async function holdersOf(session: Queryable, clock: Clock, until: AbortSignal): Promise<Holder[]> {
  const [horizon] = (await session.query<{ next: string }>(NEXT_ID_SQL)).rows;
  for (const startedAt = clock.now(); ; await clock.sleep(LOOK_INTERVAL_MS, until)) {
    const { rows } = await session.query<Holder & { seconds: number | null }>(HOLDERS_SQL, [horizon?.next]);
    if (rows.length === 0 || until.aborted || clock.now() - startedAt >= SHORT_TRANSACTION_MS) {
      return rows.map(({ kind, name, seconds }) => ({ kind, name, ...(seconds !== null && { seconds }) }));
    }
  }
}

const NEXT_ID_SQL = `select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text as next`;

// The rule by which VACUUM decides: snapshots and transactions of this database, of every replica, and of every slot.
// Transaction ids are compared by their age, because a 32-bit id says nothing by itself.
const HOLDERS_SQL = `
  with holder as (
    select
      case when pid in (select pid from pg_catalog.pg_stat_get_wal_senders()) then 'replica' else 'session' end as kind,
      pg_catalog.concat_ws(' ', pid, nullif(application_name, '')) as name,
      greatest(pg_catalog.age(backend_xmin), pg_catalog.age(backend_xid)) as xmin_age,
      extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
    from pg_catalog.pg_stat_activity
    where pid <> pg_catalog.pg_backend_pid()
      and pid not in (select pid from pg_catalog.pg_stat_progress_vacuum) -- no vacuum waits for another
      and (
        datid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
        or pid in (select pid from pg_catalog.pg_stat_get_wal_senders())
      )
    union all
    select 'replication slot', slot_name::text, pg_catalog.age(xmin), null
    from pg_catalog.pg_replication_slots
    union all
    select
      'prepared transaction', gid, pg_catalog.age(transaction),
      extract(epoch from clock_timestamp() - prepared)::float8
    from pg_catalog.pg_prepared_xacts
    where database = pg_catalog.current_database()
  )
  select kind, name, pg_catalog.round(seconds)::float8 as seconds
  from holder
  where xmin_age > pg_catalog.age($1::text::xid8::xid)
  order by xmin_age desc, name
  limit 10`;

interface Vacuums {
  readonly vacuumedAt: string | null;
  readonly hours: number | null;
  /** Whether the last vacuum of some part may have left its indexes as they were. */
  readonly unsure: boolean | null;
}

// An automatic vacuum passes over the indexes if less than 2 % of the blocks hold dead rows, unless the table says
// otherwise. Statistics do not record whether it did, so only a table that demands index cleanup is sure of it.
const VACUUMS_SQL = `
  with part as (
    select
      greatest(last_vacuum, last_autovacuum) as vacuumed_at, n_dead_tup,
      coalesce((
        select lower(option_value) in ('on', 'true', 'yes', '1')
        from pg_catalog.pg_options_to_table(reloptions)
        where option_name = 'vacuum_index_cleanup'
      ), false) as cleans_indexes
    from pg_catalog.pg_class
    join pg_catalog.pg_stat_all_tables on relid = pg_class.oid
    where pg_class.oid = any($1::oid[])
  )
  select
    pg_catalog.to_char(
      case when bool_and(vacuumed_at is not null) then min(vacuumed_at) end at time zone 'UTC',
      'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
    ) as "vacuumedAt",
    case
      when bool_and(n_dead_tup = 0) then 0
      when bool_and(vacuumed_at is not null or n_dead_tup = 0) then
        extract(epoch from clock_timestamp() - min(vacuumed_at) filter (where n_dead_tup > 0)) / 3600
    end::float8 as hours,
    not bool_and(cleans_indexes) as unsure
  from part`;
