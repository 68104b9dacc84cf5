import type { Clock } from '../clock';
import { isAge, type Rule, type Target } from '../configuration/targets';
import { describeError } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { purge, type Table, type Visiting, type Worked } from '../engine/purge';
import { lastingHolders } from './holders';
import { type Erasure, erasureOf, isClean } from './ladder';
import { type DroppedPartition, dropDeadPartitions } from './partitions';
import { readTraces, type Traces } from './traces';
import { adviseOnAutovacuum, vacuum } from './vacuum';

/** The outcome of the work on a table, and how far its deleted rows are gone. */
export interface Erased extends Worked {
  /** Absent if the state of the server could not be read. */
  readonly erasure?: Erasure;
  /** Absent if none was dropped. */
  readonly partitionsDropped?: readonly Omit<DroppedPartition, 'oid'>[];
}

/** The requirements to read how far rows are gone. */
export interface ErasureReading {
  readonly session: Queryable;
  readonly clock: Clock;
  /** Ends the search for holders. */
  readonly stopCounting: AbortSignal;
  readonly warn: (warning: string) => void;
}

export interface ErasingContext extends ErasureReading {
  readonly cutoff: Date;
  /** Ends the dropping of partitions. */
  readonly stopDeleting: AbortSignal;
  /** Milliseconds until every vacuum must have ended. */
  readonly timeLeftMs: () => number;
}

/**
 * Purges tables. Before that it drops the partitions that are dead as a whole, and afterwards it vacuums, both only for
 * targets that ask for it. At the end it determines how far the deleted rows are gone.
 */
export async function erasingPurge(
  tables: readonly Table[],
  visiting: Visiting,
  context: ErasingContext,
): Promise<Map<Target, Erased>> {
  const traces = await tracesOf(tables, context);
  const dropped = new Map<Target, readonly DroppedPartition[]>();
  for (const table of tables) {
    if (table.target.dropPartitions && table.options.maxRows === undefined) {
      dropped.set(table.target, await dropPartitionsOf(table, context));
    } else if (table.target.dropPartitions) {
      context.warn(`${table.target.name}: no partition is dropped, because the rows per run are limited`);
    }
  }
  const left = tables.map((table) => without(table, dropped.get(table.target)));
  const worked = await purge(left, visiting);
  const rowsWereDeleted = ({ target }: Table) => (worked.get(target)?.outcome.rowsDeleted ?? 0) > 0;
  const erasures = await erase(left, { traces, rowsWereDeleted, ...context });
  return new Map(
    [...worked].map(([target, work]) => {
      const partitionsDropped = dropped.get(target) ?? [];
      const erasure = erasures.get(target);
      return [
        target,
        {
          ...work,
          ...(erasure && { erasure }),
          ...(partitionsDropped.length > 0 && {
            partitionsDropped: partitionsDropped.map(({ oid: _, ...partition }) => partition),
          }),
        },
      ];
    }),
  );
}

/** Never throws: partitions may be dropped already when an error comes, and have to be reported. */
async function dropPartitionsOf(
  { target, options }: Table,
  context: ErasingContext,
): Promise<readonly DroppedPartition[]> {
  const { session, cutoff, stopDeleting, warn } = context;
  const all: DroppedPartition[] = [];
  const reasons = new Map<string, string>();
  for (const { column, olderThanMs } of target.deleteWhen.flatMap(agesAlone)) {
    const { oid } = options.root;
    const deadBefore = new Date(cutoff.getTime() - olderThanMs);
    const partitioned = { oid, schema: target.schema, column, deadBefore };
    try {
      const { dropped, kept } = await dropDeadPartitions(session, partitioned, stopDeleting);
      all.push(...dropped);
      for (const { partition, reason } of kept) {
        reasons.set(partition, reason);
      }
    } catch (error) {
      warn(`${target.name}: dead partitions are swept instead of dropped: ${describeError(error)}`);
    }
  }
  for (const { partition } of all) {
    reasons.delete(partition); // by another rule
  }
  for (const [partition, reason] of reasons) {
    warn(`${target.name}: partition ${partition} is swept instead of dropped: ${reason}`);
  }
  return all;
}

