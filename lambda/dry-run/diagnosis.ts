import type { Target } from '../configuration/targets';
import type { Condition } from '../engine/condition';
import { count } from '../engine/count';
import { blockagesOf, endBy, type Obstacle, reasonOf, type SweepOutcome, type WalkEnd } from '../engine/outcome';
import { blocksOf, type Piece, RowList } from '../engine/pieces';
import type { Table, Visiting, Worked } from '../engine/purge';
import type { Relation } from '../engine/relation';

import { patiently } from '../engine/table-lock';
import { SMALL_TABLE_BLOCKS, type TableOptions, wholeTable } from '../engine/whole-table';
import { adviseOnIndexes, type IndexAdvice } from './index-advice';
import { findSurprises } from './surprises';

/** What a dry run tells of a table. What could not be found out is absent. */
export interface Diagnosis {
  /** SQL for whoever owns the table: the privileges that are missing, and the indexes of foreign keys. */
  readonly remedies: readonly string[];
  /** How many rows meet each rule, in the order of the rules. A row may meet several. */
  readonly rules?: readonly { readonly rule: string; readonly rows: number }[];
  readonly rowsKept?: number;
  /** Whether that is the server's estimate: an index led to the dead rows, or policies hide the others from the role. */
  readonly rowsKeptEstimated?: boolean;
  /** Of the table and all of its partitions, with what is stored out of line. */
  readonly tableBytes?: number;
  readonly indexBytes?: number;
  readonly indexAdvice?: IndexAdvice;
  /** Times that may not mean what the rules take them for, as sentences. */
  readonly surprises?: readonly string[];
  /** How long a run takes, within a factor of three or so, if the pace stays as it was during the dry run. */
  readonly estimatedDurationMs?: number;
}

// Measured beside a service that writes: 1 M rows in 150 MB, of which 0.1 to 95 % are dead, and 300,000 rows with foreign
// keys, on two shared cores. The estimates were 1.0 to 1.4 times what the runs then took.
/** To change a block and log that, in multiples of the time to read it. */
const WRITE_FACTOR = 2;

const ROW_MS = 0.0003;

/** A foreign key that points here, with an index on its own side. A trigger may do anything, and mostly does as little. */
const TRIGGER_MS = 0.03;

/** Finds out what a run would do to tables, and what it needs. Read only. Never throws: an error is part of the outcome. */
export async function examine(
  tables: readonly Table[],
  { now, before }: Visiting,
): Promise<Map<Target, Worked & { readonly diagnosis: Diagnosis }>> {
  const worked = new Map<Target, Worked & { readonly diagnosis: Diagnosis }>();
  for (const [index, table] of tables.entries()) {
    const startedAt = now();
    await before(table, tables.slice(index + 1));
    const { missingGrants, missingIndexes } = table.inspected;
    const { diagnosis, ...outcome } = await diagnose(table).catch((error: unknown) => ({
      ...endBy(error, table.options.stopCounting),
      diagnosis: {},
    }));
    worked.set(table.target, {
      outcome: { blockedBy: [], ...outcome, rowsDeleted: 0, batches: 0, longestBatchMs: 0 },
      durationMs: now() - startedAt,
      diagnosis: { remedies: [...missingGrants, ...missingIndexes], ...diagnosis },
    });
  }
  return worked;
}

type Findings = Partial<SweepOutcome> & { readonly diagnosis: Omit<Diagnosis, 'remedies'> };

async function diagnose({ target, inspected, options }: Table): Promise<Findings> {
  const { sessions, condition, stopCounting } = options;
  const heaps = await measure(options);
  const census = await takeCensus(options);
  // Rows that policies hide from the role are in the statistics.
  const rows = inspected.rowsAreHidden
    ? heaps.reduce((total, heap) => total + (heap.estimatedRows ?? Number.NaN), 0)
    : census.rows + estimatedRows(census, heaps);
  const surprises = await findSurprises(sessions[0], {
    target,
    condition,
    columnTypes: inspected.columnTypes,
    relations: options.relations,
  });
  const diagnosis: Omit<Diagnosis, 'remedies'> = {
    tableBytes: sum(heaps, 'tableBytes'),
    indexBytes: sum(heaps, 'indexBytes'),
    ...(surprises.length > 0 && { surprises }),
    indexAdvice: await adviseOnIndexes(sessions[0], {
      target,
      inspected,
      largest: heaps[0]?.oid ?? inspected.oid,
      heapBytes: sum(heaps, 'heapBytes'),
      rows,
      dead: census.dead,
    }),
  };
  if (census.end !== 'finished' || census.obstacles.length > 0) {
    return {
      stopReason: reasonOf(census.end, stopCounting),
      blockedBy: blockagesOf(census.obstacles),
      diagnosis,
    };
  }
  return {
    stopReason: 'drained' as const,
    rowsRemaining: census.dead,
    diagnosis: {
      rules: condition.rules.map(({ readable }, rule) => ({ rule: readable, rows: census.deadByRule[rule] ?? 0 })),
      ...(Number.isFinite(rows) && { rowsKept: Math.max(0, Math.round(rows - census.dead)) }),
      ...((census.indexed.length > 0 || inspected.rowsAreHidden) && { rowsKeptEstimated: true }),
      ...diagnosis,
      ...estimatedDuration({ inspected, options }, census, heaps),
    },
  };
}

