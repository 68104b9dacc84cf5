import { type ColumnTest, isAge, isReference, type Rule, type Target, type ValueTest } from '../configuration/targets';
import type { Queryable } from '../database/queryable';
import type { ColumnTypes } from '../engine/conditions/column-tests';
import { literal } from '../engine/conditions/sql';
import type { Inspected } from '../engine/preflight/preflight';

/** Whether an index would make a sweep faster. */
export interface IndexAdvice {
  /**
   * - `not-needed`: all of the table is read in about a second
   * - `exists`: every rule has an index that finds its rows
   * - `helps`: few rows are dead, and every run reads the whole table to find them
   * - `helps-later`: so many rows are dead that most blocks have to be visited anyway; it helps once that is over
   * - `cannot-help`: a rule tests nothing but rows of other tables, so every run reads the whole table
   */
  readonly verdict: 'not-needed' | 'exists' | 'helps' | 'helps-later' | 'cannot-help';
  /** Statements that create the missing indexes. All are needed: a single rule without an index reads the whole table. */
  readonly statements: readonly string[];
}

export interface IndexedTable {
  readonly target: Target;
  readonly inspected: Inspected;
  /** The largest partition, or the table itself. It stands for the others. */
  readonly largest: number;
  readonly heapBytes: number;
  /** The number of all rows and of the dead ones, as far as they are known. */
  readonly rows: number;
  readonly dead: number;
}

/** Read in 0.2 s from memory, and in a second from the smaller volumes of AWS, which deliver 128 MB/s. */
const SMALL_HEAP_BYTES = 128 * 1024 ** 2;

/** A block holds 50 rows or more. At a greater share, spread evenly, a run visits every second block with an index, too. */
export const GREATEST_DEAD_SHARE = 0.01;

/** With more rows than about this, the sweep walks the blocks instead of an index, if they are in memory. */
const MOST_ROWS_FOUND = 100_000;

/** Examines the existing indexes, and the gain from missing ones. Read only. */
export async function adviseOnIndexes(session: Queryable, table: IndexedTable): Promise<IndexAdvice> {
  const { target, inspected, largest, heapBytes, rows, dead } = table;
  if (heapBytes < SMALL_HEAP_BYTES) {
    return { verdict: 'not-needed', statements: [] };
  }
  if (target.deleteWhen.some((rule) => Object.values(rule).every(isReference))) {
    return { verdict: 'cannot-help', statements: [] };
  }
  const columns = target.deleteWhen.flatMap(Object.keys);
  // A partitioned table passes its indexes on to its partitions. Other child tables need their own.
  const roots = inspected.isPartitioned ? [inspected.oid] : inspected.relations.map(({ oid }) => oid);
  const { rows: answers } = await session.query<Catalog>(CATALOG_SQL, [roots, columns, largest]);
  const [catalog] = answers;
  const names = { quoted: catalog?.quoted ?? {}, columnTypes: inspected.columnTypes };
  const missing = target.deleteWhen.filter((rule) => !catalog?.indexes.some((index) => serves(index, rule, names)));
  if (!catalog || missing.length === 0) {
    return { verdict: 'exists', statements: [] };
  }
  // PostgreSQL cannot create an index of a partitioned table concurrently.
  const create = inspected.isPartitioned ? 'create index on' : 'create index concurrently on';
  const statements = catalog.tables.flatMap((name) =>
    missing.map((rule) => `${create} ${name} ${definition(rule, names)}`),
  );
  const few = dead <= MOST_ROWS_FOUND && dead <= rows * GREATEST_DEAD_SHARE;
  return { verdict: few ? 'helps' : 'helps-later', statements: [...new Set(statements)] };
}

interface Catalog {
  readonly tables: readonly string[];
  /** Columns as the server writes them. */
  readonly quoted: Readonly<Record<string, string>>;
  readonly indexes: readonly Index[];
}

interface Index {
  /** Null for an expression. */
  readonly leading: string | null;
  /** Null if it holds all rows. */
  readonly predicate: string | null;
}

const CATALOG_SQL = `
  select
    array(
      select format('%I.%I', nspname, relname)
      from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where pg_class.oid = any($1::oid[])
      order by 1
    ) as tables,
    (select jsonb_object_agg(name, quote_ident(name)) from unnest($2::text[]) as name) as quoted,
    (
      select coalesce(jsonb_agg(jsonb_build_object(
        'leading', (select attname from pg_attribute where attrelid = indrelid and attnum = indkey[0]),
        'predicate', pg_get_expr(indpred, indrelid)
      )), '[]')
      from pg_index join pg_class on pg_class.oid = indexrelid join pg_am on pg_am.oid = relam
      where indrelid = $3 and indisvalid and amname in ('btree', 'brin')
    ) as indexes`;

