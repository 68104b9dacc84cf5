import type { Clock } from '../clock';
import { kindOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import type { Condition } from './condition';
import { patiently } from './table-lock';

/** A table, or a leaf of one, that has blocks of its own. */
export interface Relation {
  readonly oid: number;
  readonly quotedName: string;
}

/** The rows of a relation at the positions from `from` up to, but not including, `to`. See {@link positionOf}. */
export interface Piece {
  readonly relation: Relation;
  readonly from: number;
  readonly to: number;
  /** The rows to visit, where they are known. The positions are then those of this list, where each has its own block. */
  readonly tids?: readonly string[];
  /** Put off already, because rows elsewhere referred to some of it. */
  readonly postponed?: boolean;
  /** Part of a piece in which some row was in the way. */
  readonly suspect?: boolean;
}

/** A statement that takes longer is undone and cut: no row stays locked for longer. */
export const TIMEOUT_MS = 200;

/** Positions in a block; the largest block, of 32 kB, holds 1,169 rows. */
export const BLOCK = 2_048;

/** The place of a row, `(block,offset)`, as one number that can be compared and halved. */
export function positionOf(block: number, offset = 0): number {
  return block * BLOCK + offset;
}

/** The position of a row as the server writes it. */
export function parsePosition(tid: string): number {
  const [block = 0, offset = 0] = tid.slice(1, -1).split(',').map(Number);
  return positionOf(block, offset);
}

/** Narrows a condition to the rows of a piece. */
export function within({ from, to, tids }: Piece, { text, values }: Condition): Condition {
  const next = values.length + 1;
  const [place, places] = tids
    ? [`ctid = any($${next}::tid[])`, [tids.slice(from / BLOCK, to / BLOCK)]]
    : [`ctid >= $${next}::tid and ctid < $${next + 1}::tid`, [formatPosition(from), formatPosition(to)]];
  // Wrapped, the rules match no index, and the place is what is scanned. Left to the planner, statistics that are out of
  // date can make it walk an index of all the dead rows again for every piece.
  return { text: `coalesce(${text}, false) and ${place}`, values: [...values, ...places] };
}

function formatPosition(position: number): string {
  return `(${Math.floor(position / BLOCK)},${position % BLOCK})`;
}

export function wholeBlocks(size: number): number {
  return Math.max(1, Math.round(size / BLOCK)) * BLOCK;
}

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

export function blocksOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece.to - piece.from) / positionOf(1), 0);
}
