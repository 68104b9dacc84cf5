import type { Target } from '../configuration/targets';
import type { Condition, DeadRows, RuleCondition } from '../engine/condition';
import { blockagesOf, endBy, type Obstacle, reasonOf, type SweepOutcome, type WalkEnd } from '../engine/outcome';
import { blocksOf, type Piece, type PieceOptions, type Relation, wholeTable } from '../engine/pieces';
import type { Inspected } from '../engine/preflight';
import type { SweepOptions } from '../engine/sweep';
import { patiently } from '../engine/table-lock';
import { Walk } from '../engine/walk';
import { adviseOnIndexes, type IndexAdvice } from './index-advice';

/** What a dry run tells of a table. What could not be found out is absent. */
export interface Diagnosis {
  /** SQL for whoever owns the table: the privileges that are missing, and the indexes of foreign keys. */
  readonly remedies: readonly string[];
  /** How many rows meet each rule, in the order of the rules. A row may meet several. */
  readonly rules?: readonly { readonly rule: string; readonly rows: number }[];
  readonly rowsKept?: number;
  /** Whether an index led to the dead rows, so that nobody counted the others: then that is the server's estimate. */
  readonly rowsKeptEstimated?: boolean;
  /** Of the table and all of its partitions, with what is stored out of line. */
  readonly tableBytes?: number;
  readonly indexBytes?: number;
  readonly indexAdvice?: IndexAdvice;
  /** How long a run takes at the configured pace, within a factor of three or so. */
  readonly estimatedDurationMs?: number;
}

export interface DiagnosisOptions extends SweepOptions {
  readonly condition: DeadRows;
  readonly target: Target;
  readonly inspected: Inspected;
}

// Measured beside a service that writes, so that a run counts afterwards: 1 M rows in 150 MB, of which 0.1 to 95 % are dead,
// and 300,000 rows with foreign keys, on two shared cores. The estimates were 1.0 to 1.4 times what the runs then took.
/** To change a block and log that, in multiples of the time to read it. */
const WRITE_FACTOR = 2;

const ROW_MS = 0.0003;

/** A foreign key that points here, with an index on its own side. A trigger may do anything, and mostly does as little. */
const TRIGGER_MS = 0.03;

/** Tells what a sweep would do to a table, and what it needs. Read only. Never throws: an error is returned. */
export async function diagnose(options: DiagnosisOptions): Promise<SweepOutcome & { readonly diagnosis: Diagnosis }> {
  const { missingGrants, missingIndexes } = options.inspected;
  const remedies = [...missingGrants, ...missingIndexes];
  const untouched = { rowsDeleted: 0, batches: 0, longestBatchMs: 0, blockedBy: [] };
  try {
    const { diagnosis, ...outcome } = await examine(options);
    return { ...untouched, ...outcome, diagnosis: { remedies, ...diagnosis } };
  } catch (error) {
    return { ...untouched, ...endBy(error, options.stopCounting), diagnosis: { remedies } };
  }
}

