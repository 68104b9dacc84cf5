import { type AgeTest, isAge, type Target } from '../configuration/targets';
import { WITHOUT_ZONE } from '../engine/conditions/column-tests';
import { quoteIdentifier, quoteLiteral } from '../engine/conditions/sql';
import type { Table } from '../engine/purge';

/** An age in a rule of a target. */
export interface Age {
  /** Of the rule, in the order of the target. */
  readonly rule: number;
  readonly column: string;
  readonly test: AgeTest;
}

export function agesOf({ deleteWhen }: Target): Age[] {
  return deleteWhen.flatMap((tests, rule) =>
    Object.entries(tests).flatMap(([column, test]) => (isAge(test) ? [{ rule, column, test }] : [])),
  );
}

/** The values of the column of an age, in the rows that meet its rule. */
export interface ValuesOfAge extends Age {
  /** The number of rows with a value that often stands for "never". */
  readonly odd: number;
  /** As ISO text; undefined if no row meets the rule. */
  readonly oldest: string | undefined;
  readonly youngest: string | undefined;
}

/** Collects the values of all ages of a target while its rows are counted. */
export class AgeValues {
  /** Numbers to add up, as SQL by name. */
  readonly counts: Readonly<Record<string, string>>;
  /** Numbers that are not added up. */
  readonly columns: Readonly<Record<string, string>>;
  readonly #ages: readonly (Age & { least: number; greatest: number })[];

  constructor({ target, inspected, options }: Table) {
    this.#ages = agesOf(target).map((age) => ({
      ...age,
      least: Number.POSITIVE_INFINITY,
      greatest: Number.NEGATIVE_INFINITY,
    }));
    const counts: [string, string][] = [];
    const columns: [string, string][] = [];
    for (const [index, { rule, column, test }] of this.#ages.entries()) {
      const value = `visited.${quoteIdentifier(column)}`;
      const met = options.condition.rules[rule]?.text;
      const isLocal = inspected.columnTypes.get(column)?.name === WITHOUT_ZONE;
      const zone = isLocal ? target.timeZone : undefined;
      const isOddTime = test.epoch ? 'false' : isOdd(value);
      counts.push([`odd ${index}`, `pg_catalog.count(*) filter (where ${met} and ${isOddTime})`]);
      columns.push(
        [`least ${index}`, asMs(`pg_catalog.min(${value}) filter (where ${met})`, test, zone)],
        [`greatest ${index}`, asMs(`pg_catalog.max(${value}) filter (where ${met})`, test, zone)],
      );
    }
    this.counts = Object.fromEntries(counts);
    this.columns = Object.fromEntries(columns);
  }

  /** Takes the values of a piece. */
  add(values: Readonly<Record<string, unknown>>): void {
    for (const [index, age] of this.#ages.entries()) {
      const { [`least ${index}`]: least, [`greatest ${index}`]: greatest } = values;
      if (typeof least === 'number' && typeof greatest === 'number') {
        age.least = Math.min(age.least, least);
        age.greatest = Math.max(age.greatest, greatest);
      }
    }
  }

  /** @param total the sum of one of the {@link counts} */
  read(total: (name: string) => number): ValuesOfAge[] {
    return this.#ages.map(({ least, greatest, ...age }, index) => {
      const [oldest, youngest] = least <= greatest ? [isoOf(least), isoOf(greatest)] : [];
      return { ...age, odd: total(`odd ${index}`), oldest, youngest };
    });
  }
}

function isOdd(value: string): string {
  const equals = `${value} operator(pg_catalog.=)`;
  return `(${value} operator(pg_catalog.<) '0002-01-01' or ${equals} '1970-01-01' or ${equals} '2000-01-01')`;
}

/** @param zone of a time without one, unless that is UTC */
function asMs(value: string, { epoch }: AgeTest, zone: string | undefined): string {
  const moment = zone ? `pg_catalog.timezone(${quoteLiteral(zone)}, ${value})` : value;
  const number = epoch ? `(${value})::pg_catalog.numeric` : `extract(epoch from ${moment})::pg_catalog.numeric`;
  const factor = epoch === 'ms' ? '1' : '1000';
  return `((${number}) operator(pg_catalog.*) ${factor}::pg_catalog.numeric)::pg_catalog.float8`;
}

/** PostgreSQL has earlier and later times than JavaScript, and infinite ones. */
function isoOf(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms < 0 ? '-' : ''}infinity` : date.toISOString();
}
