import { isAge, type Rule, type Target } from '../configuration/targets';
import { describeError } from '../database/database-error';
import { purge, type Table, type Worked } from '../engine/purge';
import { lastingHolders } from './holders';
import { type Erasure, erasureOf, isClean } from './ladder';
import { type DeadPartition, dropDeadPartitions, type TriedPartition } from './partitions';
import { readTraces, type Traces } from './traces';
import { adviseOnAutovacuum, vacuum } from './vacuum';

/** The outcome of the work on a table, and how far its deleted rows are gone. */
export interface Erased extends Worked {
  /** Undefined if the state of the server could not be read. */
  readonly erasure: Erasure | undefined;
  /** Absent if none was dropped. */
  readonly partitionsDropped?: readonly DroppedPartition[];
}

export interface DroppedPartition {
  readonly partition: string;
  /** By the server's statistics; absent if it has none. */
  readonly estimatedRows?: number;
}

export interface ErasingContext {
  readonly cutoff: Date;
  /** Milliseconds until every vacuum must have ended. */
  readonly timeLeftMs: () => number;
  readonly warn: Warn;
}

type Warn = (warning: string) => void;

/**
 * Purges tables. Before that it drops the partitions that are dead as a whole, and afterwards it vacuums, both only for
 * targets that ask for it. At the end it determines how far the deleted rows are gone.
 */
export async function erasingPurge(tables: readonly Table[], context: ErasingContext): Promise<Map<Target, Erased>> {
  const traces = await tracesOf(tables, context.warn);
  const dropped = new Map<Target, readonly DeadPartition[]>();
  const left: Table[] = [];
  for (const table of tables) {
    const partitions = await dropPartitionsOf(table, context);
    dropped.set(table.target, partitions);
    left.push(without(table, partitions));
  }
  const worked = await purge(left);
  const deletedFrom = new Set(left.filter(({ target }) => (worked.get(target)?.outcome.rowsDeleted ?? 0) > 0));
  const erasures = await erase(left, traces, { ...context, deletedFrom });
  return new Map(
    [...worked].map(([target, work]) => {
      const partitionsDropped = (dropped.get(target) ?? []).map(({ partition, estimatedRows }) => ({
        partition,
        ...(estimatedRows !== null && { estimatedRows }),
      }));
      const erasure = erasures.get(target);
      return [target, { ...work, erasure, ...(partitionsDropped.length > 0 && { partitionsDropped }) }];
    }),
  );
}

/** Never throws: partitions may be dropped already when an error comes, and have to be reported. */
async function dropPartitionsOf(
  { target, options }: Table,
  { cutoff, warn }: ErasingContext,
): Promise<readonly DeadPartition[]> {
  if (!target.dropPartitions) {
    return [];
  }
  if (options.maxRows !== undefined) {
    warn(`${target.name}: no partition is dropped, because the rows per run are limited`);
    return [];
  }
  const { sessions, root, stopDeleting } = options;
  // What one rule does not drop, another one may.
  const tried = new Map<number, TriedPartition>();
  for (const { column, olderThanMs } of target.deleteWhen.flatMap(agesAlone)) {
    const deadBefore = new Date(cutoff.getTime() - olderThanMs);
    const partitioned = { oid: root.oid, schema: target.schema, column, deadBefore };
    try {
      for (const partition of await dropDeadPartitions(sessions[0], partitioned, stopDeleting)) {
        tried.set(partition.oid, partition);
      }
    } catch (error) {
      warn(`${target.name}: dead partitions are swept instead of dropped: ${describeError(error)}`);
    }
  }
  for (const { partition, refusal } of tried.values()) {
    if (refusal !== undefined) {
      warn(`${target.name}: partition ${partition} is swept instead of dropped: ${refusal}`);
    }
  }
  return [...tried.values()].filter(({ refusal }) => refusal === undefined);
}

