import type { Clock } from '../clock';
import { describeError, isForeignKeyViolation, kindOf } from '../database/database-error';
import type { Queryable, QueryResult } from '../database/queryable';
import type { Condition } from './condition';
import type { Obstacle, WalkEnd } from './outcome';
import { BlockRange, blocksOf, type Piece } from './pieces';
import { isMissing } from './relation';
import { TABLE_LOCK_PATIENCE_MS, TABLE_LOCK_RETRY_MS } from './table-lock';
import { TIMEOUT_MS } from './whole-table';

export interface WalkOptions<Row> {
  /** The connections to work on, each with one statement at a time. */
  readonly sessions: readonly Queryable[];
  /** What to do with a piece. */
  readonly statement: (piece: Piece) => Condition;
  readonly pace: Pace;
  /** Awaited before every statement. */
  readonly pause?: (session: Queryable) => Promise<void>;
  readonly clock: Clock;
  /** No further statement begins once this is aborted. */
  readonly until: AbortSignal;
  /** Whether foreign keys point at the table. */
  readonly hasKeys?: boolean;
  /** Visits the last blocks first. */
  readonly backwards?: boolean;
  /** Leaves a range that a foreign key keeps to {@link Walk.deferred}, instead of halving it. */
  readonly defersForeignKeys?: boolean;
  /** Called for every statement, with its result unless it was undone. */
  readonly onStatement: (durationMs: number, done?: Done<Row>) => void;
}

export interface Done<Row> {
  readonly piece: Piece;
  readonly result: QueryResult<Row>;
}

/** How long a statement should take, and how long a connection rests after it. */
export interface Pace {
  readonly targetMs: number;
  rest(workedMs: number, until: AbortSignal): Promise<void>;
}

/** Works a fixed share of the time, and sleeps the rest, outside of any transaction. */
export class FixedPace implements Pace {
  /**
   * Measured: a longer statement fills the buffers of the server's log and has to write them itself. After short ones the
   * log writer does so beside it, and the service waits less. Still shorter ones gain nothing.
   */
  readonly targetMs = 10;
  readonly #clock: Clock;
  readonly #share: number;

  /** @param share above 0 up to 1 */
  constructor(clock: Clock, share: number) {
    this.#clock = clock;
    this.#share = share;
  }

