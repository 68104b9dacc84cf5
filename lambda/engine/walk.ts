import type { Clock } from '../clock';
import { describeError, isForeignKeyViolation, kindOf } from '../database/database-error';
import type { Queryable, QueryResult } from '../database/queryable';
import type { Condition } from './condition';
import type { Obstacle, WalkEnd } from './outcome';
import { BLOCK, type Piece, positionOf, type Relation, TIMEOUT_MS, wholeBlocks, within } from './pieces';
import { TABLE_LOCK_PATIENCE_MS, TABLE_LOCK_RETRY_MS } from './table-lock';

export interface WalkOptions<Row> {
  /** The connections to work on, each with one statement at a time. */
  readonly sessions: readonly Queryable[];
  /** What to do with the rows of a relation that meet a condition. */
  readonly statement: (relation: Relation, condition: string) => string;
  readonly condition: Condition;
  /** The share of time that a connection works, above 0 up to 1; the rest it sleeps, outside of any transaction. */
  readonly maxLoad: number;
  /** Awaited before every statement. */
  readonly pause?: (session: Queryable) => Promise<void>;
  readonly clock: Clock;
  /** No further statement begins once this is aborted. */
  readonly until: AbortSignal;
  /** Told of every statement, and unless it was undone, what came of it. */
  readonly onStatement: (durationMs: number, done?: Done<Row>) => void;
}

export interface Done<Row> {
  readonly piece: Piece;
  readonly result: QueryResult<Row>;
  /** What is left to visit. */
  readonly blocksPending: number;
}

/**
 * The time that a statement aims at. Measured: a longer one fills the buffers of the server's log and has to write them
 * itself, where after short ones the log writer does so beside it, and the service waits longer. Shorter ones gain nothing.
 */
const TARGET_MS = 10;

/** Well before the server looks for deadlocks (1 s), so that in a conflict the service wins. */
const LOCK_TIMEOUT_MS = 25;

/** While a range is searched for the rows that are in the way, the conflict has been waited for already. */
const SEARCH_LOCK_TIMEOUT_MS = 1;

/** Some 2,000 dead rows of a token table of which half is dead; from there the width adapts. */
const FIRST_WIDTH_BLOCKS = 64;

/** A fast statement says little about one twice as wide: growth is careful, and shrinking is not. */
const GREATEST_GROWTH = 2;

/** Servers end sessions that idle for two minutes, as ours ask them to. */
const LONGEST_REST_MS = 60_000;

/** To find a row that is in the way takes up to 20 statements. After this many rows, the whole block is left. */
const MOST_OBSTACLES = 5_000;

/** Each is as much work as a foreign key without an index makes it, and undone: more would only be a load. */
const MOST_SLOW_ROWS = 20;

/**
 * Executes a statement on pieces of tables, range after range, so that none takes long and every block is visited once.
 *
 * The width of the ranges follows the time that they take. Where a row is in the way (locked, or kept by a constraint or
 * a trigger), its range is halved until the row is alone; it is noted, and everything else is done.
 */
export class Walk<Row> {
  /** The rows that were in the way. */
  readonly obstacles: Obstacle[] = [];
  readonly #options: WalkOptions<Row>;
  /** What is left to do, the next piece on top. */
  readonly #pending: Piece[];
  /**
   * What rows elsewhere refer to. It comes last, and its last rows first: where the rows of a table refer to older ones,
   * a chain of dead ones goes from its newest end.
   */
  readonly #postponed: Piece[] = [];
  #width = positionOf(FIRST_WIDTH_BLOCKS);
  #failure: { readonly error: unknown } | undefined;
  #tableLockedSince: number | undefined;
  #slowRows = 0;
  #blocked = false;

  constructor(options: WalkOptions<Row>, pieces: readonly Piece[]) {
    this.#options = options;
    this.#pending = pieces.filter(({ from, to }) => to > from).reverse();
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
    if (this.#pending.length + this.#postponed.length === 0) {
      return 'finished';
    }
    return this.#blocked ? 'blocked' : 'stopped';
  }

