import type { ColumnTest, Rule, Target } from '../../lambda/configuration/targets';
import { quoteIdentifier } from '../../lambda/engine/condition';

/**
 * The rules of a target as SQL for people to read, a rule each. It is not what the function executes, so that it can be
 * held against that.
 *
 * @param now the moment that ages count back from, as SQL of type `timestamptz`; the session's time zone must be UTC
 */
export function ruleSql(target: Target, now = 'now()'): string[] {
  return target.deleteWhen.map((rule: Rule) =>
    Object.entries(rule)
      .map(([column, test]) => `${readable(column)} ${testSql(test, now)}`)
      .join(' and '),
  );
}

/** The table of a target, likewise. */
export function tableSql({ schema, table }: Target): string {
  return `${readable(schema)}.${readable(table)}`;
}

function testSql(test: ColumnTest, now: string): string {
  if (typeof test === 'boolean') {
    return `= ${test}`;
  }
  return test.olderThanMs === 0 ? `< ${now}` : `< ${now} - interval '${ageOf(test.olderThanMs)}'`;
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

/** Quotes only what has to be, but for reserved words, which nobody misreads here. */
function readable(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : quoteIdentifier(name);
}
