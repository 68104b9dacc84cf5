import type { Clock } from '../clock';
import { isUnsupported, kindOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { BATCH_LIMITS } from './batch-limits';

/** How long deletes may stay unconfirmed, that is, how many a server crash can undo. */
const CONFIRM_INTERVAL_MS = 1_000;

// The message is the smallest thing that any role may commit. The setting ends with the transaction.
const MESSAGE = "pg_catalog.pg_logical_emit_message(true, 'token-cleanup', '')";
const CONFIRM_SQL = `select set_config('synchronous_commit', 'on', true), ${MESSAGE}`;

/**
 * Counts deleted rows truthfully although sessions do not wait until each commit is on disk.
 *
 * A server that crashes loses its last commits, and the rows are back. So from time to time a synchronous commit confirms
 * those before it, and rows that are unconfirmed when a connection is lost no longer count. Either another pass deletes
 * them, or they are gone for good: after a lost connection the count may be too low, and is never too high.
 */
export class DurableCount {
  readonly #clock: Clock;
  readonly #sessions: readonly Queryable[];
  #confirmed = 0;
  #beingConfirmed = 0;
  #unconfirmed = 0;
  #confirmedAt: number;
  #reconnections: number;
  /** Whether each statement confirms itself. */
  #synchronous = false;

  /** @param sessions all that delete */
  constructor(clock: Clock, sessions: readonly Queryable[]) {
    this.#clock = clock;
    this.#sessions = sessions;
    this.#confirmedAt = clock.now();
    this.#reconnections = this.reconnections;
  }

  /**
   * Call this before the first delete. If the server cannot confirm commits later, each commit is synchronous. Only the first
   * table of a run finds that out.
   *
   * @returns whether that took a transaction id
   */
  async begin(session: Queryable): Promise<boolean> {
    const isKnown = session.synchronous !== undefined;
    this.#synchronous = session.synchronous ?? !(await canConfirm(session));
    for (const each of this.#sessions) {
      each.synchronous = this.#synchronous;
    }
    return !isKnown && !this.#synchronous;
  }

  /** The rows that are gone, confirmed or not. */
  get rows(): number {
    return this.#confirmed + this.#beingConfirmed + this.#unconfirmed;
  }

  /** Call this as soon as a statement has deleted them. */
  add(rows: number): void {
    this.#forgetWhatWasLost();
    if (this.#synchronous) {
      this.#confirmed += rows;
    } else {
      this.#unconfirmed += rows;
    }
  }

  /**
   * Confirms if the last confirmation is long enough ago.
   *
   * @returns whether that took a transaction id
   */
  async confirmSometimes(session: Queryable): Promise<boolean> {
    return this.#clock.now() - this.#confirmedAt >= CONFIRM_INTERVAL_MS && (await this.confirm(session));
  }

  /**
   * Waits until all added rows are gone on disk, and on a synchronous replica if there is one.
   *
   * @returns whether that took a transaction id; it takes none if there is nothing to confirm
   */
  async confirm(session: Queryable): Promise<boolean> {
    this.#confirmedAt = this.#clock.now();
    this.#forgetWhatWasLost();
    const rows = this.#unconfirmed;
    if (rows === 0) {
      return false;
    }
    // This does not confirm rows that other sessions add meanwhile.
    this.#unconfirmed = 0;
    this.#beingConfirmed += rows;
    const before = this.reconnections;
    try {
      await session.query(CONFIRM_SQL);
      this.#confirmed += this.reconnections === before ? rows : 0;
      return true;
    } finally {
      this.#beingConfirmed -= rows;
    }
  }

  #forgetWhatWasLost(): void {
    const reconnections = this.reconnections;
    if (reconnections !== this.#reconnections) {
      this.#reconnections = reconnections;
      this.#unconfirmed = 0;
    }
  }

  /** How many times the sessions have reconnected. */
  get reconnections(): number {
    return this.#sessions.reduce((sum, session) => sum + session.reconnections, 0);
  }
}

/** Whether the server takes the message; it need not be on disk. */
async function canConfirm(session: Queryable): Promise<boolean> {
  try {
    await session.query(`select ${MESSAGE}`, [], BATCH_LIMITS);
    return true;
  } catch (error) {
    if (isUnsupported(error)) {
      return false;
    }
    if (kindOf(error) === 'slow') {
      return true; // it was about to
    }
    throw error;
  }
}