  async #work(session: Queryable): Promise<void> {
    const { pause, clock, until, maxLoad } = this.#options;
    while (true) {
      await pause?.(session);
      const piece = this.#next();
      if (!piece) {
        return;
      }
      const startedAt = clock.now();
      await this.#execute(session, piece, startedAt);
      // An outage that was waited for is no work, and is not rested from.
      const workedMs = Math.min(clock.now() - startedAt, TIMEOUT_MS);
      const restMs = Math.min(workedMs * (1 / maxLoad - 1), LONGEST_REST_MS);
      if (restMs > 0) {
        await clock.sleep(restMs, until);
      }
    }
  }

  /** The next piece, not wider than the width; nothing when there is none or the walk has to end. */
  #next(): Piece | undefined {
    if (this.#options.until.aborted || this.#failure || this.#blocked) {
      return undefined;
    }
    const piece = this.#pending.pop() ?? this.#postponed.pop();
    if (!piece || piece.to - piece.from <= this.#width) {
      return piece;
    }
    this.#split(piece, piece.postponed ? piece.to - this.#width : piece.from + this.#width);
    return this.#pending.pop();
  }

  /** Puts both parts of a piece back, the one to do next on top: the first, or of what was put off the last. */
  #split(piece: Piece, at: number): void {
    const parts = [
      { ...piece, from: at },
      { ...piece, to: at },
    ];
    this.#pending.push(...(piece.postponed ? parts.reverse() : parts));
  }

  async #execute(session: Queryable, piece: Piece, startedAt: number): Promise<void> {
    const { clock, onStatement } = this.#options;
    const { reconnections } = session;
    const elapsedMs = () => {
      const ms = clock.now() - startedAt;
      // After a lost connection the rest of the time went into getting another; the server ends a statement at its limit.
      return session.reconnections === reconnections ? ms : Math.min(ms, TIMEOUT_MS);
    };
    try {
      const result = await this.#query(session, piece);
      const durationMs = elapsedMs();
      this.#tableLockedSince = undefined;
      this.#adapt(piece, durationMs);
      onStatement(durationMs, { piece, result, blocksPending: this.#blocksPending });
    } catch (error) {
      const durationMs = elapsedMs();
      onStatement(durationMs);
      await this.#overcome(session, piece, error, durationMs);
    }
  }

  #query(session: Queryable, piece: Piece) {
    const { text, values } = within(piece, this.#options.condition);
    return session.query<Row>(this.#options.statement(piece.relation, text), values, {
      statementTimeoutMs: TIMEOUT_MS,
      lockTimeoutMs: piece.suspect ? SEARCH_LOCK_TIMEOUT_MS : LOCK_TIMEOUT_MS,
    });
  }

  #adapt(piece: Piece, durationMs: number): void {
    const size = piece.to - piece.from;
    // The rest of a table, or half of a range, may be fast for being short; that is no reason to narrow the next.
    if (size >= this.#width || durationMs > TARGET_MS) {
      this.#width = wholeBlocks(size * Math.min(TARGET_MS / durationMs, GREATEST_GROWTH));
    }
  }

  async #overcome(session: Queryable, piece: Piece, error: unknown, durationMs: number): Promise<void> {
    const kind = kindOf(error);
    if (kind !== 'locked' && kind !== 'protected' && kind !== 'slow') {
      this.#pending.push(piece);
      throw error;
    }
    const size = piece.to - piece.from;
    if (isForeignKeyViolation(error) && !piece.postponed) {
      this.#postponed.push({ ...piece, postponed: true });
      return;
    }
    if (kind === 'slow') {
      this.#width = Math.min(this.#width, wholeBlocks(size * Math.min(TARGET_MS / durationMs, 0.5)));
    }
    const oneRow = piece.tids ? BLOCK : 1;
    if (size > (this.obstacles.length < MOST_OBSTACLES ? oneRow : BLOCK)) {
      const middle = piece.from + (size > BLOCK ? wholeBlocks(size / 2) : Math.ceil(size / 2));
      this.#split({ ...piece, suspect: piece.suspect || kind !== 'slow' }, middle);
      return;
    }
    if (await this.#isTableLocked(session, piece)) {
      this.#pending.push(piece);
      return;
    }
    this.obstacles.push({
      reason: REASONS[kind] ?? describeError(error),
      ...(size === oneRow && { rows: 1 }),
      passing: kind === 'locked',
    });
    this.#slowRows += kind === 'slow' ? 1 : 0;
    this.#blocked ||= this.#slowRows >= MOST_SLOW_ROWS;
  }

  /** Whether it is the table that is locked rather than a row. If so, waits a little. */
  async #isTableLocked(session: Queryable, piece: Piece): Promise<boolean> {
    const { clock, until } = this.#options;
    try {
      // An empty range takes the table's lock, fires its statement triggers, and touches no row.
      await this.#query(session, { ...piece, from: 0, to: 0 });
      return false;
    } catch (error) {
      if (kindOf(error) !== 'locked') {
        throw error;
      }
      this.#tableLockedSince ??= clock.now();
      if (!this.#blocked && clock.now() - this.#tableLockedSince > TABLE_LOCK_PATIENCE_MS) {
        this.#blocked = true;
        this.obstacles.push({ reason: 'a lock on the whole table', passing: true });
      }
      await clock.sleep(TABLE_LOCK_RETRY_MS, until);
      return true;
    }
  }

  get #blocksPending(): number {
    return [...this.#pending, ...this.#postponed].reduce((sum, piece) => sum + (piece.to - piece.from) / BLOCK, 0);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  locked: 'a lock of another transaction',
  slow: `a row that takes longer than ${TIMEOUT_MS} ms`,
};
