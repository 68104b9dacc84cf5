import type { Clock } from '../clock';
import type { Queryable } from '../database/queryable';

/** Rows that a crash could bring back unnoticed are at most those of this time. */
const CONFIRM_INTERVAL_MS = 1_000;

/**
 * Counts deleted rows truthfully although sessions do not wait for each commit to be on disk.
 *
 * A server that crashes forgets its last commits, and the rows are back. So a commit that is waited for confirms those
 * before it, once in a while; and where a connection was lost, what it did not confirm no longer counts. Such rows are
 * found dead again or were gone for good: the count may be too low after a lost connection, and never too high.
 */
export class DurableCount {
  readonly #clock: Clock;
  readonly #sessions: readonly Queryable[];
  #confirmed = 0;
  #beingConfirmed = 0;
  #unconfirmed = 0;
  #confirmedAt: number;
  #reconnections: number;
  /** How many transaction ids were taken; NaN after a lost connection, since a crash hands them out again. */
  transactionIds = 0;

  /** @param sessions those that delete */
  constructor(clock: Clock, sessions: readonly Queryable[]) {
    this.#clock = clock;
    this.#sessions = sessions;
    this.#confirmedAt = clock.now();
    this.#reconnections = this.#countReconnections();
  }

  /** The rows that are gone, as far as is known. */
  get rows(): number {
    return this.#confirmed + this.#beingConfirmed + this.#unconfirmed;
  }

  /** To be called as soon as a statement has deleted them. */
  add(rows: number): void {
    this.#forgetWhatWasLost();
    this.#unconfirmed += rows;
    this.transactionIds += rows > 0 ? 1 : 0;
  }

  async confirmSometimes(session: Queryable): Promise<void> {
    if (this.#clock.now() - this.#confirmedAt >= CONFIRM_INTERVAL_MS) {
      await this.confirm(session);
    }
  }

  /** Waits until everything that was added is on disk, and on a synchronous replica where there is one. */
  async confirm(session: Queryable): Promise<void> {
    this.#confirmedAt = this.#clock.now();
    this.#forgetWhatWasLost();
    const rows = this.#unconfirmed;
    if (rows === 0) {
      return;
    }
    // Other sessions may add rows meanwhile, which this does not confirm.
    this.#unconfirmed = 0;
    this.#beingConfirmed += rows;
    const before = this.#countReconnections();
    try {
      // The message is the smallest thing that any role may commit; the setting ends with the transaction.
      await session.query(
        `select set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'token-cleanup', '')`,
      );
      this.#confirmed += this.#countReconnections() === before ? rows : 0;
      this.transactionIds += 1;
    } finally {
      this.#beingConfirmed -= rows;
    }
  }

  #forgetWhatWasLost(): void {
    const reconnections = this.#countReconnections();
    if (reconnections !== this.#reconnections) {
      this.#reconnections = reconnections;
      this.#unconfirmed = 0;
      this.transactionIds = Number.NaN;
    }
  }

  #countReconnections(): number {
    return this.#sessions.reduce((sum, session) => sum + session.reconnections, 0);
  }
}
