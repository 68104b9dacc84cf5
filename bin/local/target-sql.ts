import {
  type AgeTest,
  type ColumnTest,
  isAge,
  isReference,
  type Rule,
  type Target,
} from '../../lambda/configuration/targets';
import { quoteIdentifier } from '../../lambda/engine/conditions/sql';

/**
 * The rules of a target as readable SQL, one condition for each rule. Written independently of the SQL that the function
 * executes, so that the two can be compared.
 *
 * @param now the cutoff, as SQL of type `timestamptz`; the session's time zone must be UTC
 */
export function ruleSql(target: Target, now = 'now()'): string[] {
  return target.deleteWhen.map((rule) => testsSql(rule, now));
}

/** The table of a target as readable SQL. */
export function tableSql({ schema, table }: Target): string {
  return `${readable(schema)}.${readable(table)}`;
}

function testsSql(rule: Rule, now: string): string {
  return Object.entries(rule)
    .map(([column, test]) => testSql(readable(column), test, now))
    .join(' and ');
}

function testSql(column: string, test: ColumnTest, now: string): string {
  if (test === null) {
    return `${column} is null`;
  }
  if (typeof test === 'boolean') {
    return `${column} = ${test}`;
  }
  if (isAge(test)) {
    const isPast = pastSql(
      column,
      test,
      test.olderThanMs === 0 ? now : `${now} - interval '${ageOf(test.olderThanMs)}'`,
    );
    return test.orNull ? `(${isPast} or ${column} is null)` : isPast;
  }
  if (isReference(test)) {
    return `${column} refers to (${testsSql(test.refersTo, now)})`;
  }
  return `${column} in (${test.in.map((value) => (typeof value === 'number' ? value : `'${value.replaceAll("'", "''")}'`)).join(', ')})`;
}

function pastSql(column: string, { epoch, plusSeconds }: AgeTest, moment: string): string {
  const seconds = plusSeconds === undefined ? undefined : readable(plusSeconds);
  const isLifetime = seconds === undefined ? '' : `${seconds} >= 0 and `;
  if (epoch) {
    const [floor, factor] = epoch === 's' ? ['100000000', ''] : ['100000000000', ' * 1000'];
    const end = seconds === undefined ? column : `${column} + ${seconds}${factor}`;
    return `${column} > ${floor} and ${isLifetime}${end} < extract(epoch from ${moment})${factor}`;
  }
  return `${isLifetime}${column}${seconds === undefined ? '' : ` + ${seconds} * interval '1 second'`} < ${moment}`;
}

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
] as const;

function ageOf(ms: number): string {
  const [unit, unitMs] = UNITS.find(([, size]) => ms % size === 0) ?? ['millisecond', 1];
  const amount = ms / unitMs;
  return `${amount} ${unit}${amount === 1 ? '' : 's'}`;
}

/** Quotes a name if it needs quotes. Reserved words stay bare, since people read them correctly. */
function readable(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : quoteIdentifier(name);
}
