import type { Target } from '../configuration/targets';
import { blockagesOf, endBy, reasonOf, type SweepOutcome } from '../engine/outcome';
import type { Finding } from '../engine/preflight/finding';
import type { Table, Worked } from '../engine/purge';
import { patiently } from '../engine/table-lock';
import { readSizes } from '../engine/table-sizes';
import type { TableOptions } from '../engine/whole-table';
import { type Census, takeCensus } from './census';
import { Forecast, type TableForecast } from './forecast';
import { adviseOnIndexes, type IndexAdvice } from './index-advice';
import { Surprises } from './surprises';

/** The findings of a dry run about a table. A value that could not be found is absent. */
export interface Diagnosis {
  /** Findings of the preflight, such as missing privileges and indexes, with SQL for the owner of the table. */
  readonly findings: readonly Finding[];
  /** The number of rows that meet each rule, protected ones included, in the order of the rules. A row may meet several. */
  readonly rules?: readonly RuleCount[];
  /** Whether a run may delete fewer rows than {@link TargetReport.rowsRemaining} says, for the reasons among the surprises. */
  readonly isUpperBound?: true;
  readonly rowsKept?: number;
  /** Whether it is the server's estimate, because an index led to the dead rows or policies hide the others from the role. */
  readonly rowsKeptEstimated?: boolean;
  /** Of the table and all of its partitions, with the values that are stored out of line. */
  readonly tableBytes?: number;
  readonly indexBytes?: number;
  readonly indexAdvice?: IndexAdvice;
  /** Reasons to check the rules before a run, as sentences: ambiguous times, or a table that would be emptied. */
  readonly surprises?: readonly string[];
  /** The estimated time of a run, within a factor of three, at the pace of the dry run. */
  readonly estimatedDurationMs?: number;
}

export interface RuleCount {
  readonly rule: string;
  readonly rows: number;
  /** The oldest value of the first age in the rule that it matches, as ISO text; absent for rules without ages. */
  readonly oldest?: string;
}

// Measured beside a service that writes: 1 M rows in 150 MB, of which 0.1 to 95 % are dead, and 300,000 rows with foreign
// keys, on two shared cores. The estimates were 1.0 to 1.4 times what the runs then took.
/** The cost of changing and logging a block, in multiples of the time to read it. */
const WRITE_FACTOR = 2;

const ROW_MS = 0.0003;

/** The cost of a foreign key that points here, with an index on its own side. Most triggers cost as little. */
const TRIGGER_MS = 0.03;

/** Predicts the effect of a run on tables, and its requirements. Read only. Never throws: an error is part of the outcome. */
export async function examine(
  tables: readonly Table[],
): Promise<Map<Target, Worked & { readonly diagnosis: Diagnosis }>> {
  const sizes = await readSizes(tables);
  const forecast = new Forecast(tables);
  const surprises = new Surprises();
  const works: Work[] = tables.map((table) => ({ table, durationMs: 0 }));
  const timed = async (work: Work, step: () => Promise<void>, failing: readonly Work[] = [work]) => {
    const { clock } = work.table.options;
    const startedAt = clock.now();
    await step().catch((error: unknown) => {
      for (const each of failing) {
        each.failure ??= { error };
      }
    });
    work.durationMs += clock.now() - startedAt;
  };
  for (const work of works) {
    const { table } = work;
    await timed(work, async () => {
      table.options.turns.start(sizes.takeShare(table), table.options.keys.length > 0);
      work.counts = { heaps: await measure(table.options), census: await takeCensus(table, forecast) };
    });
  }
  const [first] = works;
  if (first) {
    await timed(first, () => forecast.follow(first.table.options.stopCounting), works);
  }
  for (const work of works) {
    const { table, counts } = work;
    await timed(work, async () => {
      work.findings = counts && (await diagnose(table, counts, forecast, surprises));
    });
  }
  return new Map(
    works.map(({ table, durationMs, failure, findings }) => {
      const { diagnosis, ...outcome }: Findings = failure
        ? { ...endBy(failure.error, table.options.stopCounting), diagnosis: {} }
        : (findings as Findings);
      return [
        table.target,
        {
          outcome: { blockedBy: [], ...outcome, rowsDeleted: 0, batches: 0, longestBatchMs: 0 },
          durationMs,
          diagnosis: { findings: table.inspected.warnings, ...diagnosis },
        },
      ];
    }),
  );
}

/** The work on one table. It has either findings or a failure in the end. */
interface Work {
  readonly table: Table;
  durationMs: number;
  /** The first error. */
  failure?: { readonly error: unknown };
  counts?: Counts;
  findings?: Findings | undefined;
}

type Findings = Partial<SweepOutcome> & { readonly diagnosis: Omit<Diagnosis, 'findings'> };

/** The results for a table, before foreign keys are followed. */
interface Counts {
  readonly heaps: readonly Heap[];
  readonly census: Census;
}

