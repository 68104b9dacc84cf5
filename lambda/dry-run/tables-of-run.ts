import { byTable } from '../engine/conditions/by-table';
import { endOf, type Path, protectionsOf } from '../engine/protection';
import { oidsOf, type Table } from '../engine/purge';

/** The tables of a run, found by the foreign keys between them. */
export class TablesOfRun {
  readonly #tablesAt: (oids: Iterable<number>) => Table[];
  /** By the table whose rows keep others: the tables that have such rows, itself among them if it refers to itself. */
  readonly #keptBy: ReadonlyMap<Table, ReadonlySet<Table>>;

  constructor(tables: readonly Table[]) {
    this.#tablesAt = byTable(tables, oidsOf);
    const keptBy = new Map(tables.map((table) => [table, new Set<Table>()]));
    for (const kept of tables) {
      for (const { path } of protectionsOf(kept.options.keys, kept.options.isInherited).known) {
        for (const table of this.referring(path)) {
          keptBy.get(table)?.add(kept);
        }
      }
    }
    this.#keptBy = keptBy;
  }

  /** The tables of the run whose rows refer, at the end of a path. Targets may share a table. */
  referring(path: Path): Table[] {
    return this.#tablesAt([endOf(path).oid]);
  }

  /** The tables in which rows of a table may keep some. */
  keptBy(table: Table): ReadonlySet<Table> {
    return this.#keptBy.get(table) ?? new Set();
  }

  /** Whether the keys that keep rows lead from a table over others back to it. */
  isInCircle(table: Table): boolean {
    const othersKeptBy = (one: Table) => [...this.keptBy(one)].filter((other) => other !== one);
    const reached = new Set(othersKeptBy(table));
    for (const next of reached) {
      for (const further of othersKeptBy(next)) {
        reached.add(further);
      }
    }
    return reached.has(table);
  }
}
