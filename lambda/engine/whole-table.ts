import { kindOf } from '../database/database-error';
import type { Limits } from '../database/queryable';
import { BATCH_LIMITS, TIMEOUT_MS } from './batch-limits';
import type { Condition } from './conditions/condition';
import { blocksOfRelation, hasDeleteTrigger, isUnchanged, type Relation } from './conditions/relation';
import { BlockRange, type Piece, RowList } from './pieces';
import { type LockWaitOptions, patiently } from './table-lock';

export interface TableOptions extends LockWaitOptions {
  /** The table, or its partitions. */
  readonly relations: readonly Relation[];
  /** The rules that dead rows meet. */
  readonly condition: Condition;
}

/** A table that is read in a few milliseconds needs neither a plan nor another connection. */
export const SMALL_TABLE_BLOCKS = 64;

export interface WholeTable {
  /**
   * All places that can hold dead rows, a piece for each relation: the rows themselves if an index leads to few or none,
   * otherwise all blocks.
   */
  readonly pieces: readonly Piece[];
  /** The file of each relation. */
  readonly files: ReadonlyMap<number, number | null>;
  /** Whether a trigger of one of them may refuse rows. */
  readonly mayRefuse: boolean;
}

export async function wholeTable(options: TableOptions): Promise<WholeTable> {
  const { rows } = await patiently<Size>(options, SIZES_SQL, [options.relations.map(({ oid }) => oid)], BATCH_LIMITS);
  const pieces: Piece[] = [];
  for (const relation of options.relations) {
    // A partition that was dropped has no blocks.
    const blocks = rows.find(({ oid }) => oid === relation.oid)?.blocks ?? 0;
    const tids = blocks > SMALL_TABLE_BLOCKS ? await findByIndex(options, relation, blocks) : undefined;
    pieces.push(tids ? new RowList(relation, tids) : new BlockRange(relation, 0, blocks));
  }
  return {
    pieces,
    files: new Map(rows.map(({ oid, file }) => [oid, file])),
    mayRefuse: rows.some(({ hasTrigger }) => hasTrigger),
  };
}

interface Size {
  readonly oid: number;
  /** Null if it was dropped. */
  readonly blocks: number | null;
  readonly file: number | null;
  readonly hasTrigger: boolean;
}

const SIZES_SQL = `
  select
    oid::pg_catalog.int8::pg_catalog.float8 as oid,
    ${blocksOfRelation('oid')} as blocks,
    pg_catalog.pg_relation_filenode(oid)::pg_catalog.int8::pg_catalog.float8 as file,
    ${hasDeleteTrigger('relation.oid')} as "hasTrigger"
  from pg_catalog.unnest($1::pg_catalog.oid[]) as relation (oid)`;

// The planner may call functions of a policy, which may rely on the role's search_path.
const PLAN_LIMITS: Limits = { statementTimeoutMs: 30_000, lockTimeoutMs: 1_000, ownSearchPath: true };

/** The places of the dead rows; undefined if no index leads to them, or if a walk over the blocks is better. */
async function findByIndex(options: TableOptions, relation: Relation, blocks: number): Promise<string[] | undefined> {
  const { text, values } = options.condition;
  const select = `select ctid from only ${relation.quotedName} where ${isUnchanged(relation)} and ${text}`;
  const explained = await patiently<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    options,
    `explain (format json) ${select}`,
    values,
    PLAN_LIMITS,
  );
  const scan = scanIn(explained.rows[0]?.['QUERY PLAN'][0].Plan);
  // The estimate may be far too high, and is seldom far too low: it is no finer than about 1 % of the table.
  if (!scan || !INDEX_SCANS.has(scan['Node Type']) || scan['Plan Rows'] > blocks) {
    return undefined;
  }
  try {
    const { rows } = await options.sessions[0].query<{ tids: string | null }>(
      `select pg_catalog.string_agg(ctid::pg_catalog.text, ' ' order by ctid) as tids from (${select}) as dead`,
      values,
      { statementTimeoutMs: TIMEOUT_MS, lockTimeoutMs: TIMEOUT_MS, ownSearchPath: true },
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

/** Below the one-time filter that binds a partition to its table. */
function scanIn(plan: Plan | undefined): Plan | undefined {
  return plan?.['Node Type'] === 'Result' ? plan.Plans?.find((part) => part['Parent Relationship'] === 'Outer') : plan;
}

const INDEX_SCANS = new Set(['Index Scan', 'Index Only Scan', 'Bitmap Heap Scan']);

interface Plan {
  readonly 'Node Type': string;
  readonly 'Plan Rows': number;
  readonly 'Parent Relationship'?: string;
  readonly Plans?: readonly Plan[];
}
