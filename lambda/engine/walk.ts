import type { Clock } from '../clock';
import { describeError, kindOf } from '../database/database-error';
import type { Check, Limits, Queryable, QueryResult } from '../database/queryable';
import { BATCH_LIMITS, TIMEOUT_MS } from './batch-limits';
import type { Condition, DeathCondition } from './conditions/condition';
import { isMissing } from './conditions/relation';
import type { Obstacle, WalkEnd } from './outcome';
import type { Outcome, Turns } from './pace/turns';
import { BlockRange, blocksOf, halvesOf, type Piece } from './pieces';
import type { Sifter } from './sifter';
import { idsOf, siftedIn } from './sifting';
import { TABLE_LOCK_PATIENCE_MS, TABLE_LOCK_RETRY_MS } from './table-lock';

export interface WalkOptions<Row> {
  /** The connections to work on, each with one statement at a time. */
  readonly sessions: readonly Queryable[];
  /** The statement for a piece. */
  readonly statement: (piece: Piece) => Condition;
  /** How many rows it deleted; absent if it only reads. */
  readonly rowsIn?: (result: QueryResult<Row>) => number;
  /** @default read committed */
  readonly isolation?: DeathCondition['isolation'] | undefined;
  /** Of each result, before it is committed. */
  readonly check?: Check | undefined;
  readonly turns: Turns;
  /** Awaited before every statement. */
  readonly pause?: (session: Queryable) => Promise<void>;
  /** Waits until the log of all statements is on disk. Resolves to whether it took a transaction id. */
  readonly flush?: (session: Queryable) => Promise<boolean>;
  readonly clock: Clock;
  /** No further statement begins once this is aborted. */
  readonly until: AbortSignal;
  /** Visits the last blocks first. */
  readonly backwards?: boolean;
  /** Makes the statements once a constraint or a trigger has refused a row: they process all other rows of a piece. */
  readonly sifter?: Sifter;
  /** Called for every statement, with its result unless it was undone. */
  readonly onStatement: (durationMs: number, done?: Done<Row>) => void;
}

export interface Done<Row> {
  readonly piece: Piece;
  readonly result: QueryResult<Row>;
}

/** Lock timeout of a range that is being halved: its first attempt has already waited. */
const SEARCH_LOCK_TIMEOUT_MS = 1;

/**
 * Each is wasted work and an error in the server's log. Finding one row takes up to 20. After this many, a range with such
 * a row is left as a whole; after twice as many, the rest of the table is left.
 */
const MOST_UNDONE = 500;

/** Each is as slow as a foreign key without an index, and undone: more would only load the server. */
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
 * The width of the ranges adapts to the time that they take. If a row is in the way (locked, or kept by a constraint or a
 * trigger), its range is halved until the row is alone. The row is recorded, and all others are processed.
 */
export class Walk<Row> {
  /** The rows that were in the way, and the ranges that were left for one; not those that were refused. */
  readonly obstacles: Obstacle[] = [];
  readonly #options: WalkOptions<Row>;
  /** The pieces that are still to be visited, the next one on top. */
  #pending: Pending[];
  #undone = 0;
  #sifter: Sifter | undefined;
  /** Whether a row was refused, so that pieces are sifted from then on. */
  #sifts = false;
  #failure: { readonly error: unknown } | undefined;
  #tableLockedSince: number | undefined;
  #slowRows = 0;
  #blocked = false;

  constructor(options: WalkOptions<Row>, pieces: readonly Piece[]) {
    this.#options = options;
    this.#sifter = options.sifter;
    const pending = pieces.filter(({ blocks }) => blocks > 0).map((piece) => ({ piece, isSuspect: piece.isRow }));
    this.#pending = options.backwards ? pending : pending.reverse();
  }

  /** The pieces that were not visited. */
  get unvisited(): readonly Piece[] {
    return this.#pending.map(({ piece }) => piece);
  }