interface Names {
  readonly quoted: Catalog['quoted'];
  readonly columnTypes: ColumnTypes;
}

/** Whether it leads to the rows that meet a rule, and to few others. */
function serves({ leading, predicate }: Index, rule: Rule, names: Names): boolean {
  const leads = leading !== null && Object.hasOwn(rule, leading) && isIndexable(leading, rule[leading], names);
  if (predicate === null) {
    return leads;
  }
  const tests = Object.entries(rule);
  const selective = tests.flatMap(([column, test]) => predicatesOf(column, test, names).flatMap(conjunctsOf));
  const present = tests.filter(([, test]) => isStrict(test)).map(([column]) => `${names.quoted[column]} IS NOT NULL`);
  const conjuncts = conjunctsOf(predicate);
  const isImplied = conjuncts.every((conjunct) => [...selective, ...present].includes(conjunct));
  return isImplied && (leads || conjuncts.some((conjunct) => selective.includes(conjunct)));
}

/** Whether an index that begins with the column finds the rows that pass. Rows of other tables are in no index. */
function isIndexable(column: string, test: ColumnTest | undefined, { columnTypes }: Names): boolean {
  return test !== undefined && !isReference(test) && !(isValue(test) && columnTypes.get(column)?.isLoose);
}

/** Whether NULL fails the test. The planner does not look for that inside a reference. */
function isStrict(test: ColumnTest): boolean {
  return test !== null && !isReference(test) && !(isAge(test) && test.orNull);
}

function isValue(test: ColumnTest): test is ValueTest {
  return typeof test === 'object' && test !== null && 'in' in test;
}

/** The predicates of partial indexes, as the server prints them, that hold only rows that pass a test. */
function predicatesOf(column: string, test: ColumnTest, names: Names): string[] {
  const operand = operandOf(column, test, names);
  if (test === null) {
    return [`${operand} IS NULL`];
  }
  if (typeof test === 'boolean') {
    return [test ? operand : `NOT ${operand}`, `${operand} = ${test}`];
  }
  if (!isValue(test)) {
    return [];
  }
  const values = test.in.map((value) =>
    literal(names.columnTypes.get(column)?.name === 'uuid' ? String(value).toLowerCase() : value),
  );
  return [values.length === 1 ? `${operand} = ${values[0]}` : `${operand} = ANY ARRAY[${values.join(', ')}]`];
}

/** The server casts constants and columns, and prints a number as text if it is negative or long. */
function conjunctsOf(predicate: string): string[] {
  return predicate
    .replaceAll(/::[\w". ]*[\w"](\[\])?/g, '')
    .split(' AND ')
    .map((conjunct) => conjunct.replaceAll(/[()]/g, '').replaceAll(/'(-?\d+)'/g, '$1'));
}

/** Ordered by time, and only for rows whose other columns meet the rule. */
function definition(rule: Rule, names: Names): string {
  const tests = Object.entries(rule);
  const ages = tests
    .filter(([, test]) => isAge(test))
    .sort(([, one], [, other]) => +!isStrict(one) - +!isStrict(other));
  const others = tests.filter(([, test]) => !isAge(test) && !isReference(test));
  // A column that has to be NULL may have a type without an order, such as json.
  const ordered = [...others, ...tests].filter(([, test]) => test !== null).slice(0, 1);
  const keys = (ages.length > 0 ? ages : ordered).map(([column, test]) => operandOf(column, test, names));
  // The planner does not see that a char(n), which the sweep compares without its length, meets a predicate.
  const provable = others.filter(
    ([column, test]) => !(isValue(test) && names.columnTypes.get(column)?.name === 'character'),
  );
  const predicate = provable.map(([column, test]) => predicateSql(operandOf(column, test, names), test)).join(' and ');
  return `(${keys.join(', ')})${predicate && ` where ${predicate}`}`;
}

/** A column as the sweep compares it. */
function operandOf(column: string, test: ColumnTest, { quoted, columnTypes }: Names): string {
  return `${quoted[column]}${isValue(test) && columnTypes.get(column)?.isLoose ? ' COLLATE "C"' : ''}`;
}

function predicateSql(operand: string, test: ColumnTest): string {
  if (test === null) {
    return `${operand} is null`;
  }
  if (typeof test === 'boolean') {
    return `${test ? '' : 'not '}${operand}`;
  }
  const values = isValue(test) ? test.in.map(literal) : [];
  return values.length === 1 ? `${operand} = ${values[0]}` : `${operand} in (${values.join(', ')})`;
}
