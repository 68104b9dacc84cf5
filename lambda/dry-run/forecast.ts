import { behind, type Condition } from '../engine/conditions/condition';
import type { Relation } from '../engine/conditions/relation';
import { quoteIdentifier } from '../engine/conditions/sql';
import type { Further } from '../engine/count';
import { isDead } from '../engine/deletion';
import type { Blockage, Cascaded } from '../engine/outcome';
import {
  type Cascades,
  cascadedBy,
  cascadesOf,
  endOf,
  keptBy,
  type Path,
  protectionsOf,
  referringTo,
} from '../engine/protection';
import type { Table } from '../engine/purge';
import { patiently } from '../engine/table-lock';
import { TablesOfRun } from './tables-of-run';

/** The effect of foreign keys on a run, as far as the role may read the tables that refer. */
export interface Consequences {
  /** The dead rows that stay because a row refers to them that stays. */
  readonly protectedRows: number;
  readonly blockedBy: readonly Blockage[];
  readonly cascaded: readonly Cascaded[];
}

/** The additional columns that a census reads of a table. */
export interface Question {
  readonly condition: Condition;
  readonly beside?: string;
  readonly columns: Readonly<Record<string, string>>;
  readonly further?: Pick<Further, 'columns'>;
}

/** The number of rows that are looked up at once by their places. */
const LOOKUP = 500;

const LOOKUP_LIMITS = { statementTimeoutMs: 5_000, lockTimeoutMs: 1_000, ownSearchPath: true };

/**
 * Predicts which dead rows of several tables a run leaves, because rows refer to them that stay.
 *
 * The census of a table finds its rows to which live rows refer. Such a row in turn keeps the dead rows to which it refers
 * itself, in its own table or another one of the run, and so on. These are looked up by the keys, which are unique.
 */
export class Forecast {
  readonly #tables: TablesOfRun;
  readonly #works: ReadonlyMap<Table, Work>;
  /** Whether the signal was aborted before the last key was followed. */
  isCutShort = false;

  constructor(tables: readonly Table[]) {
    this.#tables = new TablesOfRun(tables);
    this.#works = new Map(tables.map((table) => [table, new Work(table, this.#tables)]));
  }

  /** The part of the forecast for a table. */
  of(table: Table): Work {
    return this.#works.get(table) as Work;
  }

  /** Follows the keys from the rows that stay. Call this after the census of all tables. Stops at the signal. */
  async follow(until: AbortSignal): Promise<void> {
    const works = [...this.#works.values()];
    let frontier = works.flatMap((work) => work.takeFound());
    while (frontier.length > 0 && !until.aborted) {
      const next: Staying[] = [];
      for (const staying of frontier) {
        for (const table of this.#tables.keptBy(staying.table)) {
          const work = this.of(table);
          await work.keepReferredBy(staying, until);
          next.push(...work.takeFound());
        }
      }
      frontier = next;
    }
    this.isCutShort = frontier.length > 0;
  }
}

/** Rows of a relation that stay, by the protection that keeps them. */
interface Staying {
  readonly table: Table;
  readonly relation: Relation;
  readonly tids: readonly string[];
  readonly protection: number;
}

/** The forecast of a table. */
export interface Foreseen {
  /** Whether keys keep rows that only an attempt to delete them finds. */
  readonly isIncomplete: boolean;
  /** Whether rows of the table and of others may keep each other. */
  readonly isInCircle: boolean;
}

class Work implements Foreseen {
  readonly #table: Table;
  readonly #tables: TablesOfRun;
  readonly #paths: readonly Path[];
  readonly #cascades: Cascades;
  /** Whether rows of the table keep others of the run. */
  readonly #passesOn: boolean;
  /** Whether the forecast needs the places of the rows that stay: they keep others, or are found a second time. */
  readonly #needsPlaces: boolean;
  readonly #rows: number[];
  readonly #cascaded: number[];
  readonly #known = new Set<string>();
  #found: Staying[] = [];
  readonly isIncomplete: boolean;
  readonly isInCircle: boolean;

  constructor(table: Table, tables: TablesOfRun) {
    const { known, areIncomplete } = protectionsOf(table.options.keys, table.options.isInherited);
    this.#table = table;
    this.#tables = tables;
    this.#paths = known.filter(({ waits }) => !waits).map(({ path }) => path);
    this.#cascades = cascadesOf(table.options.keys);
    this.#passesOn = tables.keptBy(table).size > 0;
    this.#needsPlaces = this.#passesOn || this.#paths.some((path) => tables.referring(path).length > 0);
    this.#rows = this.#paths.map(() => 0);
    this.#cascaded = this.#cascades.known.map(() => 0);
    this.isIncomplete = areIncomplete;
    this.isInCircle = tables.isInCircle(table);
  }

