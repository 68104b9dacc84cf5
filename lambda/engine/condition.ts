import type { Rule, Target } from '../configuration/targets';

/** A boolean SQL expression, and the values of its parameters `$1` and on. */
export interface Condition {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** The types that a column of a rule may have. */
export type ColumnType = 'boolean' | 'timestamp with time zone' | 'timestamp without time zone';

/** Why a column cannot be tested so, worded to follow the column's name, or nothing when it can. */
export function misfit(test: Rule[string], type: string): string | undefined {
  const usable: readonly string[] =
    typeof test === 'boolean' ? ['boolean'] : ['timestamp with time zone', 'timestamp without time zone'];
  return usable.includes(type) ? undefined : `must be of type ${usable.join(' or ')}, is ${type}`;
}

/** The condition that dead rows meet, and what it is made of. */
export interface DeadRows extends Condition {
  readonly rules: readonly RuleCondition[];
}

/** One of the rules, which are joined by OR. */
export interface RuleCondition {
  /** A boolean SQL expression with the parameters of the whole condition. */
  readonly text: string;
  /** The same for people, without parameters. */
  readonly readable: string;
}

/**
 * Turns the rules of a target into SQL. NULL matches no test.
 *
 * @param cutoff the moment that ages count back from
 * @param types the type of each column that the rules name
 */
export function conditionOf(target: Target, cutoff: Date, types: ReadonlyMap<string, ColumnType>): DeadRows {
  const values: string[] = [];
  const moment = (ageMs: number) => new Date(cutoff.getTime() - ageMs).toISOString();
  const rules = target.deleteWhen.map((rule) => ({
    text: ruleSql(rule, types, (ageMs) => `$${values.push(moment(ageMs))}`),
    readable: ruleSql(rule, types, (ageMs) => `'${moment(ageMs)}'`),
  }));
  return { text: `(${rules.map(({ text }) => `(${text})`).join(' or ')})`, values, rules };
}

/** @param momentSql what lies that long before the cutoff */
function ruleSql(rule: Rule, types: ReadonlyMap<string, ColumnType>, momentSql: (ageMs: number) => string): string {
  const tests = Object.entries(rule).map(([column, test]) => {
    const quotedColumn = quoteIdentifier(column);
    if (typeof test === 'boolean') {
      return `${quotedColumn} = ${test}`;
    }
    const moment = `${momentSql(test.olderThanMs)}::timestamptz`;
    // Services that keep timestamps without a zone write UTC there; no zone of a server or a role may reinterpret them.
    return types.get(column) === 'timestamp without time zone'
      ? `${quotedColumn} < (${moment} at time zone 'UTC')`
      : `${quotedColumn} < ${moment}`;
  });
  return tests.join(' and ');
}

/** The columns that the rules of a target test. */
export function columnsOf(target: Target): string[] {
  return [...new Set(target.deleteWhen.flatMap(Object.keys))];
}

/** A table as SQL text. */
export function quoteTable(schema: string, table: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`;
}

/** An identifier as SQL text. Whatever it holds, it stays one name. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
