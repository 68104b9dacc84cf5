import type { Clock } from './clock';
import { kindOf } from './database-error';
import type { Condition } from './rules';
import {
  type Piece,
  positionOf,
  type Queryable,
  type QueryResult,
  type Relation,
  TABLE_LOCK_PATIENCE_MS,
  type WalkOptions,
  within,
} from './walk';

export interface PieceOptions {
  /** The connections to work on. */
  readonly sessions: readonly [Queryable, ...Queryable[]];
  /** The table, or its leaves. */
  readonly relations: readonly Relation[];
  /** Which rows are dead. */
  readonly condition: Condition;
  readonly clock: Clock;
  /** Ends the counting, and the waiting for a lock. Its reason is a stop reason. */
  readonly stopCounting: AbortSignal;
}

type Statement = WalkOptions<never>['statement'];

/**
 * Up to this estimate an index is tried. Estimates are no finer than 1 % of a table, so the rows may be far fewer; where
 * they are too many for one statement, it is undone at its timeout, and the blocks are walked.
 */
export const MOST_INDEXED_ROWS = 100_000;
/** The planner is not asked about what is read in a few milliseconds anyway. */
const SMALL_PIECE_BLOCKS = 64;

/** All the blocks that the table has now. */
export async function wholeTable(options: PieceOptions, statement: Statement): Promise<Piece[]> {
  const { rows } = await patiently<{ oid: number; blocks: number | null }>(
    options,
    `select oid::int8::float8 as oid, (pg_relation_size(oid) / current_setting('block_size')::int)::float8 as blocks
     from unnest($1::oid[]) as oid`,
    [options.relations.map(({ oid }) => oid)],
  );
  const blocks = new Map(rows.map((row) => [row.oid, row.blocks]));
  const pieces = options.relations.map((relation) => {
    const to = blocks.get(relation.oid);
    if (typeof to !== 'number') {
      throw new Error(`${relation.quotedName} was dropped while the sweep was at work`);
    }
    return { relation, from: 0, to: positionOf(to) };
  });
  return await planned(options, statement, pieces);
}

/** Asks the planner where an index finds the few rows that there are, so that one statement will do. */
export async function planned(options: PieceOptions, statement: Statement, pieces: Piece[]): Promise<Piece[]> {
  const result: Piece[] = [];
  for (const piece of pieces.filter(({ from, to }) => to > from)) {
    const indexed = { ...piece, indexed: true };
    const small = piece.to - piece.from <= positionOf(SMALL_PIECE_BLOCKS);
    result.push(!small && (await expectsFewRows(options, statement, indexed)) ? indexed : piece);
  }
  return result;
}

async function expectsFewRows(options: PieceOptions, statement: Statement, piece: Piece): Promise<boolean> {
  const { text, values } = within(piece, options.condition);
  const { rows } = await patiently<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    options,
    `explain (format json) ${statement(piece.relation, text)}`,
    values,
  );
  // The rows of a DELETE or of an aggregate come from the one scan below it.
  const scan = rows[0]?.['QUERY PLAN'][0].Plan.Plans?.[0];
  return scan !== undefined && INDEX_SCANS.has(scan['Node Type']) && scan['Plan Rows'] <= MOST_INDEXED_ROWS;
}

/** Asks on until a lock on the whole table, such as a migration's, is gone. */
export async function patiently<Row>(
  options: PieceOptions,
  text: string,
  values: readonly unknown[],
): Promise<QueryResult<Row>> {
  const { sessions, clock, stopCounting } = options;
  for (const startedAt = clock.now(); ; ) {
    try {
      return await sessions[0].query<Row>(text, values);
    } catch (error) {
      const waitedMs = clock.now() - startedAt;
      if (kindOf(error) !== 'locked' || stopCounting.aborted || waitedMs > TABLE_LOCK_PATIENCE_MS) {
        throw error;
      }
    }
  }
}

const INDEX_SCANS = new Set(['Index Scan', 'Index Only Scan', 'Bitmap Heap Scan']);

interface Plan {
  readonly 'Node Type': string;
  readonly 'Plan Rows': number;
  readonly Plans?: readonly Plan[];
}

export function blocksOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece.to - piece.from) / positionOf(1), 0);
}
