import type { Queryable } from './database/queryable';
import type { Query } from './database/session';

/** A streaming replica, as the primary sees it. */
export interface Replica {
  /** What it calls itself, and where it is. */
  readonly name: string;
  /** How much of the primary's log it has not replayed yet. */
  readonly lagBytes: number;
  /** The age of what it replayed last, as the server reports it; absent where it does not. */
  readonly lagSeconds?: number;
}

/** The streaming replicas of a server, or the statement without which the role does not see them. */
export async function replicasOf(
  session: Queryable,
): Promise<{ readonly replicas?: readonly Replica[]; readonly missingGrant?: string }> {
  const { rows } = await session.query<{
    name: string;
    lagBytes: number;
    lagSeconds: number | null;
    missingGrant: string | null;
  }>(REPLICAS_SQL);
  const hidden = rows.find(({ missingGrant }) => missingGrant);
  if (hidden?.missingGrant) {
    return { missingGrant: hidden.missingGrant };
  }
  const replicas = rows.map(({ name, lagBytes, lagSeconds }) => ({
    name,
    lagBytes,
    ...(lagSeconds !== null && { lagSeconds }),
  }));
  return { replicas };
}

// A client that replays nothing, such as pg_receivewal, is no replica. One that has nothing to replay reports no lag after a
// while.
const REPLICAS_SQL = `
  with standing as (
    select
      state, concat_ws(' on ', nullif(application_name, ''), host(client_addr)) as name, replay_lag,
      greatest(
        case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end
          - replay_lsn,
        0
      )::float8 as bytes
    from pg_stat_replication
    where state is distinct from 'backup' and (state is null or replay_lsn is not null)
  )
  select
    name, bytes as "lagBytes",
    coalesce(extract(epoch from replay_lag), case bytes when 0 then 0 end)::float8 as "lagSeconds",
    case when state is null then format('grant pg_monitor to %I', current_user) end as "missingGrant"
  from standing
  order by name`;

/** TID range scans came with version 14. */
export const OLDEST_SERVER = 140_000;

/** Rows that a wrong clock takes for expired cannot be brought back. */
export const GREATEST_CLOCK_DIFFERENCE_MS = 5 * 60_000;

/** The key of the advisory lock. In ASCII, and so in the hexadecimal of pg_locks, it reads `tokencln`. */
const LOCK_KEY = [0x746f6b65, 0x6e636c6e];

export class AnotherRunError extends Error {
  override readonly name = 'AnotherRunError';
}

export async function takeLock(query: Query): Promise<void> {
  const { rows } = await query<{ taken: boolean }>('select pg_try_advisory_lock($1, $2) as taken', LOCK_KEY);
  if (!rows[0]?.taken) {
    throw new AnotherRunError('another run is at work on this database');
  }
}
