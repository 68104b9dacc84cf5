import type { Clock } from '../clock';
import { describeError } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import type { Query } from '../database/session';
import type { PreflightOptions } from '../engine/preflight/preflight';

/** The findings of a dry run about the server. */
export interface ServerReport {
  readonly version: string;
  /** Whether it is a replica, which a run refuses. */
  readonly isReplica: boolean;
  /** The least difference by which its clock is ahead of the function's; negative if it is behind. */
  readonly clockDifferenceMs: number;
  /** Absent if the role may not see them. Aurora replicas share the primary's storage and are not listed. */
  readonly replicas?: readonly Replica[];
}

/** TID range scans came with version 14. */
const OLDEST_SERVER = 140_000;

/** A wrong clock makes live rows look expired, and a delete cannot be undone. */
const GREATEST_CLOCK_DIFFERENCE_MS = 5 * 60_000;

/**
 * Reads the time of the database, from which ages count back, and checks it against this machine's.
 *
 * @param needs whether rows are to be deleted, which a replica does not allow
 * @throws Error if the server is too old, is a replica, or its clock is wrong
 */
export async function checkServer(
  query: Query,
  clock: Clock,
  needs: PreflightOptions['needs'],
): Promise<{ readonly cutoff: Date; readonly server: ServerReport }> {
  const askedAt = clock.date().getTime();
  const { rows } = await query<{ now: number; version: number; versionText: string; isReplica: boolean }>(SERVER_SQL);
  const [server] = rows;
  if (!server) {
    throw new Error('the server returned no time');
  }
  if (server.version < OLDEST_SERVER) {
    throw new Error(`the server must be PostgreSQL 14 or newer, is ${server.versionText}`);
  }
  if (server.isReplica && needs === 'delete') {
    throw new Error('the server is a replica, from which nothing can be deleted: connect to the primary');
  }
  const answeredAt = clock.date().getTime();
  // The server read its clock between the question and the answer.
  const aheadMs = Math.max(server.now - answeredAt, 0) || Math.min(server.now - askedAt, 0);
  if (Math.abs(aheadMs) > GREATEST_CLOCK_DIFFERENCE_MS) {
    throw new Error(
      `the clocks of the database (${new Date(server.now).toISOString()}) and of this machine ` +
        `(${new Date(answeredAt).toISOString()}) must not differ by more than 5 minutes`,
    );
  }
  return {
    cutoff: new Date(server.now),
    server: { version: server.versionText, isReplica: server.isReplica, clockDifferenceMs: aheadMs },
  };
}

const SERVER_SQL = `
  select
    pg_catalog.floor(
      extract(epoch from pg_catalog.clock_timestamp()) operator(pg_catalog.*) 1000::pg_catalog.numeric
    )::pg_catalog.float8 as now,
    pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version,
    pg_catalog.current_setting('server_version') as "versionText",
    pg_catalog.pg_is_in_recovery() as "isReplica"`;

/** A streaming replica, as the primary sees it. */
export interface Replica {
  /** Its application name and its address. */
  readonly name: string;
  /** The part of the primary's log that it has not replayed yet, in bytes. */
  readonly lagBytes: number;
  /** Its replay lag as the server reports it; absent if the server reports none. */
  readonly lagSeconds?: number;
}

/** The streaming replicas of a server; undefined, with a warning, if they are hidden. Never throws: a dry run goes on. */
export async function replicasOf(
  session: Queryable,
  warn: (warning: string) => void,
): Promise<readonly Replica[] | undefined> {
  const hidden = (reason: string) => warn(`the replicas are not visible, so their lag is unknown: ${reason}`);
  try {
    const { rows } = await session.query<StandingReplica>(REPLICAS_SQL);
    const missingGrant = rows.find((row) => row.missingGrant)?.missingGrant;
    if (!missingGrant) {
      return rows.map(({ name, lagBytes, lagSeconds }) => ({
        name,
        lagBytes,
        ...(lagSeconds !== null && { lagSeconds }),
      }));
    }
    hidden(missingGrant);
  } catch (error) {
    hidden(describeError(error));
  }
  return undefined;
}

interface StandingReplica {
  readonly name: string;
  readonly lagBytes: number;
  readonly lagSeconds: number | null;
  readonly missingGrant: string | null;
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

/** The key of the advisory lock. In ASCII, and so in the hexadecimal of pg_locks, it reads `tokencln`. */
const LOCK_KEY = [0x746f6b65, 0x6e636c6e];

const LOCK_SQL = 'select pg_catalog.pg_try_advisory_lock($1::pg_catalog.int4, $2::pg_catalog.int4) as taken';

export class AnotherRunError extends Error {
  override readonly name = 'AnotherRunError';
}

/** @throws AnotherRunError if another run holds the lock of the database */
export async function takeLock(query: Query): Promise<void> {
  const { rows } = await query<{ taken: boolean }>(LOCK_SQL, LOCK_KEY);
  if (!rows[0]?.taken) {
    throw new AnotherRunError('another run is active on this database');
  }
}
