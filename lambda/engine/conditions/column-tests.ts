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

export interface TestContext {
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

/** Turns tests of the columns of a table into SQL. */
export class ColumnTests {
  readonly #context: TestContext;
  readonly #types: ColumnTypes;
  readonly #alias: string;
  readonly #table: number | undefined;

  /**
   * @param alias the name of another table in the statement, with a dot; nothing if its columns stand alone
   * @param table the oid of that other table
   */
  constructor(context: TestContext, types: ColumnTypes, alias: '' | `${string}.` = '', table?: number) {
    this.#context = context;
    this.#types = types;
    this.#alias = alias;
    this.#table = table;
  }

  sql(column: string, test: Exclude<ColumnTest, ReferenceTest>): Sql {
    if (test === null) {
      return sql`${this.#name(column)} is null`;
    }
    if (typeof test === 'boolean') {
      return sql`${this.#column(column)} = ${raw(String(test))}`;
    }
    if (isAge(test)) {
      const age = this.#age(column, test);
      return test.orNull ? sql`(${age} or ${this.#name(column)} is null)` : age;
    }
    return this.#values(column, test.in);
  }

  #age(column: string, test: AgeTest): Sql {
    const moment = new Date(this.#context.cutoff.getTime() - test.olderThanMs);
    const own = this.#isPast(column, test, moment);
    if (test.plusSeconds === undefined) {
      return own;
    }
    // Numbers of PostgreSQL do not overflow as its times do. Negative seconds mean "never" as -1 does elsewhere, so a time
    // that is not past by itself is not past with them either, and an index on it serves.
    const seconds = this.#column(test.plusSeconds, 'pg_catalog.numeric');
    const isLocal = this.#types.get(column)?.name === WITHOUT_ZONE;
    const boundMs = moment.getTime() + (isLocal ? leastOffsetMs(moment, this.#context.timeZone) : 0);
    const start = test.epoch
      ? this.#column(column, 'pg_catalog.numeric')
      : sql`extract(epoch from ${this.#column(column)})`;
    const isOver =
      test.epoch === 'ms'
        ? sql`(${start} + (${seconds} * ${raw('1000')})) < ${this.#bind(boundMs, 'numeric')}`
        : sql`(${start} + ${seconds}) < ${this.#bind(boundMs / 1_000, 'numeric')}`;
    return sql`${own} and ${seconds} >= ${raw('0')} and ${isOver}`;
  }

  /** Whether the time in a column is before a moment. The column stands alone on its side, so that an index on it can serve. */
  #isPast(column: string, { epoch }: AgeTest, moment: Date): Sql {
    const time = this.#column(column);
    const type = this.#types.get(column)?.name;
    if (epoch) {
      const unitMs = epoch === 's' ? 1_000 : 1;
      const floor = EPOCH_FLOOR_S * (1_000 / unitMs);
      const bound = moment.getTime() / unitMs;
      // Of whole numbers, those below a fraction are those below the next whole number. Any of them compares with a bigint.
      const [number, limit] =
        type === 'numeric' ? (['numeric', bound] as const) : (['int8', Math.ceil(bound)] as const);
      return sql`${time} > ${this.#bind(floor, number)} and ${time} < ${this.#bind(limit, number)}`;
    }
    return sql`${time} < ${this.#bound(type, moment)}${this.#hasItsType(column)}`;
  }

  #bound(type: string | undefined, moment: Date): Sql {
    switch (type) {
      case WITHOUT_ZONE:
        return this.#bind(localTime(moment, this.#context.timeZone), 'timestamp');
      case 'date': {
        // The earlier of the two dates, so that the day has ended on both clocks.
        const [day = ''] = [localTime(moment), localTime(moment, this.#context.timeZone)].sort();
        return this.#bind(day.slice(0, 10), 'date');
      }
      default:
        return this.#bind(moment.toISOString(), 'timestamptz');
    }
  }

  /**
   * Whether a column still has the type that was inspected: a migration may give it another one between two statements.
   * For an operator in place of the function, the planner would expect that one row in 200 has the type.
   */
  #hasItsType(column: string): Sql {
    const { oid } = this.#types.get(column) ?? {};
    if (!this.#context.times || oid === undefined) {
      return raw('');
    }
    this.#context.times.push({ table: this.#table, column, type: oid });
    const { text } = this.#name(column);
    return raw(` and not pg_catalog.oidne(pg_catalog.pg_typeof(${text}), ${oid}::pg_catalog.oid)`, '');
  }

  #values(column: string, listed: readonly (string | number)[]): Sql {
    const { quotedName = '', isLoose = false } = this.#types.get(column) ?? {};
    // Varchar has no operators of its own. An integer of any size compares with a bigint, and its index serves.
    const comparable = quotedName === 'pg_catalog.varchar' ? 'pg_catalog.text' : quotedName;
    const listType = INTEGERS.has(quotedName) ? 'pg_catalog.int8' : comparable;
    const collation = isLoose ? raw(' collate pg_catalog."C"', '') : raw('');
    const list = raw(
      ` operator(pg_catalog.=) any ($${this.#context.values.push(listed)}::${listType}[])`,
      ` in (${listed.map(literal).join(', ')})`,
    );
    return sql`${this.#column(column, comparable)}${collation}${list}`;
  }

  #name(column: string): Sql {
    return raw(`${this.#alias}${quoteIdentifier(column)}`);
  }

  /** A column as its type: a domain could have operators of its own. */
  #column(name: string, quotedType = this.#types.get(name)?.quotedName): Sql {
    const { text } = this.#name(name);
    return raw(`${text}::${quotedType}`, text);
  }

  #bind(value: string | number, type: string): Sql {
    return raw(
      `$${this.#context.values.push(value)}::pg_catalog.${type}`,
      typeof value === 'number' ? String(value) : `${literal(value)}::${type}`,
    );
  }
}

/** The name of the type whose values are moments only in a time zone. */
export const WITHOUT_ZONE = 'timestamp without time zone';

const INTEGERS = new Set(['pg_catalog.int2', 'pg_catalog.int4', 'pg_catalog.int8']);
