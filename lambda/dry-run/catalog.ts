import { sqlStateOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { quoteIdentifier, quoteTable } from '../engine/conditions/sql';

/** A table as the catalog describes it. */
export interface CatalogTable {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly CatalogColumn[];
}

export interface CatalogColumn {
  readonly name: string;
  /** As PostgreSQL prints it, such as `timestamp with time zone`; for a domain, its base type. */
  readonly type: string;
}

/** Reads the tables of applications: no partitions, and nothing that belongs to an extension. Any role may read all of it. */
export async function readCatalog(session: Queryable): Promise<readonly CatalogTable[]> {
  const { rows } = await session.query<CatalogTable>(`
    select
      listed.oid::int8::float8 as oid, nspname as schema, relname as table,
      (
        select coalesce(json_agg(json_build_object(
          'name', attname, 'type', format_type(case typtype when 'd' then typbasetype else atttypid end, null)
        ) order by attnum), '[]')
        from pg_attribute join pg_type on pg_type.oid = atttypid
        where attrelid = listed.oid and attnum > 0 and not attisdropped
      ) as columns
    from pg_class as listed join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'p') and not relispartition and relpersistence <> 't'
      and nspname not in ('pg_catalog', 'information_schema')
      and not exists (
        select from pg_depend where classid = 'pg_class'::regclass and objid = listed.oid and deptype = 'e'
      )
    order by nspname, relname`);
  return rows;
}

/** Reads the foreign keys that delete rows: a table, and the tables from which deletes cascade to it. */
export async function readCascades(session: Queryable): Promise<ReadonlyMap<number, readonly number[]>> {
  const { rows } = await session.query<{ child: number; parents: number[] }>(`
    select conrelid::int8::float8 as child, array_agg(distinct confrelid::int8::float8) as parents
    from pg_constraint
    where contype = 'f' and confdeltype = 'c' and conparentid = 0
    group by conrelid`);
  return new Map(rows.map(({ child, parents }) => [child, parents]));
}

/** The heap of a table with its partitions. */
export interface Size {
  readonly heapBytes: number;
  /** By the statistics of the server; null if it has none. */
  readonly rows: number | null;
}

/** Reads how large a table is. */
export async function readSize(session: Queryable, oid: number): Promise<Size> {
  const { rows } = await session.query<Size>(
    `select
       coalesce(sum(pg_relation_size(oid)), 0)::float8 as "heapBytes",
       sum(reltuples) filter (where reltuples >= 0)::float8 as rows
     from pg_class
     where relkind = 'r' and oid in (select $1::oid union select relid from pg_partition_tree($1::oid))`,
    [oid],
  );
  return rows[0] ?? { heapBytes: 0, rows: null };
}

/** Tables up to this size are read as a whole, in about a second; of larger ones, a random sample of this size. */
const READ_BYTES = 64 * 1024 ** 2;

/** The clause that reads a table or a random share of its blocks. */
export function sampleOf(
  schema: string,
  table: string,
  { heapBytes }: Size,
): { readonly sql: string; readonly share: number } {
  const share = Math.min(1, READ_BYTES / Math.max(1, heapBytes));
  const name = quoteTable(schema, table);
  return { share, sql: share < 1 ? `${name} tablesample system (${share * 100})` : name };
}

/** The values of a column of times, or of numbers that may be times. */
export interface Values {
  readonly count: number;
  /** Of numbers. */
  readonly median: number | null;
  /** The number of those in the future. */
  readonly future: number;
}

const VALUES_LIMITS = { statementTimeoutMs: 10_000, lockTimeoutMs: 500 };

/** Reads the range of the values of a column. A column that cannot be read has none. */
export async function readValues(
  session: Queryable,
  { oid, schema, table, columns }: CatalogTable,
  column: string,
  now: Date,
): Promise<Values> {
  const isNumber = columns.some(({ name, type }) => name === column && NUMBERS.includes(type));
  const value = quoteIdentifier(column);
  const ahead = isNumber
    ? `value > case when value >= 100000000000 then $1::float8 else $1::float8 / 1000 end`
    : `value > to_timestamp($1::float8 / 1000)`;
  try {
    const { rows } = await session.query<Values>(
      `select
         count(*)::float8 as count,
         ${isNumber ? 'percentile_disc(0.5) within group (order by value)::float8' : 'null'} as median,
         count(*) filter (where ${ahead})::float8 as future
       from (
         select ${value}${isNumber ? '::float8' : '::timestamptz'} as value
         from ${sampleOf(schema, table, await readSize(session, oid)).sql}
       ) as sample
       where value ${isNumber ? '> 100000000' : "> '-infinity'"}`,
      [now.getTime()],
      VALUES_LIMITS,
    );
    return rows[0] ?? NO_VALUES;
  } catch (error) {
    if (sqlStateOf(error) === undefined) {
      throw error;
    }
    return NO_VALUES;
  }
}

const NO_VALUES: Values = { count: 0, median: null, future: 0 };

export const NUMBERS: readonly string[] = ['integer', 'bigint', 'numeric'];
