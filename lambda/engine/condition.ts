import { type AgeTest, type ColumnTest, columnsIn, isAge, isReference, type Target } from '../configuration/targets';
import { leastOffsetMs, localTime } from './local-time';
import { joinSql, literal, quoteIdentifier, raw, type Sql, sql } from './sql';

/** A boolean SQL expression, and the values of its parameters `$1` and on. */
export interface Condition {
  readonly text: string;
  readonly values: readonly unknown[];
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

/** The type of a column; of a domain, the type that it stands on. */
export interface ColumnType {
  /** As PostgreSQL prints it, such as `timestamp with time zone`. */
  readonly name: string;
  /** With its schema, such as `pg_catalog.timestamptz`. */
  readonly quotedName: string;
  /** The values of an enum; null for other types. */
  readonly labels: readonly string[] | null;
  /** Whether texts that differ may be equal, by a nondeterministic collation. */
  readonly isLoose: boolean;
}

/**
 * Turns the rules of a target into SQL. NULL matches no test but `null` and `orNull`.
 *
 * @param cutoff the moment that ages count back from
 * @param types the type of each column that the rules name
 */
export function conditionOf(target: Target, cutoff: Date, types: ReadonlyMap<string, ColumnType>): DeadRows {
  const values: unknown[] = [];
  const rules = target.deleteWhen.map((rule) => {
    const tests = new Tests(cutoff, target.timeZone, types, values);
    return joinSql(
      Object.entries(rule).map(([column, test]) => tests.sql(column, test)),
      ' and ',
    );
  });
  return { text: `(${rules.map(({ text }) => `(${text})`).join(' or ')})`, values, rules };
}

// Zero, one and minus one stand for "never" in real systems. And where seconds are declared as milliseconds, or the other
// way round, nothing matches instead of everything: this is March 1973.
const EPOCH_FLOOR_S = 100_000_000;

/** The tests of one rule. */
class Tests {
  constructor(
    readonly cutoff: Date,
    readonly timeZone: string | undefined,
    readonly types: ReadonlyMap<string, ColumnType>,
    /** The parameters so far; each test adds its own. */
    readonly values: unknown[],
  ) {}

  sql(column: string, test: ColumnTest): Sql {
    if (test === null) {
      return sql`${raw(quoteIdentifier(column))} is null`;
    }
    if (typeof test === 'boolean') {
      return sql`${this.#column(column)} = ${raw(String(test))}`;
    }
    if (isAge(test)) {
      const age = this.#age(column, test);
      return test.orNull ? sql`(${age} or ${raw(quoteIdentifier(column))} is null)` : age;
    }
    if (isReference(test)) {
      throw new Error('refersTo is not supported yet');
    }
    return this.#values(column, test.in);
  }

  #age(column: string, test: AgeTest): Sql {
    const moment = new Date(this.cutoff.getTime() - test.olderThanMs);
    const own = this.#isPast(column, test, moment);
    if (test.plusSeconds === undefined) {
      return own;
    }
    // Numbers of PostgreSQL do not overflow as its times do. Negative seconds mean "never" as -1 does elsewhere, so a time
    // that is not past by itself is not past with them either, and an index on it serves.
    const seconds = this.#column(test.plusSeconds, 'pg_catalog.numeric');
    const isLocal = this.types.get(column)?.name === WITHOUT_ZONE;
    const boundMs = moment.getTime() + (isLocal ? leastOffsetMs(moment, this.timeZone) : 0);
    const start = test.epoch
      ? this.#column(column, 'pg_catalog.numeric')
      : sql`extract(epoch from ${this.#column(column)})`;
    const isOver =
      test.epoch === 'ms'
        ? sql`(${start} + (${seconds} * ${raw('1000')})) < ${this.#bind(boundMs, 'numeric')}`
        : sql`(${start} + ${seconds}) < ${this.#bind(boundMs / 1_000, 'numeric')}`;
    return sql`${own} and ${seconds} >= ${raw('0')} and ${isOver}`;
  }

  /** Whether the time in a column is before a moment. The column stands alone on its side, so that its index serves. */
  #isPast(column: string, { epoch }: AgeTest, moment: Date): Sql {
    const time = this.#column(column);
    const type = this.types.get(column)?.name;
    if (epoch) {
      const unitMs = epoch === 's' ? 1_000 : 1;
      const floor = EPOCH_FLOOR_S * (1_000 / unitMs);
      const bound = moment.getTime() / unitMs;
      // Of whole numbers, those below a fraction are those below the next whole number. Any of them compares with a bigint.
      const [number, limit] =
        type === 'numeric' ? (['numeric', bound] as const) : (['int8', Math.ceil(bound)] as const);
      return sql`${time} > ${this.#bind(floor, number)} and ${time} < ${this.#bind(limit, number)}`;
    }
    switch (type) {
      case WITHOUT_ZONE:
        return sql`${time} < ${this.#bind(localTime(moment, this.timeZone), 'timestamp')}`;
      case 'date': {
        // The day of the earlier clock: the end of a day is past by both.
        const [day = ''] = [localTime(moment), localTime(moment, this.timeZone)].sort();
        return sql`${time} < ${this.#bind(day.slice(0, 10), 'date')}`;
      }
      default:
        return sql`${time} < ${this.#bind(moment.toISOString(), 'timestamptz')}`;
    }
  }

  #values(column: string, listed: readonly (string | number)[]): Sql {
    const { quotedName = '', isLoose = false } = this.types.get(column) ?? {};
    // Varchar has no operators of its own. An integer of any size compares with a bigint, and its index serves.
    const comparable = quotedName === 'pg_catalog.varchar' ? 'pg_catalog.text' : quotedName;
    const listType = INTEGERS.has(quotedName) ? 'pg_catalog.int8' : comparable;
    const collation = isLoose ? raw(' collate pg_catalog."C"', '') : raw('');
    const list = raw(
      ` operator(pg_catalog.=) any ($${this.values.push(listed)}::${listType}[])`,
      ` in (${listed.map(literal).join(', ')})`,
    );
    return sql`${this.#column(column, comparable)}${collation}${list}`;
  }

  /** A column as its type: a domain could have operators of its own. */
  #column(name: string, quotedType = this.types.get(name)?.quotedName): Sql {
    const quoted = quoteIdentifier(name);
    return raw(`${quoted}::${quotedType}`, quoted);
  }

  #bind(value: string | number, type: string): Sql {
    return raw(
      `$${this.values.push(value)}::pg_catalog.${type}`,
      typeof value === 'number' ? String(value) : `${literal(value)}::${type}`,
    );
  }
}

const WITHOUT_ZONE = 'timestamp without time zone';

const INTEGERS = new Set(['pg_catalog.int2', 'pg_catalog.int4', 'pg_catalog.int8']);

/** The columns of the table itself that the rules of a target read. */
export function columnsOf(target: Target): string[] {
  return [...new Set(target.deleteWhen.flatMap(columnsIn))];
}
