import type { Clock } from '../clock';
import { describeError, isUnsupported } from '../database/database-error';
import type { Queryable } from '../database/queryable';

/**
 * Holds a sweep back while a streaming replica has more to replay than the primary wrote in the given time.
 *
 * It measures the lag by its own marks: positions of the primary's log, and their times. The server's `replay_lag` does not
 * grow while a replica stands still.
 */
export class ReplicaLagBrake {
  readonly #limitMs: number;
  readonly #clock: Clock;
  readonly #onEvent: (message: string) => void;
  /** Positions of the log that some replica has not replayed yet, the oldest first. */
  #marks: { readonly position: number; readonly at: number }[] = [];
  #blind = false;
  /** Whether it was holding the sweep back at the last check. */
  engaged = false;

  /**
   * @param limitSeconds above 0
   * @param onEvent receives a sentence when the brake engages, when it releases, and once if replicas cannot be seen
   */
  constructor(limitSeconds: number, clock: Clock, onEvent: (message: string) => void) {
    this.#limitMs = limitSeconds * 1_000;
    this.#clock = clock;
    this.#onEvent = onEvent;
  }

  /** Returns when work may go on, or when `until` is aborted. */
  async release(session: Queryable, until: AbortSignal): Promise<void> {
    await this.#check(session);
    while (this.engaged && !until.aborted) {
      await this.#clock.sleep(CHECK_INTERVAL_MS, until);
      await this.#check(session);
    }
  }

  async #check(session: Queryable): Promise<void> {
    const lagMs = this.#blind ? 0 : await this.#lagMs(session);
    const engage = lagMs > this.#limitMs;
    if (engage !== this.engaged) {
      this.engaged = engage;
      const seconds = (lagMs / 1_000).toFixed(1);
      this.#onEvent(engage ? `paused: a replica is ${seconds} s behind` : `resumed: replicas are ${seconds} s behind`);
    }
  }

  /** Reads the positions of the replicas; undefined if the server hides them, and this is the last look. */
  async #look(session: Queryable): Promise<Replication | undefined> {
    try {
      const { rows } = await session.query<Replication>(REPLICATION_SQL);
      return rows[0]?.hidden ? this.#giveUp('grant pg_monitor to the role') : rows[0];
    } catch (error) {
      if (!isUnsupported(error)) {
        throw error;
      }
      return this.#giveUp(describeError(error));
    }
  }

  #giveUp(reason: string): undefined {
    if (!this.#blind) {
      this.#blind = true;
      this.#onEvent(`the replicas are not visible, so their lag is not checked: ${reason}`);
    }
  }

  async #lagMs(session: Queryable): Promise<number> {
    const replication = await this.#look(session);
    if (!replication || replication.slowest === null || replication.current === null) {
      this.#marks = [];
      return 0;
    }
    const now = this.#clock.now();
    const { current, slowest } = replication;
    const replayed = this.#marks.findLastIndex(({ position }) => position <= slowest);
    this.#marks.splice(0, replayed + 1);
    const last = this.#marks.at(-1);
    if (current > slowest && (!last || now - last.at >= this.#limitMs / MARKS_PER_LIMIT)) {
      this.#marks.push({ position: current, at: now });
    }
    // The replica is at least as far behind as the oldest mark.
    return Math.max(this.#marks[0] ? now - this.#marks[0].at : 0, replication.reportedLagMs);
  }
}

/** Polling interval while paused. Otherwise the lag is checked before every batch, so that at most one batch is too many. */
const CHECK_INTERVAL_MS = 1_000;

/** So many marks a limit keep memory flat, and the lag exact to a hundredth of it. */
const MARKS_PER_LIMIT = 100;

interface Replication {
  /** Whether there are replicas that are hidden from the role. */
  readonly hidden: boolean;
  /** Positions in the log, in bytes; null on a server that is not promoted yet, where the next DELETE is refused. */
  readonly current: number | null;
  /** Null if there is no replica. A client that replays nothing, such as pg_receivewal, is none. */
  readonly slowest: number | null;
  /** Only of replicas that are behind: PostgreSQL keeps reporting the last lag of one that has caught up. */
  readonly reportedLagMs: number;
}

const REPLICATION_SQL = `
  select
    coalesce(bool_or(state is null), false) as hidden,
    (max(current) - '0/0')::float8 as current,
    (min(replay_lsn) - '0/0')::float8 as slowest,
    coalesce(extract(epoch from max(replay_lag) filter (where replay_lsn < current)) * 1000, 0)::float8 as "reportedLagMs"
  from pg_stat_replication, lateral (
    select case when not pg_is_in_recovery() then pg_current_wal_lsn() end as current
  ) as log
  where state is distinct from 'backup'`;
