import { quoteIdentifier, quoteLiteral } from '../conditions/sql';
import { type AgeTest, isAge } from '../configuration/targets';
import { isDead } from '../engine/deletion';
import type { Table } from '../engine/purge';

/** Finds the oldest value that the first age of each rule matches. */
export class OldestValues {
  /** As SQL, by name. */
  readonly columns: Readonly<Record<string, string>>;
  readonly #ages: readonly (readonly [column: string, test: AgeTest] | undefined)[];
  readonly #leastMs: (number | undefined)[];

  constructor({ target, inspected, options }: Table) {
    this.#ages = target.deleteWhen.map((rule) =>
      Object.entries(rule)
        .flatMap(([column, test]) => (isAge(test) ? [[column, test] as const] : []))
        .at(0),
    );
    this.#leastMs = this.#ages.map(() => undefined);
    const entries = this.#ages.flatMap((age, index) => {
      const rule = options.condition.rules[index];
      if (!age || !rule) {
        return [];
      }
      const [column, { epoch }] = age;
      const least = `pg_catalog.min(visited.${quoteIdentifier(column)}) filter (where ${isDead({ ...rule, values: [] })})`;
      const isLocal = inspected.columnTypes.get(column)?.name === 'timestamp without time zone';
      const zone = isLocal && target.timeZone;
      const moment = zone ? `pg_catalog.timezone(${quoteLiteral(zone)}, ${least})` : least;
      const ms = epoch === 'ms' ? '1' : '1000';
      const number = epoch ? `(${least})::pg_catalog.numeric` : `extract(epoch from ${moment})::pg_catalog.numeric`;
      return [[`oldest ${index}`, `((${number}) operator(pg_catalog.*) ${ms}::pg_catalog.numeric)::pg_catalog.float8`]];
    });
    this.columns = Object.fromEntries(entries);
  }

  /** Takes the values of a piece. */
  add(values: Readonly<Record<string, unknown>>): void {
    this.#leastMs.forEach((known, index) => {
      const value = values[`oldest ${index}`];
      if (typeof value === 'number') {
        this.#leastMs[index] = Math.min(known ?? Number.POSITIVE_INFINITY, value);
      }
    });
  }

  /** As ISO text, in the order of the rules; undefined if there is none. */
  get byRule(): readonly (string | undefined)[] {
    return this.#leastMs.map((ms) => (ms !== undefined ? isoOf(ms) : undefined));
  }
}

/** PostgreSQL has earlier and later times than JavaScript, and infinite ones. */
function isoOf(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms < 0 ? '-' : ''}infinity` : date.toISOString();
}
