import { type AgeTest, type ColumnTest, isAge, type ReferenceTest } from '../../configuration/targets';
import { leastOffsetMs, localTime } from './local-time';
import { literal, quoteIdentifier, raw, type Sql, sql } from './sql';

/** The type of a column; for a domain, its base type. */
export interface ColumnType {
  /** Of the type itself, even if it is a domain. */
  readonly oid: number;
  /** As PostgreSQL prints it, such as `timestamp with time zone`. */
  readonly name: string;
  /** With its schema, such as `pg_catalog.timestamptz`. */
  readonly quotedName: string;
  /** The values of an enum; null for other types. */
  readonly labels: readonly string[] | null;
  /** Whether texts that differ may be equal, by a nondeterministic collation. */
  readonly isLoose: boolean;
}

export type ColumnTypes = ReadonlyMap<string, ColumnType>;

// Zero, one and minus one stand for "never" in real systems. And where seconds are declared as milliseconds, or the other
// way round, nothing matches instead of everything: this is March 1973.
const EPOCH_FLOOR_S = 100_000_000;

/** A table whose columns are tested. */
export interface TestedTable {
  readonly types: ColumnTypes;
  /** Its name in the statement, with a dot; absent if its columns stand alone. */
  readonly alias?: `${string}.`;
  /** Its oid, if it is not the table that the rules belong to. */
  readonly oid?: number;
  /** The moment that ages count back from. */
  readonly cutoff: Date;
  /** The time zone of timestamps without time zone. */
  readonly timeZone: string | undefined;
  /** The parameters so far; each test adds its own. */
  readonly values: unknown[];
  /** The columns with a time so far; each test adds its own. Absent if their types cannot change. */
  readonly times?: TimeColumn[];
}

/** A column whose type decides which moment its values are: a statement must not go by another one. */
export interface TimeColumn {
  /** The oid of the table, if it is not the one that the rules belong to. */
  readonly table: number | undefined;
  readonly column: string;
  /** The oid of its type. */
  readonly type: number;
}

/** A test of a column of a table, as SQL. */
export function testSql(table: TestedTable, column: string, test: Exclude<ColumnTest, ReferenceTest>): Sql {
  if (test === null) {
    return sql`${nameSql(table, column)} is null`;
  }
  if (typeof test === 'boolean') {
    return sql`${columnSql(table, column)} = ${raw(String(test))}`;
  }
  if (isAge(test)) {
    const age = ageSql(table, column, test);
    return test.orNull ? sql`(${age} or ${nameSql(table, column)} is null)` : age;
  }
  return valuesSql(table, column, test.in);
}

function ageSql(table: TestedTable, column: string, test: AgeTest): Sql {
  const moment = new Date(table.cutoff.getTime() - test.olderThanMs);
  const own = isPast(table, column, test, moment);
  if (test.plusSeconds === undefined) {
    return own;
  }
  // Numbers of PostgreSQL do not overflow as its times do. Negative seconds mean "never" as -1 does elsewhere, so a time
  // that is not past by itself is not past with them either, and an index on it serves.
  const seconds = columnSql(table, test.plusSeconds, 'pg_catalog.numeric');
  const isLocal = table.types.get(column)?.name === WITHOUT_ZONE;
  const boundMs = moment.getTime() + (isLocal ? leastOffsetMs(moment, table.timeZone) : 0);
  const start = test.epoch
    ? columnSql(table, column, 'pg_catalog.numeric')
    : sql`extract(epoch from ${columnSql(table, column)})`;
  const isOver =
    test.epoch === 'ms'
      ? sql`(${start} + (${seconds} * ${raw('1000')})) < ${bindSql(table, boundMs, 'numeric')}`
      : sql`(${start} + ${seconds}) < ${bindSql(table, boundMs / 1_000, 'numeric')}`;
  return sql`${own} and ${seconds} >= ${raw('0')} and ${isOver}`;
}

/** Whether the time in a column is before a moment. The column stands alone on its side, so that an index on it can serve. */
function isPast(table: TestedTable, column: string, { epoch }: AgeTest, moment: Date): Sql {
  const time = columnSql(table, column);
  const type = table.types.get(column)?.name;
  if (epoch) {
    const unitMs = epoch === 's' ? 1_000 : 1;
    const floor = EPOCH_FLOOR_S * (1_000 / unitMs);
    const bound = moment.getTime() / unitMs;
    // Of whole numbers, those below a fraction are those below the next whole number. Any of them compares with a bigint.
    const [number, limit] = type === 'numeric' ? (['numeric', bound] as const) : (['int8', Math.ceil(bound)] as const);
    return sql`${time} > ${bindSql(table, floor, number)} and ${time} < ${bindSql(table, limit, number)}`;
  }
  return sql`${time} < ${boundSql(table, type, moment)}${hasItsType(table, column)}`;
}

function boundSql(table: TestedTable, type: string | undefined, moment: Date): Sql {
  switch (type) {
    case WITHOUT_ZONE:
      return bindSql(table, localTime(moment, table.timeZone), 'timestamp');
    case 'date': {
      // The earlier of the two dates, so that the day has ended on both clocks.
      const [day = ''] = [localTime(moment), localTime(moment, table.timeZone)].sort();
      return bindSql(table, day.slice(0, 10), 'date');
    }
    default:
      return bindSql(table, moment.toISOString(), 'timestamptz');
  }
}

/**
 * Whether a column still has the type that was inspected: a migration may give it another one between two statements.
 * For an operator in place of the function, the planner would expect that one row in 200 has the type.
 */
function hasItsType(table: TestedTable, column: string): Sql {
  const { oid } = table.types.get(column) ?? {};
  if (!table.times || oid === undefined) {
    return raw('');
  }
  table.times.push({ table: table.oid, column, type: oid });
  const { text } = nameSql(table, column);
  return raw(` and not pg_catalog.oidne(pg_catalog.pg_typeof(${text}), ${oid}::pg_catalog.oid)`, '');
}

function valuesSql(table: TestedTable, column: string, listed: readonly (string | number)[]): Sql {
  const { quotedName = '', isLoose = false } = table.types.get(column) ?? {};
  // Varchar has no operators of its own. An integer of any size compares with a bigint, and its index serves.
  const comparable = quotedName === 'pg_catalog.varchar' ? 'pg_catalog.text' : quotedName;
  const listType = INTEGERS.has(quotedName) ? 'pg_catalog.int8' : comparable;
  const collation = isLoose ? raw(' collate pg_catalog."C"', '') : raw('');
  const list = raw(
    ` operator(pg_catalog.=) any ($${table.values.push(listed)}::${listType}[])`,
    ` in (${listed.map(literal).join(', ')})`,
  );
  return sql`${columnSql(table, column, comparable)}${collation}${list}`;
}

function nameSql(table: TestedTable, column: string): Sql {
  return raw(`${table.alias ?? ''}${quoteIdentifier(column)}`);
}

/** A column as its type: a domain could have operators of its own. */
function columnSql(table: TestedTable, name: string, quotedType = table.types.get(name)?.quotedName): Sql {
  const { text } = nameSql(table, name);
  return raw(`${text}::${quotedType}`, text);
}

function bindSql(table: TestedTable, value: string | number, type: string): Sql {
  return raw(
    `$${table.values.push(value)}::pg_catalog.${type}`,
    typeof value === 'number' ? String(value) : `${literal(value)}::${type}`,
  );
}

/** The name of the type whose values are moments only in a time zone. */
export const WITHOUT_ZONE = 'timestamp without time zone';

const INTEGERS = new Set(['pg_catalog.int2', 'pg_catalog.int4', 'pg_catalog.int8']);
