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
   * An upper bound for the age of the oldest deleted row that the table or an index may still hold, in hours. It is 0 if
   * no row was deleted or replaced since the last vacuum. Absent if it is not known, as no vacuum was ever recorded.
   */
  readonly hoursUnlinkedAtMost?: number;
  /**
   * Only in a dry run: SQL for the owner, under which the server vacuums the table soon and cleans its indexes each time.
   * Absent if the table has such settings, or the run vacuums it.
   */
  readonly autovacuumAdvice?: readonly string[];
}

/** A session, a replication slot or a prepared transaction with a snapshot from before the deletes. */
export interface Holder {
  readonly kind: 'session' | 'replica' | 'replication slot' | 'prepared transaction';
  /** The process id and the application of a session, the name of a slot, the identifier of a prepared transaction. */
  readonly name: string;
  /** Age of the transaction; absent if the role may not see it. */
  readonly seconds?: number;
}

/** A table whose rows were deleted, or would be. */
export interface ErasedTable {
  /** The oids of the table or of its partitions. */
  readonly relations: readonly number[];
  /** Whether the run itself vacuumed it after the deletes. */
  readonly vacuumed?: boolean;
}

/** The service's own short transactions hold a snapshot too. Those that are still there after this time are not short. */
const SHORT_TRANSACTION_MS = 1_000;
const LOOK_INTERVAL_MS = 100;

/**
 * Finds the step that the deleted rows of tables have reached. Read only, and readable by any role.
 *
 * @param startedAt the server's time before the first delete of the run; absent in a dry run
 * @returns in the order of the tables
 */
export async function erasureOf(
  session: Queryable,
  tables: readonly ErasedTable[],
  clock: Clock,
  until: AbortSignal,
  startedAt?: Date,
): Promise<Erasure[]> {
  const heldBackBy = await holdersOf(session, clock, until);
  const isUnreadable = heldBackBy.length === 0;
  const { rows } = await session.query<Vacuums>(VACUUMS_SQL, [
    tables.flatMap(({ relations }, table) => relations.map(() => table)),
    tables.flatMap(({ relations }) => relations),
    tables.map(({ vacuumed = false }) => !vacuumed),
    startedAt?.toISOString(),
  ]);
  return tables.map(({ vacuumed }, table) => {
    const { vacuumedAt = null, hours = null, unsure = true } = rows.find((row) => row.table === table) ?? {};
    const isVacuumedSince = startedAt ? vacuumedAt !== null && startedAt < new Date(vacuumedAt) : hours === 0;
    return {
      deleted: true,
      unreadable: isUnreadable,
      ...(!isUnreadable && { heldBackBy }),
      unlinked: isUnreadable && (vacuumed || (isVacuumedSince && !unsure)),
      ...(vacuumedAt !== null && { vacuumedAt }),
      ...(hours !== null && { hoursUnlinkedAtMost: Math.ceil(hours * 1_000) / 1_000 }),
    };
  });
}

/** Everything that still reads what was deleted before now, except transactions that end within a second. */
async function holdersOf(session: Queryable, clock: Clock, until: AbortSignal): Promise<Holder[]> {
  let horizon: string | undefined;
  for (const startedAt = clock.now(); ; await clock.sleep(LOOK_INTERVAL_MS, until)) {
    const { rows } = await session.query<HolderRow>(HOLDERS_SQL, [horizon]);
    horizon ??= rows[0]?.next;
    if (rows.length === 0 || until.aborted || clock.now() - startedAt >= SHORT_TRANSACTION_MS) {
      return rows.map(({ kind, name, seconds }) => ({ kind, name, ...(seconds !== null && { seconds }) }));
    }
  }
}

interface HolderRow extends Pick<Holder, 'kind' | 'name'> {
  readonly seconds: number | null;
  /** The first transaction id that is not older than the deletes. */
  readonly next: string;
}

// The rule by which VACUUM decides: snapshots and transactions of this database, of every replica, and of every slot.
// Transaction ids are compared by their age, because a 32-bit id says nothing by itself.
const HOLDERS_SQL = `
  with horizon as (
    select coalesce($1::text::xid8, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())) as next
  ),
  holder as (
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
  select kind, name, pg_catalog.round(seconds)::float8 as seconds, next::text as next
  from holder, horizon
  where xmin_age > pg_catalog.age(next::xid)
  order by xmin_age desc, name
  limit 10`;

interface Vacuums {
  readonly table: number;
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
      "table",
      greatest(last_vacuum, last_autovacuum) as vacuumed_at, n_dead_tup,
      coalesce((
        select lower(option_value) in ('on', 'true', 'yes', '1')
        from pg_catalog.pg_options_to_table(reloptions)
        where option_name = 'vacuum_index_cleanup'
      ), false) as cleans_indexes
    from unnest($1::int[], $2::oid[]) as listed ("table", listed_oid)
    join pg_catalog.pg_class on pg_class.oid = listed_oid
    join pg_catalog.pg_stat_all_tables on relid = listed_oid
  )
  select
    "table",
    pg_catalog.to_char(
      case when bool_and(vacuumed_at is not null) then min(vacuumed_at) end at time zone 'UTC',
      'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
    ) as "vacuumedAt",
    case when bool_and(vacuumed_at is not null or n_dead_tup = 0) then greatest(
      0,
      extract(epoch from clock_timestamp() - min(vacuumed_at) filter (where n_dead_tup > 0)) / 3600,
      -- Statistics of the run's own deletes may come up to a second late.
      case when ($3::boolean[])["table" + 1] then extract(epoch from clock_timestamp() - $4::timestamptz) / 3600 end
    ) end::float8 as hours,
    not bool_and(cleans_indexes) as unsure
  from part
  group by "table"`;
