import type { Target } from '../configuration/targets';
import { ByTable } from './conditions/by-table';
import type { DeadRows } from './conditions/condition';
import type { ReferringKey } from './conditions/referring-key';
import type { SweepOutcome } from './outcome';
import type { Inspected } from './preflight/preflight';
import { Sweep, type SweepOptions } from './sweep';
import { TableSizes } from './table-sizes';

/** A table that passed the preflight. */
export interface Table {
  readonly target: Target;
  readonly inspected: Inspected;
  readonly options: SweepOptions & { readonly condition: DeadRows };
}

export interface Worked {
  readonly outcome: SweepOutcome;
  readonly durationMs: number;
}

/**
 * Sweeps tables. A table that refers to another one comes before it, in any order of the targets. If rows remain because
 * rows of another table refer to them, the table is visited again once that one has lost some. Of tables without a block
 * only the sizes are read, all at once.
 */
export async function purge(tables: readonly Table[]): Promise<Map<Target, Worked>> {
  const sizes = await TableSizes.read(tables);
  const filled = tables.filter((table) => !sizes.isEmpty(table));
  const referring = referringTables(filled);
  const works = referringFirst(filled, referring).map((table) => new Work(table));
  let visits = 0;
  const visit = async (work: Work, run: (sweep: Sweep) => Promise<void>) => {
    const { clock, turns, keys } = work.table.options;
    const startedAt = clock.now();
    turns.start(sizes.takeShare(work.table), keys.length > 0);
    const { rowsDeleted } = work.sweep;
    await run(work.sweep);
    work.durationMs += clock.now() - startedAt;
    visits += 1;
    work.visited = visits;
    if (work.sweep.rowsDeleted > rowsDeleted) {
      work.deleted = visits;
    }
  };
  for (const work of works) {
    await visit(work, (sweep) => sweep.run());
  }
  const workOf = new Map(works.map((work) => [work.table, work]));
  const others = (work: Work) => referring(work.table).flatMap((table) => workOf.get(table) ?? []);
  for (let again = nextAgain(works, others); again; again = nextAgain(works, others)) {
    const { work, oids } = again;
    await visit(work, (sweep) => sweep.runAgain(oids));
  }
  return new Map([
    ...tables.map(({ target }) => [target, NOTHING_TO_DO] as const),
    ...works.map(({ table, sweep, durationMs }) => [table.target, { outcome: sweep.outcome, durationMs }] as const),
  ]);
}

/** The outcome of a table without a block. */
const NOTHING_TO_DO: Worked = {
  outcome: { stopReason: 'drained', rowsDeleted: 0, rowsRemaining: 0, batches: 0, longestBatchMs: 0, blockedBy: [] },
  durationMs: 0,
};

/** The other tables whose rows refer to a table, by way of cascades, too. */
function referringTables(tables: readonly Table[]): (table: Table) => readonly Table[] {
  const byTable = new ByTable(tables, oidsOf);
  return (table) => byTable.at(referringOids(table.options.keys)).filter((other) => other !== table);
}

function referringOids(keys: readonly ReferringKey[]): number[] {
  return keys.flatMap(({ oid, next }) => [oid, ...referringOids(next)]);
}

/** A table before those to which its rows refer; in a circle of tables, in the order of the targets. */
function referringFirst(tables: readonly Table[], referring: (table: Table) => readonly Table[]): Table[] {
  const ordered = new Set<Table>();
  const visit = (table: Table, path: readonly Table[]) => {
    if (ordered.has(table)) {
      return;
    }
    for (const other of referring(table).filter((candidate) => !path.includes(candidate))) {
      visit(other, [...path, table]);
    }
    ordered.add(table);
  };
  for (const table of tables) {
    visit(table, [table]);
  }
  return [...ordered];
}

/** The table of a target, with all partitions and children. */
export function oidsOf({ options }: Table): Set<number> {
  return new Set([options.root.oid, ...options.relations.map(({ oid }) => oid)]);
}

/** The work on one table, which may take several visits. */
class Work {
  readonly oids: ReadonlySet<number>;
  readonly sweep: Sweep;
  durationMs = 0;
  /** The number of the visit that was the last one here, and of the last one that deleted rows here. */
  visited = 0;
  deleted = 0;

  constructor(readonly table: Table) {
    this.oids = oidsOf(table);
    this.sweep = new Sweep(table.options);
  }
}

/** A table whose remaining rows are kept by others, and those of the others that have lost rows since. */
function nextAgain(
  works: readonly Work[],
  others: (work: Work) => readonly Work[],
): { readonly work: Work; readonly oids: ReadonlySet<number> } | undefined {
  for (const work of works) {
    const changed = others(work).filter(({ deleted }) => deleted > work.visited);
    const oids = new Set(changed.flatMap((other) => [...other.oids]));
    if (work.sweep.waitsFor(oids)) {
      return { work, oids };
    }
  }
  return undefined;
}