/** The column and the age of a rule that is the age of one column and nothing else. */
function agesAlone(rule: Rule): { readonly column: string; readonly olderThanMs: number }[] {
  const [[column, test] = [], ...others] = Object.entries(rule);
  const isAlone = column !== undefined && test !== undefined && isAge(test) && others.length === 0;
  return isAlone && !test.epoch && !test.plusSeconds && !test.orNull ? [{ column, olderThanMs: test.olderThanMs }] : [];
}

/** The table without its dropped partitions. */
function without(table: Table, partitions: readonly DeadPartition[]): Table {
  const gone = new Set(partitions.map(({ oid }) => oid));
  const relations = table.options.relations.filter(({ oid }) => !gone.has(oid));
  return gone.size === 0 ? table : { ...table, options: { ...table.options, relations } };
}

/** The state that a dry run finds, and settings under which the server unlinks deleted rows sooner. */
export async function examinedErasures(tables: readonly Table[], warn: Warn): Promise<Map<Target, Erasure>> {
  const erasures = await erase(tables, await tracesOf(tables, warn), { warn });
  for (const { target, options } of tables) {
    const erasure = erasures.get(target);
    if (erasure && !target.vacuum) {
      const read = () => adviseOnAutovacuum(options.sessions[0], options.relations);
      const autovacuumAdvice = (await orWarn(warn, read)) ?? [];
      erasures.set(target, { ...erasure, ...(autovacuumAdvice.length > 0 && { autovacuumAdvice }) });
    }
  }
  return erasures;
}

async function tracesOf(tables: readonly Table[], warn: Warn): Promise<Traces | undefined> {
  const [first] = tables;
  const oids = tables.flatMap(({ options }) => options.relations.map(({ oid }) => oid));
  return first && (await orWarn(warn, () => readTraces(first.options.sessions[0], first.options.clock, oids)));
}

interface Erasing extends Pick<ErasingContext, 'warn'>, Partial<Pick<ErasingContext, 'timeLeftMs'>> {
  /** The tables that have lost rows. */
  readonly deletedFrom?: ReadonlySet<Table>;
}

/** Vacuums the tables that ask for it, unless nothing is left in them, and finds the step that their deleted rows reached. */
async function erase(
  tables: readonly Table[],
  traces: Traces | undefined,
  { deletedFrom = new Set(), timeLeftMs, warn }: Erasing,
): Promise<Map<Target, Erasure>> {
  const erasures = new Map<Target, Erasure>();
  const [first] = tables;
  if (!first) {
    return erasures;
  }
  const { sessions, clock, stopCounting } = first.options;
  const tracesIn = ({ options }: Table) =>
    traces && options.relations.flatMap(({ oid }) => traces.ofRelations.get(oid) ?? []);
  const holds = (table: Table) => deletedFrom.has(table) || !isClean(tracesIn(table));
  const horizon = deletedFrom.size > 0 ? undefined : traces?.horizon;
  const heldBackBy =
    tables.some(holds) && (horizon === undefined || traces?.mayBeHeldBack)
      ? await orWarn(warn, () => lastingHolders(sessions[0], clock, stopCounting, horizon))
      : [];
  for (const table of tables) {
    const { target, options } = table;
    const isDue = timeLeftMs && target.vacuum && holds(table);
    const refusal = isDue && (await vacuum(sessions[0], options.relations, clock, timeLeftMs));
    if (refusal) {
      warn(`${target.name}: not vacuumed: ${refusal}`);
    }
    if (heldBackBy) {
      const erased = {
        traces: tracesIn(table),
        hoursSinceRead: (clock.now() - (traces?.readAtMs ?? Number.NaN)) / 3_600_000,
        rowsWereDeleted: deletedFrom.has(table),
        vacuumed: isDue === true && refusal === undefined,
        heldBackBy,
      };
      erasures.set(target, erasureOf(erased));
    }
  }
  return erasures;
}

async function orWarn<Read>(warn: Warn, read: () => Promise<Read>): Promise<Read | undefined> {
  try {
    return await read();
  } catch (error) {
    warn(`how far the deleted rows are gone could not be read: ${describeError(error)}`);
    return undefined;
  }
}
