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
  TIMEOUT_MS,
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

/** The planner is not asked about what is read in a few milliseconds anyway. */
const SMALL_TABLE_BLOCKS = 64;

/**
 * All that can hold dead rows now, a piece for each relation: the rows themselves where an index leads to few of them or
 * to none, otherwise all the blocks.
 */
export async function wholeTable(options: PieceOptions): Promise<Piece[]> {
  const { rows } = await patiently<{ oid: number; blocks: number | null }>(
    options,
    `select oid::int8::float8 as oid, (pg_relation_size(oid) / current_setting('block_size')::int)::float8 as blocks
     from unnest($1::oid[]) as oid`,
    [options.relations.map(({ oid }) => oid)],
  );
  const blocksByOid = new Map(rows.map(({ oid, blocks }) => [oid, blocks]));
  const pieces: Piece[] = [];
  for (const relation of options.relations) {
    const blocks = blocksByOid.get(relation.oid);
    if (typeof blocks !== 'number') {
      throw new Error(`${relation.quotedName} was dropped while the sweep was at work`);
    }
    const tids = blocks > SMALL_TABLE_BLOCKS ? await findByIndex(options, relation, blocks) : undefined;
    pieces.push({ relation, from: 0, to: positionOf(tids?.length ?? blocks), ...(tids && { tids }) });
  }
  return pieces;
}

/** The dead rows; nothing where no index leads to them, or where they are so many that the blocks are better walked. */
async function findByIndex(options: PieceOptions, relation: Relation, blocks: number): Promise<string[] | undefined> {
  const { text, values } = options.condition;
  const select = `select ctid from only ${relation.quotedName} where ${text}`;
  const explained = await patiently<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    options,
    `explain (format json) ${select}`,
    values,
  );
  const scan = explained.rows[0]?.['QUERY PLAN'][0].Plan;
  // The estimate may be far too high, and is seldom far too low: it is no finer than about 1 % of the table.
  if (!scan || !INDEX_SCANS.has(scan['Node Type']) || scan['Plan Rows'] > blocks) {
    return undefined;
  }
  try {
    const { rows } = await options.sessions[0].query<{ tids: string | null }>(
      `select string_agg(ctid::text, ' ' order by ctid) as tids from (${select}) as dead`,
      values,
      { statementTimeoutMs: TIMEOUT_MS, lockTimeoutMs: TIMEOUT_MS },
    );
    return rows[0]?.tids?.split(' ') ?? [];
  } catch (error) {
    const kind = kindOf(error);
    if (kind !== 'slow' && kind !== 'locked') {
      throw error;
    }
    return undefined;
  }
}

const INDEX_SCANS = new Set(['Index Scan', 'Index Only Scan', 'Bitmap Heap Scan']);

interface Plan {
  readonly 'Node Type': string;
  readonly 'Plan Rows': number;
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

export function blocksOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece.to - piece.from) / positionOf(1), 0);
}