async function examine(options: DiagnosisOptions) {
  const { sessions, condition, target, inspected, stopCounting } = options;
  const heaps = await measure(options);
  const census = await takeCensus(options, condition.rules);
  const rows = census.rows + estimatedRows(census, heaps);
  const diagnosis: Omit<Diagnosis, 'remedies'> = {
    tableBytes: sum(heaps, 'tableBytes'),
    indexBytes: sum(heaps, 'indexBytes'),
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
      ...(census.indexed.length > 0 && { rowsKeptEstimated: true }),
      ...diagnosis,
      ...estimatedDuration(options, census, heaps),
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
async function measure(options: PieceOptions): Promise<Heap[]> {
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
  return indexed.reduce((rows, { relation }) => {
    const heap = heaps.find(({ oid }) => oid === relation.oid);
    return rows + (heap?.estimatedRows ?? Number.NaN);
  }, 0);
}

function estimatedDuration(
  { sessions, maxLoad, inspected }: DiagnosisOptions,
  { dead, blocks, workMs }: Census,
  heaps: readonly Heap[],
): Pick<Diagnosis, 'estimatedDurationMs'> {
  if (inspected.missingIndexes.length > 0) {
    return {}; // what a row costs then depends on the other table
  }
  const triggers = Math.max(0, ...heaps.map((heap) => heap.triggers));
  const blocksToWrite = Math.min(dead, blocks);
  const readingMs = workMs + workMs; // by the sweep, and by the count that verifies it
  const writingMs = blocks > 0 ? (workMs * WRITE_FACTOR * blocksToWrite) / blocks : 0;
  const deletingMs = dead * (ROW_MS + triggers * TRIGGER_MS);
  return { estimatedDurationMs: Math.ceil((readingMs + writingMs + deletingMs) / maxLoad / sessions.length) };
}

function sum(heaps: readonly Heap[], key: 'heapBytes' | 'tableBytes' | 'indexBytes'): number {
  return heaps.reduce((total, heap) => total + heap[key], 0);
}

/** The rows of a table, as far as they were counted. */
export interface Census {
  readonly end: WalkEnd;
  /** What could not be counted, and why. */
  readonly obstacles: readonly Obstacle[];
  /** All rows, but for those of {@link indexed}. */
  readonly rows: number;
  /** Those that meet any rule. */
  readonly dead: number;
  /** Those that meet each rule, in the order of the rules. A row may meet several. */
  readonly deadByRule: readonly number[];
  /** Where an index led to the dead rows, so that nobody saw the others. */
  readonly indexed: readonly Piece[];
  /** How many were visited, or about as many where an index led to the rows. */
  readonly blocks: number;
  /** How long the server was at work. */
  readonly workMs: number;
}

/**
 * Counts the rows of a table by an index where a sweep would use it, otherwise in ranges and at the pace of a sweep.
 *
 * @throws an error that is neither a row's nor of those that a session repeats
 */
export async function takeCensus(options: SweepOptions, rules: readonly RuleCondition[]): Promise<Census> {
  const { condition, stopCounting, onProgress } = options;
  const statement = (relation: Relation, where: string) => `
    select
      count(*)::float8 as rows,
      count(*) filter (where ${condition.text})::float8 as dead,
      array[${rules.map(({ text }) => `count(*) filter (where ${text})`)}]::float8[] as "deadByRule"
    from only ${relation.quotedName}
    where ${where}`;
  const seen = { rows: 0, dead: 0, deadByRule: rules.map(() => 0), workMs: 0 };
  const visit = async (pieces: readonly Piece[], where: Condition) => {
    const blocksTotal = blocksOf(pieces);
    const walk = new Walk<Pick<Census, 'rows' | 'dead' | 'deadByRule'>>(
      {
        ...options,
        statement,
        condition: where,
        until: stopCounting,
        onStatement: (durationMs, done) => {
          seen.workMs += durationMs;
          for (const counted of done?.result.rows ?? []) {
            seen.rows += counted.rows;
            seen.dead += counted.dead;
            seen.deadByRule = seen.deadByRule.map((sum, rule) => sum + (counted.deadByRule[rule] ?? 0));
          }
          if (done) {
            onProgress?.({ rowsDeleted: 0, blocksVisited: blocksTotal - done.blocksPending, blocksTotal });
          }
        },
      },
      pieces,
    );
    return { end: await walk.run(), obstacles: walk.obstacles };
  };
  const pieces = await wholeTable(options);
  const indexed = pieces.filter(({ tids }) => tids);
  const byIndex = await visit(indexed, condition);
  seen.rows = 0; // only the dead ones, so far
  // A range is read whole anyway, so the rows to keep are counted along with the dead.
  const byRange = await visit(
    pieces.filter(({ tids }) => !tids),
    { ...condition, text: 'true' },
  );
  return {
    ...seen,
    indexed,
    blocks: blocksOf(pieces),
    end: byIndex.end === 'finished' ? byRange.end : byIndex.end,
    obstacles: [...byIndex.obstacles, ...byRange.obstacles],
  };
}
