import type { Target } from '../configuration/targets';
import { byTable } from './conditions/by-table';
import type { DeadRows } from './conditions/condition';
import type { ReferringKey } from './conditions/referring-key';
import type { SweepOutcome } from './outcome';
import type { Inspected } from './preflight/preflight';
import { Sweep, type SweepOptions } from './sweep';
import { readSizes } from './table-sizes';

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
  const sizes = await readSizes(tables);
  const filled = tables.filter((table) => !sizes.isEmpty(table));
  const referring = referringTables(filled);
  const works = referringFirst(filled, referring).map((table) => new Work(table));
  const keptBy = new Map(works.map(({ table }) => [table, [] as Work[]]));
  for (const work of works) {
    for (const table of referring(work.table)) {
      keptBy.get(table)?.push(work);
    }
  }
  const visit = async (work: Work, run: (sweep: Sweep, changed: ReadonlySet<number>) => Promise<void>) => {
    const { table, sweep, changed } = work;
    const { clock, turns, keys } = table.options;
    const { rowsDeleted } = sweep;
    const startedAt = clock.now();
    work.changed = new Set();
    turns.start(sizes.takeShare(table), keys.length > 0);
    await run(sweep, changed);
    work.durationMs += clock.now() - startedAt;
    const lost = sweep.rowsDeleted > rowsDeleted ? oidsOf(table) : [];
    for (const kept of keptBy.get(table) ?? []) {
      kept.changed = new Set([...kept.changed, ...lost]);
    }
  };
  for (const work of works) {
    await visit(work, (sweep) => sweep.run());
  }
  const next = () => works.find(({ sweep, changed }) => sweep.waitsFor(changed));
  for (let work = next(); work; work = next()) {
    await visit(work, (sweep, changed) => sweep.runAgain(changed));
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
  const tablesAt = byTable(tables, oidsOf);
  return (table) => tablesAt(referringOids(table.options.keys)).filter((other) => other !== table);
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
  readonly sweep: Sweep;
  /** The tables that refer to it and have lost rows since its last visit. */
  changed: ReadonlySet<number> = new Set();
  durationMs = 0;

  constructor(readonly table: Table) {
    this.sweep = new Sweep(table.options);
  }
}