  /** @param free a name that no column of the table has */
  question(free: string): Question {
    const { condition } = this.#table.options;
    const protection = `asked.${quoteIdentifier(free)}`;
    const isKept = `${isDead(condition)} and ${protection} is not null`;
    const goes = this.#paths.length > 0 ? `${isDead(condition)} and ${protection} is null` : isDead(condition);
    const values = [...condition.values];
    const cases = this.#paths.map((path, index) => {
      const [other] = this.#tables.referring(path);
      const isAlive = other ? [`not ${this.#deadOf(other, values)}`] : [];
      return `when ${refers('visited', path, isAlive)} then ${index}`;
    });
    return {
      condition: { text: condition.text, values },
      ...(cases.length > 0 && {
        beside: `, lateral (
          select case when not ${isDead(condition)} then null ${cases.join(' ')} end as ${quoteIdentifier(free)} offset 0
        ) as asked`,
      }),
      columns: Object.fromEntries([
        ...this.#paths.map((_, index) => [
          `kept ${index}`,
          `pg_catalog.count(*) filter (where ${protection} operator(pg_catalog.=) ${index})`,
        ]),
        ...this.#cascades.known.map((path, index) => [
          `cascaded ${index}`,
          `pg_catalog.sum((select pg_catalog.count(*) from ${referringTo('visited', path)})) filter (where ${goes})`,
        ]),
      ]),
      ...(this.#needsPlaces &&
        cases.length > 0 && {
          further: {
            columns: {
              staying: `pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(${protection}, visited.ctid::pg_catalog.text)) filter (where ${isKept})`,
            },
          },
        }),
    };
  }

  /** Takes the sums of the census. */
  add(sums: (name: string) => number): void {
    this.#paths.forEach((_, index) => {
      this.#rows[index] = (this.#rows[index] ?? 0) + sums(`kept ${index}`);
    });
    this.#cascades.known.forEach((_, index) => {
      this.#cascaded[index] = (this.#cascaded[index] ?? 0) + sums(`cascaded ${index}`);
    });
  }

  /** Takes the places of the rows of a piece that stay. */
  addStaying(relation: Relation, values: Readonly<Record<string, unknown>>): void {
    const staying = (values.staying ?? []) as readonly (readonly [number, string])[];
    this.#paths.forEach((_, protection) => {
      const tids = staying.filter(([by]) => by === protection).map(([, tid]) => tid);
      this.#note(relation, tids, protection);
    });
  }

  takeFound(): Staying[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }

  /** Finds the dead rows that some rows refer to, which stay. */
  async keepReferredBy(staying: Staying, until: AbortSignal): Promise<void> {
    const { options } = this.#table;
    for (const [index, path] of this.#paths.entries()) {
      const tids = this.#tables.referring(path).includes(staying.table) ? staying.tids : [];
      for (let at = 0; at < tids.length && !until.aborted; at += LOOKUP) {
        for (const relation of options.relations) {
          const { text, values } = this.#lookup(relation, path, staying, tids.slice(at, at + LOOKUP));
          const { rows } = await patiently<Found>(options, text, values, LOOKUP_LIMITS);
          const news = rows.filter(({ tid }) => !this.#known.has(key(relation, tid)));
          const protection = staying.table === this.#table ? staying.protection : index;
          this.#rows[protection] = (this.#rows[protection] ?? 0) + news.length;
          this.#cascades.known.forEach((_, cascade) => {
            const along = news.reduce((sum, row) => sum + (row.cascaded[cascade] ?? 0), 0);
            this.#cascaded[cascade] = (this.#cascaded[cascade] ?? 0) - along;
          });
          this.#note(
            relation,
            news.map(({ tid }) => tid),
            protection,
          );
        }
      }
    }
  }

  get consequences(): Consequences {
    return {
      protectedRows: this.#rows.reduce((sum, rows) => sum + rows, 0),
      blockedBy: keptBy(this.#paths, this.#rows),
      cascaded: cascadedBy(this.#cascades, this.#cascaded),
    };
  }

  #note(relation: Relation, tids: readonly string[], protection: number): void {
    for (const tid of tids) {
      this.#known.add(key(relation, tid));
    }
    if (tids.length > 0 && this.#passesOn) {
      this.#found.push({ table: this.#table, relation, tids, protection });
    }
  }

  #lookup(relation: Relation, path: Path, staying: Staying, tids: readonly string[]): Condition {
    const { condition } = this.#table.options;
    const isListed = `keeping.ctid operator(pg_catalog.=) any ($${condition.values.length + 1}::pg_catalog.tid[])`;
    const counts = this.#cascades.known.map(
      (cascade) => `(select pg_catalog.count(*) from ${referringTo('visited', cascade)})`,
    );
    return {
      text: `
        select visited.ctid::pg_catalog.text as tid, array[${counts.join(', ')}]::pg_catalog.float8[] as cascaded
        from only ${relation.quotedName} as visited
        where ${isDead(condition)} and ${refers('visited', path, [isListed], `only ${staying.relation.quotedName}`)}`,
      values: [...condition.values, tids],
    };
  }

  /** Whether a row of a table is dead, as SQL. Adds the parameters of another table to those of this one. */
  #deadOf({ options: { condition } }: Table, values: unknown[]): string {
    if (condition === this.#table.options.condition) {
      return isDead(condition);
    }
    const text = behind(values.length, isDead(condition));
    values.push(...condition.values);
    return text;
  }
}

interface Found {
  readonly tid: string;
  readonly cascaded: readonly number[];
}

/**
 * Whether a row refers to a row by a path, as SQL. It is called `keeping`, and alone in its statement: columns without a
 * table are its own.
 */
function refers(row: string, path: Path, conditions: readonly string[], place?: string): string {
  const last = endOf(path);
  const [first, ...others] = path.slice(0, -1);
  const link = last.columns
    .map(({ referred, equals, referring }) => `${first ? 'referring' : row}.${referred} ${equals} keeping.${referring}`)
    .join(' and ');
  const met = first ? `exists (select from ${referringTo(row, [first, ...others])} and ${link})` : link;
  return `exists (select from ${place ?? last.quotedTable} as keeping where ${[met, ...conditions].join(' and ')})`;
}

function key({ oid }: Relation, tid: string): string {
  return `${oid} ${tid}`;
}