/** A table, or a leaf of one, on disk. */
interface Heap {
  readonly oid: number;
  readonly heapBytes: number;
  readonly tableBytes: number;
  readonly indexBytes: number;
  /** By the server's statistics; null when it has none. */
  readonly estimatedRows: number | null;
  /** The triggers that fire for each deleted row, such as those of foreign keys that point here. */
  readonly triggers: number;
}

/** The largest first. */
async function measure(options: TableOptions): Promise<Heap[]> {
  return (await patiently<Heap>(options, HEAPS_SQL, [options.relations.map(({ oid }) => oid)])).rows;
}

// How many rows a block holds changes less than how many blocks there are.
const HEAPS_SQL = `
  select
    oid::int8::float8 as oid,
    pg_relation_size(oid)::float8 as "heapBytes",
    pg_table_size(oid)::float8 as "tableBytes",
    pg_indexes_size(oid)::float8 as "indexBytes",
    (
      case when reltuples >= 0 and relpages > 0
      then reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int) end
    )::float8 as "estimatedRows",
    (
      select count(*) from pg_trigger where tgrelid = pg_class.oid and tgtype & 9 = 9 and tgenabled <> 'D'
    )::float8 as triggers
  from pg_class
  where oid = any($1::oid[])
  order by "heapBytes" desc, oid`;

/** The rows of the heaps in which an index was used; NaN when the server does not know them. */
function estimatedRows({ indexed }: Census, heaps: readonly Heap[]): number {
  return indexed.reduce((rows, relation) => {
    const heap = heaps.find(({ oid }) => oid === relation.oid);
    return rows + (heap?.estimatedRows ?? Number.NaN);
  }, 0);
}

function estimatedDuration(
  { inspected, options }: Pick<Table, 'inspected' | 'options'>,
  { dead, blocks, workMs }: Census,
  heaps: readonly Heap[],
): Pick<Diagnosis, 'estimatedDurationMs'> {
  if (inspected.missingIndexes.length > 0) {
    return {}; // what a row costs then depends on the other table
  }
  const triggers = Math.max(0, ...heaps.map((heap) => heap.triggers));
  const blocksToWrite = Math.min(dead, blocks);
  const writingMs = blocks > 0 ? (workMs * WRITE_FACTOR * blocksToWrite) / blocks : 0;
  const deletingMs = dead * (ROW_MS + triggers * TRIGGER_MS);
  const load = options.turns.load(options.sessions.length);
  return { estimatedDurationMs: Math.ceil((workMs + writingMs + deletingMs) / load) };
}

function sum(heaps: readonly Heap[], key: 'heapBytes' | 'tableBytes' | 'indexBytes'): number {
  return heaps.reduce((total, heap) => total + heap[key], 0);
}

/** The rows of a table, as far as they were counted. */
interface Census {
  readonly end: WalkEnd;
  /** What could not be counted, and why. */
  readonly obstacles: readonly Obstacle[];
  /** All rows, but for those of {@link indexed}. */
  readonly rows: number;
  /** Those that meet any rule. */
  readonly dead: number;
  /** Those that meet each rule, in the order of the rules. A row may meet several. */
  readonly deadByRule: readonly number[];
  /** The relations in which an index led to the dead rows, so that the others were not counted. */
  readonly indexed: readonly Relation[];
  /** How many were visited, or about as many if an index led to the rows. */
  readonly blocks: number;
  /** How long the server was at work. */
  readonly workMs: number;
}

/**
 * Counts the rows of a table by an index if a sweep would use it, otherwise in ranges and at the pace of a sweep.
 *
 * @throws an error that is neither a row's nor of those that a session repeats
 */
async function takeCensus(options: Table['options']): Promise<Census> {
  const { condition, onProgress } = options;
  const { pieces } = await wholeTable(options);
  const blocksTotal = blocksOf(pieces);
  if (blocksTotal > SMALL_TABLE_BLOCKS) {
    await options.openFurther?.();
  }
  const columns: Record<string, string> = {
    rows: 'pg_catalog.count(*)',
    dead: countOf(condition),
    ...Object.fromEntries(condition.rules.map((rule, index) => [`rule ${index}`, countOf(rule)])),
  };
  const visit = (some: readonly Piece[], blocksBefore: number) => {
    const onPiece = (blocksPending: number) => {
      const blocksVisited = blocksBefore + blocksOf(some) - blocksPending;
      onProgress?.({ rowsDeleted: 0, blocksVisited, blocksTotal });
    };
    return count({ ...options, onPiece }, some, columns);
  };
  const [found, ranges] = [pieces.filter(isFound), pieces.filter((piece) => !isFound(piece))];
  const byIndex = await visit(found, 0);
  // A range is read as a whole anyway, so the rows to keep are counted along with the dead.
  const byRange = await visit(ranges, blocksOf(found));
  const total = (name: string) => (byIndex.sums[name] ?? 0) + (byRange.sums[name] ?? 0);
  return {
    rows: byRange.sums.rows ?? 0,
    dead: total('dead'),
    deadByRule: condition.rules.map((_, index) => total(`rule ${index}`)),
    indexed: found.map(({ relation }) => relation),
    blocks: blocksTotal,
    workMs: byIndex.workMs + byRange.workMs,
    end: byIndex.end === 'finished' ? byRange.end : byIndex.end,
    obstacles: [...byIndex.obstacles, ...byRange.obstacles],
  };
}

function countOf(condition: Pick<Condition, 'text'>): string {
  return `pg_catalog.count(*) filter (where ${condition.text})`;
}

function isFound(piece: Piece): boolean {
  return piece instanceof RowList;
}