  async rest(workedMs: number, until: AbortSignal): Promise<void> {
    const restMs = Math.min(workedMs * (1 / this.#share - 1), LONGEST_REST_MS);
    if (restMs > 0) {
      await this.#clock.sleep(restMs, until);
    }
  }
}

/** Servers end sessions that idle for two minutes, as ours ask them to. */
const LONGEST_REST_MS = 60_000;

/** Well before the server looks for deadlocks (1 s), so that in a conflict the service wins. */
const LOCK_TIMEOUT_MS = 25;

/** Lock timeout of a range that is being halved: its first attempt has already waited. */
const SEARCH_LOCK_TIMEOUT_MS = 1;

/** Some 2,000 dead rows of a token table of which half is dead; from there the width adapts. */
const FIRST_WIDTH_BLOCKS = 64;

/** Deleting a row that foreign keys point at takes ten times as long, or more. */
const FIRST_WIDTH_WITH_KEYS_BLOCKS = 4;

/** A fast statement says little about one twice as wide: growth is careful, and shrinking is not. */
const GREATEST_GROWTH = 2;

/**
 * Each is work in vain and an error in the server's log. It takes up to 20 to find one row; once so many are spent, a
 * range with such a row is left as a whole, and after twice as many the rest of the table.
 */
const MOST_UNDONE = 500;

/** Each is as much work as a foreign key without an index makes it, and undone: more would only be a load. */
const MOST_SLOW_ROWS = 20;

/** A piece that is still to be visited. */
interface Pending {
  readonly piece: Piece;
  /** Whether it is a part of one that failed for a single row. */
  readonly isSuspect: boolean;
}

/**
 * Executes a statement on pieces of tables, range after range, so that none takes long and every block is visited once.
 *
 * The width of the ranges follows the time that they take. If a row is in the way (locked, or kept by a constraint or a
 * trigger), its range is halved until the row is alone; it is noted, and everything else is done.
 */
export class Walk<Row> {
  /** The rows that were in the way, and the ranges that were left for one. */
  readonly obstacles: Obstacle[] = [];
  readonly deferred: Piece[] = [];
  readonly #options: WalkOptions<Row>;
  /** What is left to do, the next piece on top. */
  #pending: Pending[];
  #width: number;
  #undone = 0;
  #failure: { readonly error: unknown } | undefined;
  #tableLockedSince: number | undefined;
  #slowRows = 0;
  #blocked = false;

  constructor(options: WalkOptions<Row>, pieces: readonly Piece[]) {
    this.#options = options;
    this.#width = options.hasKeys ? FIRST_WIDTH_WITH_KEYS_BLOCKS : FIRST_WIDTH_BLOCKS;
    const pending = pieces.filter(({ blocks }) => blocks > 0).map((piece) => ({ piece, isSuspect: piece.isRow }));
    this.#pending = options.backwards ? pending : pending.reverse();
  }

  /** What was not visited yet. */
  get unvisited(): readonly Piece[] {
    return this.#pending.map(({ piece }) => piece);
  }

  /** @throws an error that is neither a row's nor of those that a session repeats; what was done until then is kept */
  async run(): Promise<WalkEnd> {
    await Promise.all(
      this.#options.sessions.map((session) =>
        this.#work(session).catch((error: unknown) => {
          this.#failure ??= { error };
        }),
      ),
    );
    if (this.#failure) {
      throw this.#failure.error;
    }
    if (this.#pending.length === 0) {
      return 'finished';
    }
    return this.#blocked ? 'blocked' : 'stopped';
  }

  async #work(session: Queryable): Promise<void> {
    const { pause, pace, clock, until } = this.#options;
    while (true) {
      await pause?.(session);
      const next = this.#next();
      if (!next) {
        return;
      }
      const startedAt = clock.now();
      await this.#execute(session, next, startedAt);
      // Time spent on an unreachable database is no work, and is not rested from.
      await pace.rest(Math.min(clock.now() - startedAt, TIMEOUT_MS), until);
    }
  }

  /** The next piece, not wider than the width; nothing if there is none or the walk has to end. */
  #next(): Pending | undefined {
    if (this.#options.until.aborted || this.#failure || this.#blocked) {
      return undefined;
    }
    const next = this.#pending.pop();
    if (!next || next.piece.blocks <= this.#width) {
      return next;
    }
    const { piece, isSuspect } = next;
    this.#push(piece.splitAt(this.#options.backwards ? piece.blocks - this.#width : this.#width), isSuspect);
    return this.#pending.pop();
  }

  /** Puts both parts of a piece back, the one to do next on top. */
  #push(parts: readonly [Piece, Piece], isSuspect: boolean): void {
    const pending = parts.map((piece) => ({ piece, isSuspect }));
    this.#pending.push(...(this.#options.backwards ? pending : pending.reverse()));
  }

  async #execute(session: Queryable, next: Pending, startedAt: number): Promise<void> {
    const { clock, onStatement } = this.#options;
    const { reconnections } = session;
    const elapsedMs = () => {
      const ms = clock.now() - startedAt;
      // After a lost connection the rest of the time went into getting another; the server ends a statement at its limit.
      return session.reconnections === reconnections ? ms : Math.min(ms, TIMEOUT_MS);
    };
    try {
      const result = await this.#query(session, next.piece, next.isSuspect);
      const durationMs = elapsedMs();
      this.#tableLockedSince = undefined;
      this.#adapt(next.piece, durationMs);
      onStatement(durationMs, { piece: next.piece, result });
    } catch (error) {
      const durationMs = elapsedMs();
      onStatement(durationMs);
      await this.#overcome(session, next, error, durationMs);
    }
  }

  #query(session: Queryable, piece: Piece, isSuspect: boolean) {
    const { text, values } = this.#options.statement(piece);
    return session.query<Row>(text, values, {
      statementTimeoutMs: TIMEOUT_MS,
      lockTimeoutMs: isSuspect ? SEARCH_LOCK_TIMEOUT_MS : LOCK_TIMEOUT_MS,
      ownSearchPath: true,
    });
  }

  #adapt({ blocks }: Piece, durationMs: number): void {
    const { targetMs } = this.#options.pace;
    // The rest of a table, or half of a range, may be fast for being short; that is no reason to narrow the next.
    if (blocks >= this.#width || durationMs > targetMs) {
      this.#width = wholeBlocks(blocks * Math.min(targetMs / durationMs, GREATEST_GROWTH));
    }
  }

  async #overcome(session: Queryable, next: Pending, error: unknown, durationMs: number): Promise<void> {
    const { piece } = next;
    const { relation } = piece;
    if (isMissing(error) && relation.rootOid !== undefined) {
      this.#pending = this.#pending.filter((pending) => pending.piece.relation !== relation);
      return; // a partition that was dropped, with its rows
    }
    const kind = kindOf(error);
    if (kind !== 'locked' && kind !== 'protected' && kind !== 'slow') {
      this.#pending.push(next);
      throw error;
    }
    if (kind === 'locked' && !next.isSuspect && (await this.#isTableLocked(session, piece))) {
      this.#pending.push(next);
      return;
    }
    this.#undone += 1;
    if (isForeignKeyViolation(error) && this.#options.defersForeignKeys) {
      this.deferred.push(piece);
      return;
    }
    if (kind === 'slow') {
      const { targetMs } = this.#options.pace;
      this.#width = Math.min(this.#width, wholeBlocks(piece.blocks * Math.min(targetMs / durationMs, 0.5)));
    }
    if (!piece.isRow && (this.#undone < MOST_UNDONE || (kind === 'slow' && piece.blocks > 1))) {
      this.#push(piece.halves(), next.isSuspect || kind !== 'slow');
      return;
    }
    if (await this.#isTableLocked(session, piece)) {
      this.#pending.push(next);
      return;
    }
    this.obstacles.push({ reason: REASONS[kind] ?? describeError(error), piece, passing: kind === 'locked' });
    this.#slowRows += kind === 'slow' ? 1 : 0;
    this.#blocked ||= this.#slowRows >= MOST_SLOW_ROWS || this.#undone >= 2 * MOST_UNDONE;
  }

  /** Whether the table is locked rather than a row. If so, waits a little. */
  async #isTableLocked(session: Queryable, { relation }: Piece): Promise<boolean> {
    const { clock, until } = this.#options;
    try {
      // An empty range takes the table's lock, fires its statement triggers, and touches no row.
      await this.#query(session, new BlockRange(relation, 0, 0), true);
      return false;
    } catch (error) {
      if (kindOf(error) !== 'locked') {
        throw error;
      }
      this.#tableLockedSince ??= clock.now();
      if (!this.#blocked && clock.now() - this.#tableLockedSince > TABLE_LOCK_PATIENCE_MS) {
        this.#blocked = true;
      }
      await clock.sleep(TABLE_LOCK_RETRY_MS, until);
      return true;
    }
  }

  /** Whether the walk ended while the table was locked as a whole. */
  get isTableLocked(): boolean {
    return this.#pending.length > 0 && this.#tableLockedSince !== undefined;
  }

  get blocksPending(): number {
    return blocksOf(this.unvisited);
  }
}

function wholeBlocks(blocks: number): number {
  return Math.max(1, Math.round(blocks));
}

const REASONS: Readonly<Record<string, string>> = {
  locked: 'a lock of another transaction',
  slow: `a row that takes longer than ${TIMEOUT_MS} ms`,
};
