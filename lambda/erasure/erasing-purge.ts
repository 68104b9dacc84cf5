import type { Clock } from '../clock';
import { isAge, type Rule, type Target } from '../configuration/targets';
import { describeError } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { purge, type Table, type Visiting, type Worked } from '../engine/purge';
import { type Erasure, erasureOf } from './ladder';
import { type DroppedPartition, type DroppedPartitions, dropDeadPartitions } from './partitions';
import { adviseOnAutovacuum, vacuum } from './vacuum';

/** What came of the work on a table, and how far its deleted rows are gone. */
export interface Erased extends Worked {
  /** Absent if no row was deleted, or the state of the server could not be read. */
  readonly erasure?: Erasure;
  /** Absent if none was dropped. */
  readonly partitionsDropped?: readonly Omit<DroppedPartition, 'oid'>[];
}

/** Whatever it takes to read how far rows are gone. */
export interface ErasureReading {
  readonly session: Queryable;
  readonly clock: Clock;
  /** The server's time before the first delete; absent in a dry run. */
  readonly cutoff?: Date;
  /** Ends the looking. */
  readonly stopCounting: AbortSignal;
  readonly warn: (warning: string) => void;
}

export interface ErasingContext extends ErasureReading {
  readonly cutoff: Date;
  /** Ends the dropping of partitions. */
  readonly stopDeleting: AbortSignal;
  /** Milliseconds until no further vacuum may be at work. */
  readonly timeLeftMs: () => number;
}

/**
 * Purges tables. Before that it drops the partitions that are dead as a whole, and afterwards it vacuums, each only for
 * targets that demand it; then it finds out how far the deleted rows are gone.
 */
export async function erasingPurge(
  tables: readonly Table[],
  visiting: Visiting,
  context: ErasingContext,
): Promise<Map<Target, Erased>> {
  const dropped = new Map<Target, DroppedPartitions>();
  for (const table of tables) {
    if (table.target.dropPartitions && table.options.maxRows === undefined) {
      dropped.set(table.target, await dropPartitionsOf(table, context));
    } else if (table.target.dropPartitions) {
      context.warn(`${table.target.name}: no partition is dropped, because a run is limited to a number of rows`);
    }
  }
  const worked = await purge(
    tables.map((table) => without(table, dropped.get(table.target))),
    visiting,
  );
  const changed = tables.filter(({ target }) => (worked.get(target)?.outcome.rowsDeleted ?? 0) > 0);
  const vacuumed = new Set<Target>();
  for (const { target, options } of changed) {
    if (target.vacuum) {
      const outcome = await vacuum(context.session, options.relations, context.clock, context.timeLeftMs);
      if (outcome.vacuumed) {
        vacuumed.add(target);
      } else {
        context.warn(`${target.name}: not vacuumed: ${outcome.reason}`);
      }
    }
  }
  const erasures = changed.length > 0 ? await erasuresOf(changed, vacuumed, context) : new Map();
  return new Map(
    [...worked].map(([target, work]) => {
      const { dropped: partitionsDropped = [] } = dropped.get(target) ?? {};
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

async function dropPartitionsOf({ target, options }: Table, context: ErasingContext): Promise<DroppedPartitions> {
  const { session, cutoff, stopDeleting, warn } = context;
  const all: { dropped: DroppedPartition[]; kept: DroppedPartitions['kept'] } = { dropped: [], kept: [] };
  for (const { column, olderThanMs } of target.deleteWhen.flatMap(agesAlone)) {
    const { oid } = options.root;
    const deadBefore = new Date(cutoff.getTime() - olderThanMs);
    const { dropped, kept } = await dropDeadPartitions(
      session,
      { oid, schema: target.schema, column, deadBefore },
      stopDeleting,
    );
    all.dropped.push(...dropped);
    all.kept = kept;
  }
  for (const { partition, reason } of all.kept) {
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

/** The table without the partitions that are gone. */
function without(table: Table, partitions: DroppedPartitions | undefined): Table {
  const gone = new Set(partitions?.dropped.map(({ oid }) => oid));
  const relations = table.options.relations.filter(({ oid }) => !gone.has(oid));
  return gone.size === 0 ? table : { ...table, options: { ...table.options, relations } };
}

/** The state that a dry run finds, and settings under which the server unlinks deleted rows sooner. */
export async function examinedErasures(
  tables: readonly Table[],
  context: ErasureReading,
): Promise<Map<Target, Erasure>> {
  const found = tables.length > 0 ? await erasuresOf(tables, new Set(), context) : new Map<Target, Erasure>();
  for (const { target, options } of tables) {
    const erasure = found.get(target);
    if (erasure && !target.vacuum) {
      const autovacuumAdvice = await adviseOnAutovacuum(context.session, options.relations);
      found.set(target, { ...erasure, ...(autovacuumAdvice.length > 0 && { autovacuumAdvice }) });
    }
  }
  return found;
}

async function erasuresOf(
  tables: readonly Table[],
  vacuumed: ReadonlySet<Target>,
  { session, clock, stopCounting, warn, cutoff }: ErasureReading,
): Promise<Map<Target, Erasure>> {
  const erased = tables.map(({ target, options }) => ({
    relations: options.relations.map(({ oid }) => oid),
    vacuumed: vacuumed.has(target),
  }));
  try {
    const erasures = await erasureOf(session, erased, clock, stopCounting, cutoff);
    return new Map(tables.flatMap(({ target }, index) => (erasures[index] ? [[target, erasures[index]]] : [])));
  } catch (error) {
    warn(`how far the deleted rows are gone could not be read: ${describeError(error)}`);
    return new Map();
  }
}