/** The column and the age of a rule that is the age of one column and nothing else. */
function agesAlone(rule: Rule): { readonly column: string; readonly olderThanMs: number }[] {
  const [[column, test] = [], ...others] = Object.entries(rule);
  const isAlone = column !== undefined && test !== undefined && isAge(test) && others.length === 0;
  return isAlone && !test.epoch && !test.plusSeconds && !test.orNull ? [{ column, olderThanMs: test.olderThanMs }] : [];
}

/** The table without its dropped partitions. */
function without(table: Table, partitions: readonly DroppedPartition[] = []): Table {
  const gone = new Set(partitions.map(({ oid }) => oid));
  const relations = table.options.relations.filter(({ oid }) => !gone.has(oid));
  return gone.size === 0 ? table : { ...table, options: { ...table.options, relations } };
}

/** The state that a dry run finds, and settings under which the server unlinks deleted rows sooner. */
export async function examinedErasures(
  tables: readonly Table[],
  context: ErasureReading,
): Promise<Map<Target, Erasure>> {
  const traces = await tracesOf(tables, context);
  const erasures = await erase(tables, { traces, rowsWereDeleted: () => false, ...context });
  for (const { target, options } of tables) {
    const erasure = erasures.get(target);
    if (erasure && !target.vacuum) {
      const read = () => adviseOnAutovacuum(context.session, options.relations);
      const autovacuumAdvice = (await orWarn(context, read)) ?? [];
      erasures.set(target, { ...erasure, ...(autovacuumAdvice.length > 0 && { autovacuumAdvice }) });
    }
  }
  return erasures;
}

interface TracesAt extends Traces {
  /** On the clock of the run. */
  readonly readAtMs: number;
}

async function tracesOf(tables: readonly Table[], context: ErasureReading): Promise<TracesAt | undefined> {
  const { session, clock } = context;
  const readAtMs = clock.now();
  const oids = tables.flatMap(({ options }) => options.relations.map(({ oid }) => oid));
  return tables.length > 0
    ? await orWarn(context, async () => ({ ...(await readTraces(session, oids)), readAtMs }))
    : undefined;
}

interface ErasingWork extends ErasureReading, Partial<Pick<ErasingContext, 'timeLeftMs'>> {
  readonly traces: TracesAt | undefined;
  readonly rowsWereDeleted: (table: Table) => boolean;
}

/** Vacuums the tables that ask for it, unless nothing is left in them, and finds the step that their deleted rows reached. */
async function erase(tables: readonly Table[], work: ErasingWork): Promise<Map<Target, Erasure>> {
  const { session, clock, stopCounting, traces, rowsWereDeleted, timeLeftMs, warn } = work;
  const tracesIn = ({ options }: Table) =>
    traces && options.relations.flatMap(({ oid }) => traces.ofRelations.get(oid) ?? []);
  const holds = (table: Table) => rowsWereDeleted(table) || !isClean(tracesIn(table));
  const horizon = tables.some(rowsWereDeleted) ? undefined : traces?.horizon;
  const heldBackBy =
    tables.some(holds) && (horizon === undefined || traces?.mayBeHeldBack)
      ? await orWarn(work, () => lastingHolders(session, clock, stopCounting, horizon))
      : [];
  const erasures = new Map<Target, Erasure>();
  for (const table of tables) {
    const { target, options } = table;
    const isDue = timeLeftMs && target.vacuum && holds(table);
    const outcome = isDue ? await vacuum(session, options.relations, clock, timeLeftMs) : undefined;
    if (outcome && !outcome.vacuumed) {
      warn(`${target.name}: not vacuumed: ${outcome.reason}`);
    }
    if (heldBackBy) {
      const hoursSinceRead = (clock.now() - (traces?.readAtMs ?? Number.NaN)) / 3_600_000;
      const erased = { traces: tracesIn(table), hoursSinceRead, rowsWereDeleted: rowsWereDeleted(table), heldBackBy };
      erasures.set(target, erasureOf({ ...erased, vacuumed: outcome?.vacuumed ?? false }));
    }
  }
  return erasures;
}

async function orWarn<Read>({ warn }: ErasureReading, read: () => Promise<Read>): Promise<Read | undefined> {
  try {
    return await read();
  } catch (error) {
    warn(`how far the deleted rows are gone could not be read: ${describeError(error)}`);
    return undefined;
  }
}