  /** @throws an error that no row caused and that repeating does not help. Completed statements stay in effect */
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
    for (;;) {
      const [upcoming] = this.#pending.slice(-1);
      const end = upcoming && !this.#mustEnd ? await this.#turn(session, upcoming) : undefined;
      const next = end && this.#next();
      if (!next) {
        end?.({ blocks: 0, rows: 0, undone: true, waitedMs: 0, ids: 0 });
        return;
      }
      await this.#execute(session, next, end);
    }
  }

  #turn(session: Queryable, { piece }: Pending) {
    const { turns, pause, flush, until } = this.#options;
    const { oid } = piece.relation;
    return turns.next(session, { oid, blocksLeft: this.blocksPending, pause, flush, until });
  }

  get #mustEnd(): boolean {
    return this.#options.until.aborted || this.#failure !== undefined || this.#blocked;
  }

  /** The next piece, not wider than the width; nothing if there is none or the walk has to end. */
  #next(): Pending | undefined {
    const next = this.#mustEnd ? undefined : this.#pending.pop();
    const { width: usual } = this.#options.turns;
    const width = this.#sifts && this.#sifter ? Math.min(usual, this.#sifter.width) : usual;
    if (!next || next.piece.blocks <= width) {
      return next;
    }
    const { piece, isSuspect } = next;
    this.#push(piece.splitAt(this.#options.backwards ? piece.blocks - width : width), isSuspect);
    return this.#pending.pop();
  }

  /** Puts both parts of a piece back, the one to do next on top. */
  #push(parts: readonly [Piece, Piece], isSuspect: boolean): void {
    const pending = parts.map((piece) => ({ piece, isSuspect }));
    this.#pending.push(...(this.#options.backwards ? pending : pending.reverse()));
  }

  async #execute(session: Queryable, next: Pending, endTurn: (outcome: Outcome) => void): Promise<void> {
    const { clock, rowsIn, onStatement } = this.#options;
    const { piece, isSuspect } = next;
    const { reconnections } = session;
    const startedAt = clock.now();
    const end = (blocks: number, rows: number, ids: number, error?: unknown) => {
      const elapsedMs = clock.now() - startedAt;
      const hasReconnected = session.reconnections !== reconnections;
      const lockWaitMs = kindOf(error) === 'locked' ? limitsOf(isSuspect).lockTimeoutMs : 0;
      endTurn({
        // Most of the time went into getting another connection: nothing can be learned from it.
        blocks: hasReconnected ? 0 : blocks,
        rows,
        undone: error !== undefined,
        waitedMs: hasReconnected ? elapsedMs : lockWaitMs,
        ids: rowsIn ? ids : 0,
      });
      // The server ends a statement at its limit.
      return hasReconnected ? Math.min(elapsedMs, TIMEOUT_MS) : elapsedMs;
    };
    const sifter = this.#sifts ? this.#sifter : undefined;
    try {
      const result = await this.#query(session, next, sifter);
      this.#tableLockedSince = undefined;
      const sifted = sifter && siftedIn(result);
      const [visited, rest] = sifted ? sifter.split(piece, sifted) : [piece];
      this.#pending.push(...(rest ? [{ piece: rest, isSuspect }] : []));
      this.#blocked ||= sifter?.isExhausted ?? false;
      const rows = rowsIn?.(result) ?? 0;
      onStatement(end(visited.blocks, rows, sifted ? idsOf(sifted) : Math.min(rows, 1)), { piece: visited, result });
    } catch (error) {
      onStatement(end(piece.blocks, 0, 1, error));
      await this.#overcome(session, next, error, sifter);
    }
  }

  #query(session: Queryable, { piece, isSuspect }: Pending, sifter?: Sifter) {
    const { statement, isolation, check, turns } = this.#options;
    const { text, values } = sifter ? sifter.statement(piece, turns.load(1) >= 1) : statement(piece);
    const limits = { ...limitsOf(isSuspect), ...(isolation && { snapshotOf: piece.relation.quotedName }) };
    return session.query<Row>(text, values, limits, check);
  }

  async #overcome(session: Queryable, next: Pending, error: unknown, sifter?: Sifter): Promise<void> {
    const { piece } = next;
    const { relation } = piece;
    if (isMissing(error) && relation.rootOid !== undefined) {
      this.#pending = this.#pending.filter((pending) => pending.piece.relation !== relation);
      return; // a partition that was dropped, with its rows
    }
    const kind = kindOf(error);
    if (sifter ? kind === 'protected' || kind === 'fatal' : kind === 'protected' && this.#sifter) {
      await this.#changeToSifting(session, next, sifter !== undefined);
      return;
    }
    if (kind !== 'locked' && kind !== 'protected' && kind !== 'slow') {
      this.#pending.push(next);
      throw error;
    }
    if (kind === 'locked' && !next.isSuspect && (await this.#isTableLocked(session, piece))) {
      this.#pending.push(next);
      return;
    }
    this.#undone += 1;
    if (kind === 'slow' && sifter?.shrink()) {
      this.#pending.push(next);
      return;
    }
    if (!piece.isRow && (this.#undone < MOST_UNDONE || (kind === 'slow' && piece.blocks > 1))) {
      this.#push(halvesOf(piece), next.isSuspect || kind !== 'slow');
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

  /**
   * Sifts from now on, or no longer: it overcomes whatever rows raise, unless the role may not use PL/pgSQL, or the error is
   * one that no row should raise.
   */
  async #changeToSifting(session: Queryable, next: Pending, wasSifted: boolean): Promise<void> {
    this.#pending.push(next);
    this.#undone += 1;
    this.#sifter = wasSifted ? undefined : this.#sifter;
    this.#sifts = !wasSifted && !(await this.#isTableLocked(session, next.piece));
  }

  /** Whether the table is locked rather than a row. If so, waits a little. */
  async #isTableLocked(session: Queryable, { relation }: Piece): Promise<boolean> {
    const { clock, until } = this.#options;
    try {
      // An empty range takes the table's lock, fires its statement triggers, and touches no row.
      await this.#query(session, { piece: new BlockRange(relation, 0, 0), isSuspect: true });
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

function limitsOf(isSuspect: boolean): Limits {
  return isSuspect ? { ...BATCH_LIMITS, lockTimeoutMs: SEARCH_LOCK_TIMEOUT_MS } : BATCH_LIMITS;
}

const REASONS: Readonly<Record<string, string>> = {
  locked: 'a lock of another transaction',
  slow: `a row that takes longer than ${TIMEOUT_MS} ms`,
};
