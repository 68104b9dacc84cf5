import type { Condition } from '../engine/conditions/condition';
import type { Relation } from '../engine/conditions/relation';
import { quoteIdentifier, withParameters } from '../engine/conditions/sql';
import { isDead } from '../engine/deletion';
import { cascadedBy, cascadesOf, endOf, keptBy, type Path, protectionsOf, referringTo } from '../engine/protection';
import type { Table } from '../engine/purge';
import { patiently } from '../engine/table-lock';
import { TablesOfRun } from './tables-of-run';

/** The additional columns that a census reads of a table. */
interface Question {
  readonly condition: Condition;
  /** SQL that follows the table. */
  readonly beside: string;
  readonly columns: Readonly<Record<string, string>>;
  /** Columns that are not added up. */
  readonly further: Readonly<Record<string, string>>;
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
  readonly #works: ReadonlyMap<Table, TableForecast>;
  /** Whether the signal was aborted before the last key was followed. */
  isCutShort = false;

  constructor(tables: readonly Table[]) {
    this.#tables = new TablesOfRun(tables);
    this.#works = new Map(tables.map((table) => [table, new TableForecast(table, this.#tables)]));
  }

  /** The part of the forecast for a table. */
  of(table: Table): TableForecast {
    return this.#works.get(table) as TableForecast;
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

/** A path of keys, and the number of rows that it keeps or deletes along. */
interface CountedPath {
  readonly path: Path;
  rows: number;
}

/** Rows of a relation that stay, by the protection that keeps them. */
interface Staying {
  readonly table: Table;
  readonly relation: Relation;
  readonly tids: readonly string[];
  readonly protection: CountedPath;
}

export class TableForecast {
  readonly #table: Table;
  readonly #tables: TablesOfRun;
  readonly #protections: readonly CountedPath[];
  readonly #cascades: readonly CountedPath[];
  /** Whether rows of the table keep others of the run. */
  readonly #passesOn: boolean;
  /** Whether the forecast needs the places of the rows that stay: they keep others, or are found a second time. */
  readonly #needsPlaces: boolean;
  readonly #known = new Set<string>();
  #found: Staying[] = [];
  /** Whether keys keep rows that only an attempt to delete them finds. */
  readonly isIncomplete: boolean;
  /** Whether rows of the table and of others may keep each other. */
  readonly isInCircle: boolean;

  constructor(table: Table, tables: TablesOfRun) {
    const { keys, isInherited } = table.options;
    const { known, areIncomplete } = protectionsOf(keys, isInherited);
    const paths = known.filter(({ waits }) => !waits).map(({ path }) => path);
    this.#table = table;
    this.#tables = tables;
    this.#protections = paths.map((path) => ({ path, rows: 0 }));
    this.#cascades = cascadesOf(keys).known.map((path) => ({ path, rows: 0 }));
    this.#passesOn = tables.keptBy(table).size > 0;
    this.#needsPlaces = paths.length > 0 && (this.#passesOn || paths.some((path) => tables.referring(path).length > 0));
    this.isIncomplete = areIncomplete;
    this.isInCircle = tables.isInCircle(table);
  }

  /** @param free a name that no column of the table has */
  question(free: string): Question {
    const { condition } = this.#table.options;
    const dead = isDead(condition);
    const protection = `asked.${quoteIdentifier(free)}`;
    const goes = this.#protections.length > 0 ? `${dead} and ${protection} is null` : dead;
    const values = [...condition.values];
    const cases = this.#protections.map(({ path }, index) => {
      const [other] = this.#tables.referring(path);
      const isAlive = other ? [`not ${this.#deadOf(other, values)}`] : [];
      return `when ${refers('visited', path, isAlive)} then ${index}`;
    });
    const beside = `, lateral (
      select case when not ${dead} then null ${cases.join(' ')} end as ${quoteIdentifier(free)} offset 0
    ) as asked`;
    const places = `pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(${protection}, visited.ctid::pg_catalog.text))`;
    return {
      condition: { text: condition.text, values },
      beside: cases.length > 0 ? beside : '',
      columns: Object.fromEntries([
        ...this.#protections.map((_, index) => [
          `kept ${index}`,
          `pg_catalog.count(*) filter (where ${protection} operator(pg_catalog.=) ${index})`,
        ]),
        ...this.#cascades.map(({ path }, index) => [
          `cascaded ${index}`,
          `pg_catalog.sum(${countReferring(path)}) filter (where ${goes})`,
        ]),
      ]),
      further: this.#needsPlaces ? { staying: `${places} filter (where ${dead} and ${protection} is not null)` } : {},
    };
  }

  /** Takes the sums of the census. */
  add(sums: (name: string) => number): void {
    for (const [index, protection] of this.#protections.entries()) {
      protection.rows += sums(`kept ${index}`);
    }
    for (const [index, cascade] of this.#cascades.entries()) {
      cascade.rows += sums(`cascaded ${index}`);
    }
  }

  /** Takes the places of the rows of a piece that stay. */
  addStaying(relation: Relation, values: Readonly<Record<string, unknown>>): void {
    const staying = (values.staying ?? []) as readonly (readonly [number, string])[];
    for (const [index, protection] of this.#protections.entries()) {
      const tids = staying.filter(([by]) => by === index).map(([, tid]) => tid);
      this.#note(relation, tids, protection);
    }
  }

  takeFound(): Staying[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }

  /** Finds the dead rows that some rows refer to, which stay. */
  async keepReferredBy(staying: Staying, until: AbortSignal): Promise<void> {
    const { options } = this.#table;
    for (const own of this.#protections) {
      const tids = this.#tables.referring(own.path).includes(staying.table) ? staying.tids : [];
      for (let at = 0; at < tids.length && !until.aborted; at += LOOKUP) {
        for (const relation of options.relations) {
          const { text, values } = this.#lookup(relation, own.path, staying, tids.slice(at, at + LOOKUP));
          const { rows } = await patiently<Found>(options, text, values, LOOKUP_LIMITS);
          const news = rows.filter(({ tid }) => !this.#known.has(key(relation, tid)));
          const protection = staying.table === this.#table ? staying.protection : own;
          protection.rows += news.length;
          for (const [index, cascade] of this.#cascades.entries()) {
            cascade.rows -= news.reduce((sum, { cascaded }) => sum + (cascaded[index] ?? 0), 0);
          }
          const found = news.map(({ tid }) => tid);
          this.#note(relation, found, protection);
        }
      }
    }
  }

  /** The effect of foreign keys on a run, as far as the role may read the tables that refer. */
  get consequences() {
    return {
      /** The dead rows that stay because a row refers to them that stays. */
      protectedRows: this.#protections.reduce((sum, { rows }) => sum + rows, 0),
      blockedBy: keptBy(
        this.#protections.map(({ path }) => path),
        this.#protections.map(({ rows }) => rows),
      ),
      cascaded: cascadedBy(
        cascadesOf(this.#table.options.keys),
        this.#cascades.map(({ rows }) => rows),
      ),
    };
  }

  #note(relation: Relation, tids: readonly string[], protection: CountedPath): void {
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
    const counts = this.#cascades.map((cascade) => countReferring(cascade.path));
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
    const before = values.length;
    const text = withParameters(isDead(condition), (number) => `$${before + number}`);
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

/** The number of rows that refer to a visited row by a path, as SQL. */
function countReferring(path: Path): string {
  return `(select pg_catalog.count(*) from ${referringTo('visited', path)})`;
}

function key({ oid }: Relation, tid: string): string {
  return `${oid} ${tid}`;
}
