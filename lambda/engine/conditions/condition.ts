import { columnsIn, columnsOf, type Rule, type Target, testsIn } from '../../configuration/targets';
import { type ColumnTypes, type TestedTable, type TimeColumn, testSql } from './column-tests';
import type { Reference } from './references';
import { type ReferringKey, takesRows } from './referring-key';
import { isUnchanged, type Root } from './relation';
import { joinSql, quoteIdentifier, quoteTable, raw, type Sql } from './sql';

/** A boolean SQL expression, and the values of its parameters `$1` and on. */
export interface Condition {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** The condition of the rows to delete, and the protection against changes while they are deleted. */
export interface DeathCondition extends Condition {
  /**
   * The isolation of the DELETE. With `repeatable read` the server refuses to delete or change referring rows that were
   * inserted after it had begun: no row of a key that keeps the rows to which it refers is lost.
   *
   * @default read committed
   */
  readonly isolation?: 'repeatable read';
  /** The check before the commit of a DELETE, if the rules test other rows. */
  readonly recheck?: Recheck;
  /** The columns with times that the rules test. A row is dead only as long as they have their types. */
  readonly times: readonly TimeColumn[];
  /** The other tables that the rules read. A row is dead only as long as their names lead to them. */
  readonly others: readonly Root[];
}

/** The same, with its rules, which are joined by OR and have the parameters of the whole. */
export interface DeadRows extends DeathCondition {
  readonly rules: readonly Sql[];
}

/**
 * A second test of deleted rows, in the same transaction. A DELETE that waited for a lock tests its own row again, but
 * still sees the rows to which it refers as they were before. One of them may have come back to life.
 */
export interface Recheck {
  /** A deleted row as `jsonb`, to be collected. Its columns stand behind the alias. */
  row(alias: string): string;
  /** Finds a row if one of them was alive after all. @param rows a list of them, as JSON */
  statement(rows: string): Condition;
}

/** The catalog's entries for the columns and keys that a condition reads. */
export interface Catalog {
  /** Of all columns of the table. */
  readonly columnTypes: ColumnTypes;
  /** The foreign keys that rules follow, by the column that the rule names. */
  readonly references: ReadonlyMap<string, Reference>;
  /** The foreign keys whose rows keep those to which they refer, regardless of ON DELETE. */
  readonly keepers: readonly ReferringKey[];
}

/**
 * Turns the rules of a target into SQL. NULL matches no test but `null` and `orNull`. The table's columns are not qualified,
 * so that the condition fits any statement on it.
 *
 * @param cutoff the moment that ages count back from
 */
export function conditionOf(target: Target, cutoff: Date, catalog: Catalog): DeadRows {
  const { columnTypes, references, keepers } = catalog;
  const values: unknown[] = [];
  const times: TimeColumn[] = [];
  const table = { types: columnTypes, cutoff, timeZone: target.timeZone, values, times };
  const own = target.deleteWhen.map((rule) => ruleSql(rule, table, references));
  const unreferred = keepers.map((key) => unreferredSql(key, columnTypes));
  const anyRule = `(${own.map(({ text }) => `(${text})`).join(' or ')})`;
  return {
    text: [anyRule, ...unreferred.map(({ text }) => text)].join(' and '),
    values,
    times,
    others: [...references.values(), ...keepers].map(tableOf),
    rules: own.map((rule) => joinSql([rule, ...unreferred], ' and ')),
    ...(keepers.some(takesRows) && { isolation: 'repeatable read' }),
    ...(references.size > 0 && { recheck: recheckOf(target, catalog, cutoff) }),
  };
}

/** @param gone the quoted name of the table if a key may also lead to rows that were deleted from it, by the name `gone` */
function ruleSql(rule: Rule, table: TestedTable, references: Catalog['references'], gone?: string): Sql {
  const { own, referred } = testsIn(rule);
  // A test of another row costs most, so it comes last.
  const tests = [
    ...own.map(([column, test]) => testSql(table, column, test)),
    ...referred.map(([column, its]) => referredSql(references.get(column) as Reference, its, table, gone)),
  ];
  return joinSql(tests, ' and ');
}

/** Whether the row that a key leads to meets a rule. */
function referredSql(reference: Reference, rule: Rule, referring: TestedTable, gone: string | undefined): Sql {
  const { quotedTable, isPartitioned, columns, types } = reference;
  const parent = { ...referring, types, alias: 'parent.', oid: reference.oid } as const;
  const table = `${isPartitioned ? '' : 'only '}${quotedTable}`;
  const read = unique([...columns.map(({ referred }) => referred), ...columnsIn(rule)]).map(quoteIdentifier);
  const place = gone === quotedTable ? `(select ${read} from ${table} union all select ${read} from gone)` : table;
  const met = testsIn(rule).own.map(([column, test]) => testSql(parent, column, test));
  const pairs = columns.map(({ own, referred, equals }) => {
    const [quoted, quotedOwn] = [quoteIdentifier(referred), quoteIdentifier(own)];
    return { quoted, quotedOwn, compare: (name: string) => `${name} ${equals} ${quotedOwn}` };
  });
  return sqlOfOther('exists', tableOf(reference), `${place} as parent`, pairs, referring.types, joinSql(met, ' and '));
}

/** Whether no row refers to the row by a key. */
function unreferredSql(key: ReferringKey, columnTypes: ColumnTypes): Sql {
  const pairs = key.columns.map(({ referring, referred, equals }) => ({
    quoted: referring,
    quotedOwn: referred,
    compare: (name: string) => `${referred} ${equals} ${name}`,
  }));
  return sqlOfOther('not exists', tableOf(key), `${key.quotedTable} as child`, pairs, columnTypes);
}

/** The other table of a key. */
function tableOf({ oid, quotedTable }: Reference | ReferringKey): Root {
  return { oid, quotedName: quotedTable };
}

/** A column of another table, and one of the table at hand. */
interface Pair {
  readonly quoted: string;
  readonly quotedOwn: string;
  /** Compares them by the operator of their key. */
  readonly compare: (name: string) => string;
}

/**
 * Whether there is a row of another table. The inner query hides the columns of that table behind names that the table at
 * hand does not have, so that a column without a table is one of the latter. `is true` keeps the planner from a join,
 * which would read the other table for each range of blocks. The server checks the name of the table last, when it has
 * locked the table.
 */
function sqlOfOther(
  exists: 'exists' | 'not exists',
  table: Root,
  place: string,
  pairs: readonly Pair[],
  columnTypes: ColumnTypes,
  met?: Sql,
): Sql {
  const alias = place.slice(place.lastIndexOf(' ') + 1);
  const name = nameBeside(columnTypes);
  const selected = pairs.map(({ quoted }, index) => `${alias}.${quoted} as ${name(index)}`).join(', ');
  const compared = pairs.map(({ compare }, index) => compare(`${alias}.${name(index)}`)).join(' and ');
  const equal = pairs.map(({ quoted, quotedOwn }) => `${alias}.${quoted} = ${quotedOwn}`);
  const readable = [...equal, ...(met ? [met.readable] : [])].join(' and ');
  return raw(
    `(${exists} (select from (select ${selected} from ${place}${met ? ` where ${met.text}` : ''}) as ${alias} where ${compared})) is true and ${isUnchanged(table)}`,
    `${exists} (select from ${place.replace(/^only /, '')} where ${readable})`,
  );
}

function nameBeside(types: ColumnTypes): (index: number) => string {
  let prefix = 'key_';
  while ([...types.keys()].some((name) => name.startsWith(prefix))) {
    prefix += '_';
  }
  return (index) => quoteIdentifier(`${prefix}${index}`);
}

function recheckOf(target: Target, catalog: Catalog, cutoff: Date): Recheck {
  const { columnTypes, references } = catalog;
  const gone = quoteTable(target.schema, target.table);
  const values: unknown[] = [];
  const table = { types: columnTypes, cutoff, timeZone: target.timeZone, values };
  const rules = target.deleteWhen.map((rule) => `(${ruleSql(rule, table, references, gone).text})`);
  const keys = [...references.values()].flatMap(({ columns, quotedTable }) =>
    columns.flatMap(({ own, referred }) => (quotedTable === gone ? [own, referred] : [own])),
  );
  const columns = unique([...columnsOf(target), ...keys, ...selfTested(target, references, gone)]);
  const selected = columns.map((name, index) => `column_${index} as ${quoteIdentifier(name)}`);
  const definitions = columns.map((name, index) => `column_${index} ${columnTypes.get(name)?.quotedName}`);
  return {
    row: (alias) => {
      const pairs = columns.map((name, index) => `'column_${index}', ${alias}.${quoteIdentifier(name)}`);
      return `pg_catalog.jsonb_build_object(${pairs.join(', ')})`;
    },
    statement: (rows) => ({
      text: `
        with gone as materialized (
          select ${selected.join(', ')}
          from pg_catalog.jsonb_to_recordset($${values.length + 1}::pg_catalog.jsonb) as listed (${definitions.join(', ')})
        )
        select from gone as deleted where (${rules.join(' or ')}) is not true limit 1`,
      values: [...values, rows],
    }),
  };
}

/** The columns that rules test in rows of the same table. */
function selfTested({ deleteWhen }: Target, references: Catalog['references'], quotedTable: string): string[] {
  return deleteWhen.flatMap((rule) =>
    testsIn(rule).referred.flatMap(([column, its]) =>
      references.get(column)?.quotedTable === quotedTable ? columnsIn(its) : [],
    ),
  );
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}
