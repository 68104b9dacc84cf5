import type { Clock } from '../clock';
import type { Queryable } from '../database/queryable';

/** A session, a replica, a replication slot or a prepared transaction with a snapshot from before the deletes. */
export interface Holder {
  readonly kind: 'session' | 'replica' | 'replication slot' | 'prepared transaction';
  /** The process id and the application of a session, the name of a slot, the identifier of a prepared transaction. */
  readonly name: string;
  /** Age of the transaction; absent if the role may not see it, and for replicas and slots. */
  readonly seconds?: number;
}

/** The service's own short transactions hold a snapshot too. A snapshot that is still there at the last of these is not short. */
const LOOKS_AFTER_MS = [0, 100, 400, 1_000];

/** A transaction that is older is not short either. Ages are rounded. */
const OLD_S = 2;

/**
 * Finds everything that still reads rows that were deleted before a moment, except transactions that end within a second.
 *
 * @param horizon the first transaction id that is not older than the deletes; the next one of the server if absent
 */
export async function lastingHolders(
  session: Queryable,
  clock: Clock,
  until: AbortSignal,
  horizon?: string,
): Promise<readonly Holder[]> {
  const startedAt = clock.now();
  let since = horizon;
  let holders: readonly Holder[] = [];
  for (const lookAfterMs of LOOKS_AFTER_MS) {
    await clock.sleep(Math.max(0, startedAt + lookAfterMs - clock.now()), until);
    const { rows } = await session.query<Holders>(`select ${HOLDERS_COLUMNS_SQL}`, [since]);
    ({ horizon: since, holders } = rows[0] as Holders);
    const old = holders.filter(({ seconds = 0 }) => seconds >= OLD_S);
    if (old.length > 0 && holders.every(({ seconds }) => seconds !== undefined)) {
      return old; // the others need not be waited for: they change nothing
    }
    if (holders.length === 0 || until.aborted) {
      break;
    }
  }
  return holders;
}

/** The columns `horizon` and `holders` of HOLDERS_COLUMNS_SQL. */
export interface Holders {
  readonly horizon: string;
  readonly holders: readonly Holder[];
}

const HORIZON_SQL = 'coalesce($1::text::xid8, pg_snapshot_xmax(pg_current_snapshot()))';

/**
 * Columns of a SELECT whose first parameter is a horizon or null.
 *
 * The rule by which VACUUM decides: snapshots and transactions of this database, of every replica, and of every slot.
 * Transaction ids are compared by their age, because a 32-bit id says nothing by itself. The functions behind the views of
 * the server's state take half the time of these, whose planning takes longest.
 */
export const HOLDERS_COLUMNS_SQL = `
  ${HORIZON_SQL}::text as horizon,
  coalesce((
    select jsonb_agg(
      jsonb_strip_nulls(jsonb_build_object('kind', kind, 'name', name, 'seconds', round(seconds)))
      order by xmin_age desc, name
    )
    from (
      select kind, name, seconds, xmin_age
      from (select oid from pg_database where datname = current_database()) as own, lateral (
        select
          case when pid in (select pid from pg_stat_get_wal_senders()) then 'replica' else 'session' end as kind,
          concat_ws(' ', pid, nullif(application_name, '')) as name,
          greatest(age(backend_xmin), age(backend_xid)) as xmin_age,
          extract(epoch from clock_timestamp() - xact_start) as seconds
        from pg_stat_get_activity(null)
        where pid <> pg_backend_pid()
          and pid not in (select pid from pg_stat_get_progress_info('VACUUM')) -- no vacuum waits for another
          and (datid = own.oid or pid in (select pid from pg_stat_get_wal_senders()))
        union all
        select 'replication slot', slot_name::text, age(xmin), null
        from pg_get_replication_slots()
        union all
        select 'prepared transaction', gid, age(transaction), extract(epoch from clock_timestamp() - prepared)
        from pg_prepared_xact()
        where dbid = own.oid
      ) as snapshot
      where xmin_age > age((${HORIZON_SQL})::xid)
      order by xmin_age desc, name
      limit 10
    ) as holder
  ), '[]') as holders`;