async function diagnose(
  table: Table,
  { heaps, census }: Counts,
  forecast: Forecast,
  surprises: Surprises,
): Promise<Findings> {
  const { target, inspected, options } = table;
  const { sessions, condition, stopCounting, maxRows } = options;
  // Rows that policies hide from the role are in the statistics.
  const isEstimated = inspected.rowsAreHidden ? () => true : ({ oid }: Heap) => census.indexed.includes(oid);
  const estimates = heaps.filter(isEstimated).map(({ estimatedRows }) => estimatedRows ?? Number.NaN);
  const rows = sum(estimates) + (inspected.rowsAreHidden ? 0 : census.rows);
  const { protectedRows, blockedBy, ...consequences } = forecast.of(table).consequences;
  const doomed = census.dead - protectedRows;
  const cascaded = consequences.cascaded.filter(({ rows }) => rows !== undefined || doomed > 0);
  const isCounted = census.end === 'finished' && census.obstacles.length === 0 && !forecast.isCutShort;
  const limits = isCounted && doomed > 0 ? limitsOf(doomed, maxRows, forecast.of(table), census) : [];
  const surprising = [
    ...(await surprises.of(table, isCounted ? census.ages : [])),
    ...[...(isCounted ? doubts(doomed, rows) : []), ...limits].map((doubt) => `${target.name}: ${doubt}`),
  ];
  const diagnosis: Omit<Diagnosis, 'findings'> = {
    tableBytes: sum(heaps.map(({ tableBytes }) => tableBytes)),
    indexBytes: sum(heaps.map(({ indexBytes }) => indexBytes)),
    ...(surprising.length > 0 && { surprises: surprising }),
    indexAdvice: await adviseOnIndexes(sessions[0], {
      target,
      inspected,
      largest: heaps[0]?.oid ?? inspected.oid,
      heapBytes: sum(heaps.map(({ heapBytes }) => heapBytes)),
      rows,
      dead: census.dead,
    }),
  };
  if (!isCounted) {
    return {
      stopReason: reasonOf(forecast.isCutShort ? 'stopped' : census.end, stopCounting),
      blockedBy: blockagesOf(census.obstacles),
      diagnosis,
    };
  }
  return {
    stopReason: 'drained' as const,
    rowsRemaining: doomed,
    blockedBy,
    ...(cascaded.length > 0 && { cascaded }),
    diagnosis: {
      rules: condition.rules.map(({ readable }, rule) => {
        const oldest = census.ages.find((age) => age.rule === rule)?.oldest;
        return { rule: readable, rows: census.deadByRule[rule] ?? 0, ...(oldest !== undefined && { oldest }) };
      }),
      ...(limits.length > 0 && { isUpperBound: true as const }),
      ...(Number.isFinite(rows) && { rowsKept: Math.max(0, Math.round(rows - doomed)) }),
      ...((census.indexed.length > 0 || inspected.rowsAreHidden) && { rowsKeptEstimated: true }),
      ...diagnosis,
      // If a foreign key has no index, the cost of a row depends on the other table.
      ...(!inspected.missesIndex && { estimatedDurationMs: estimatedDurationMs(census, doomed, heaps) }),
    },
  };
}

/** If a run would delete a greater share of a table, a rule may not mean what its author thinks. */
const SUSPICIOUS_SHARE = 0.95;

/** Reasons to check the rules before a run, as sentences. */
function doubts(doomed: number, rows: number): string[] {
  const percent = Math.floor((1_000 * doomed) / rows) / 10;
  return doomed > SUSPICIOUS_SHARE * rows
    ? [`WARNING: ${percent} % of the table would be deleted; make sure that the rules match only dead rows`]
    : [];
}

/** Reasons why a run may delete fewer rows than were counted, as sentences. */
function limitsOf(
  doomed: number,
  maxRows: number | undefined,
  { isIncomplete, isInCircle }: TableForecast,
  { mayRefuse }: Census,
): string[] {
  return [
    ...(maxRows !== undefined && doomed > maxRows
      ? [`one run deletes about ${maxRows} of these rows, the limit of CLEANUP_MAX_ROWS`]
      : []),
    ...(isIncomplete ? ['foreign keys of tables that the role may not read may keep some of these rows'] : []),
    ...(mayRefuse ? ['a trigger on delete may keep some of these rows'] : []),
    ...(isInCircle ? ['rows of several tables that refer to each other in a circle stay'] : []),
  ];
}

/** A table, or a leaf of one, on disk. */
interface Heap {
  readonly oid: number;
  readonly heapBytes: number;
  readonly tableBytes: number;
  readonly indexBytes: number;
  /** By the server's statistics; null if it has none. */
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

function estimatedDurationMs({ blocks, workMs, load }: Census, doomed: number, heaps: readonly Heap[]): number {
  const triggers = Math.max(0, ...heaps.map((heap) => heap.triggers));
  const writingMs = blocks > 0 ? (workMs * WRITE_FACTOR * Math.min(doomed, blocks)) / blocks : 0;
  const deletingMs = doomed * (ROW_MS + triggers * TRIGGER_MS);
  return Math.ceil((workMs + writingMs + deletingMs) / load);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
