import type { DeadRows } from '../conditions/condition';
import type { Target } from '../configuration/targets';
import type { Inspected } from '../preflight/preflight';
import type { SweepOutcome } from './outcome';
import { Sweep, type SweepOptions } from './sweep';

/** A table that passed the preflight, and what came of the work on it. */
export interface Table {
  readonly target: Target;
  readonly inspected: Inspected;
  readonly options: SweepOptions & { readonly condition: DeadRows };
}

export interface Worked {
  readonly outcome: SweepOutcome;
  readonly durationMs: number;
}

export interface Visiting {
  now(): number;
  /** Awaited before each visit to a table. */
  before(table: Table, later: readonly Table[]): Promise<void>;
}

/**
 * Sweeps tables. A table that refers to another one comes before it, in any order of the targets. If rows remain because
 * rows of another table refer to them, the table is visited again once that one has lost some.
 */
export async function purge(tables: readonly Table[], { now, before }: Visiting): Promise<Map<Target, Worked>> {
  const works = referringFirst(tables).map((table) => new Work(table));
  let visits = 0;
  const visit = async (work: Work, run: (sweep: Sweep) => Promise<void>) => {
    const startedAt = now();
    const later = works.filter(({ visited }) => visited === 0).map(({ table }) => table);
    await before(
      work.table,
      later.filter((table) => table !== work.table),
    );
    const { rowsDeleted } = work.sweep;
    await run(work.sweep);
    work.durationMs += now() - startedAt;
    visits += 1;
    work.visited = visits;
    if (work.sweep.rowsDeleted > rowsDeleted) {
      work.deleted = visits;
    }
  };
  for (const work of works) {
    await visit(work, (sweep) => sweep.run());
  }
  for (let again = nextAgain(works); again; again = nextAgain(works)) {
    const { work, oids } = again;
    await visit(work, (sweep) => sweep.runAgain(oids));
  }
  return new Map(works.map(({ table, sweep, durationMs }) => [table.target, { outcome: sweep.outcome, durationMs }]));
}

/** A table before those to which its rows refer; in a circle of tables, in the order of the targets. */
function referringFirst(tables: readonly Table[]): Table[] {
  const ordered = new Set<Table>();
  const visit = (table: Table, path: readonly Table[]) => {
    for (const other of tables.filter((candidate) => refersTo(candidate, table) && !path.includes(candidate))) {
      visit(other, [...path, table]);
    }
    ordered.add(table);
  };
  for (const table of tables) {
    visit(table, [table]);
  }
  return [...ordered];
}

function refersTo(one: Table, other: Table): boolean {
  const oids = oidsOf(one);
  return (
    one !== other && other.options.keys.some(({ oid, next }) => oids.has(oid) || next.some((key) => oids.has(key.oid)))
  );
}

function oidsOf({ options }: Table): Set<number> {
  return new Set([options.root.oid, ...options.relations.map(({ oid }) => oid)]);
}

/** The work on one table, which may take several visits. */
class Work {
  readonly table: Table;
  readonly oids: ReadonlySet<number>;
  readonly sweep: Sweep;
  durationMs = 0;
  /** The number of the visit that was the last one here, and of the last one that deleted rows here. */
  visited = 0;
  deleted = 0;

  constructor(table: Table) {
    this.table = table;
    this.oids = oidsOf(table);
    this.sweep = new Sweep(table.options);
  }
}

/** A table whose remaining rows are kept by others, and those of the others that have lost rows since. */
function nextAgain(works: readonly Work[]): { readonly work: Work; readonly oids: ReadonlySet<number> } | undefined {
  for (const work of works) {
    const changed = works.filter((other) => other !== work && other.deleted > work.visited);
    const oids = new Set(changed.flatMap((other) => [...other.oids]));
    if (work.sweep.waitsFor(oids)) {
      return { work, oids };
    }
  }
  return undefined;
}
