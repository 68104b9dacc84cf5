import type { Queryable } from '../../database/queryable';
import type { ReferringKey } from '../conditions/referring-key';
import { quotedNameSql } from '../conditions/sql';

/** A foreign key in the catalog. */
export interface Key extends Omit<ReferringKey, 'isSelf' | 'next'> {
  /** The oids of the table that it points at, and of its partitions. */
  readonly pointsAt: readonly number[];
  /** The table that refers, with its partitions. */
  readonly referring: readonly number[];
  /** The name of the table that refers, and the names of its columns. */
  readonly table: string;
  readonly tableColumns: readonly string[];
  /** The columns that `set null` and `set default` change. */
  readonly changes: readonly string[];
  readonly createIndex: string;
}

/** For 1,000 tables with a key each, the query took about 2 s; for 5,000, longer than the 30 s that it may take. */
const TABLES_AT_ONCE = 250;

/** Reads the keys that point at some tables, and those behind a cascade. */
export async function readKeys(session: Queryable, oids: readonly number[]): Promise<Key[]> {
  const keys = new Map<string, Key>();
  for (let at = 0; at < oids.length; at += TABLES_AT_ONCE) {
    const { rows } = await session.query<Key>(FOREIGN_KEYS_SQL, [oids.slice(at, at + TABLES_AT_ONCE)]);
    for (const key of rows) {
      // A key may point at tables of several slices. Each slice knows only whether the role can read its own.
      const id = `${key.oid} ${key.constraint}`;
      const known = keys.get(id);
      const pointsAt = new Set([...(known?.pointsAt ?? []), ...key.pointsAt]);
      keys.set(id, { ...key, pointsAt: [...pointsAt], canRead: key.canRead && (known?.canRead ?? true) });
    }
  }
  return [...keys.values()];
}

// A key of a partitioned table has clones that point at each partition, and clones of each partition that refers. Only the
// first of the family is listed, under all tables that it points at. Features of later versions are read through JSON: keys
// that are not enforced, keys of periods (which compare by containment), and lists of columns to set. An index of a
// partitioned table cannot be created concurrently.
const FOREIGN_KEYS_SQL = `
  with recursive
  partition as (
    select inhparent as parent, inhrelid as oid
    from pg_inherits join pg_class on pg_class.oid = inhrelid
    where relispartition
  ),
  step as materialized (
    select confrelid as source, conrelid as oid from pg_constraint where contype = 'f' and confdeltype = 'c'
    union
    select parent, oid from partition
  ),
  reached as (
    select unnest($1::oid[]) as oid
    union
    select step.oid from reached join step on step.source = reached.oid
  ),
  family as (
    select oid as member, oid, conparentid as parent, confrelid as points_at
    from pg_constraint
    where contype = 'f' and confrelid in (select oid from reached)
    union all
    select member, elder.oid, elder.conparentid, points_at
    from family join pg_constraint as elder on elder.oid = family.parent
  ),
  key as (
    select
      pg_constraint.*, to_jsonb(pg_constraint) as json,
      (select array_agg(distinct points_at) from family where family.oid = pg_constraint.oid) as points_at
    from pg_constraint
    where oid in (select oid from family where parent = 0)
      and to_jsonb(pg_constraint) ->> 'conenforced' is distinct from 'false'
  ),
  part as (
    select distinct conrelid as root, conrelid as oid from key
    union
    select root, partition.oid from part join partition on partition.parent = part.oid
  ),
  pair as (
    select key.oid as key, position, referring.attname as referring, referred.attname as referred, referring.attnum,
      compare.oprname, compare.oprnamespace::regnamespace as schema, referred.attnum as referred_attnum
    from key
    cross join lateral unnest(conkey, confkey, conpfeqop) with ordinality as listed (conkey, confkey, compare, position)
    join pg_attribute as referring on referring.attrelid = conrelid and referring.attnum = listed.conkey
    join pg_attribute as referred on referred.attrelid = confrelid and referred.attnum = listed.confkey
    join pg_operator as compare on compare.oid = listed.compare
  ),
  side as (
    select key, array_agg(referring order by position) as columns from pair group by key
  ),
  indexed as (
    select key.oid as key, part.oid
    from key join side on side.key = key.oid join part on part.root = conrelid
    where exists (
      select from pg_index
      join pg_class as index on index.oid = indexrelid
      join pg_am on pg_am.oid = index.relam and amname in ('btree', 'hash')
      where indrelid = part.oid and indisvalid
        and columns <@ (
          select array_agg(attname) from unnest(indkey) with ordinality as listed (attnum, position)
          join pg_attribute on attrelid = indrelid and pg_attribute.attnum = listed.attnum
          where position <= cardinality(columns)
        )
        and (
          indpred is null
          or string_to_array(btrim(pg_get_expr(indpred, indrelid), '()'), ') AND (')
            <@ array(select quote_ident(name) || ' IS NOT NULL' from unnest(columns) as name)
        )
    )
  )
  select
    conname as constraint, ${quotedNameSql()} as "quotedTable",
    conrelid::int8::float8 as oid, relname::text as table,
    array(
      select attname::text from pg_attribute where attrelid = conrelid and attnum > 0 and not attisdropped
    ) as "tableColumns",
    case confdeltype
      when 'a' then 'no action' when 'r' then 'restrict' when 'c' then 'cascade' when 'n' then 'set null'
      else 'set default' end as "onDelete",
    (
      select json_agg(json_build_object(
        'referring', quote_ident(referring), 'referred', quote_ident(referred),
        'equals', format('operator(%s.%s)', schema, oprname)
      ) order by position)
      from pair where pair.key = key.oid
    ) as columns,
    array(select unnest(points_at)::int8::float8) as "pointsAt",
    array(select part.oid::int8::float8 from part where root = conrelid) as referring,
    case when confdeltype in ('n', 'd') then array(
      select attname::text from pg_attribute
      where attrelid = conrelid and attnum = any(
        case jsonb_typeof(json -> 'confdelsetcols')
          when 'array' then array(select jsonb_array_elements_text(json -> 'confdelsetcols')::int2)
          else conkey end
      )
    ) else '{}' end as changes,
    json ->> 'conperiod' is distinct from 'true'
      and has_schema_privilege(relnamespace, 'usage')
      and not row_security_active(conrelid)
      and (
        select bool_and(has_column_privilege(conrelid, pair.attnum, 'select'))
        from pair where pair.key = key.oid
      )
      and (
        select coalesce(bool_and(has_column_privilege(heap.oid, pair.referred::text, 'select')), false)
        from pair, unnest(points_at) as pointed join pg_class as heap on heap.oid = pointed
        where pair.key = key.oid and heap.relkind = 'r'
      ) as "canRead",
    row_security_active(conrelid) or json ->> 'conperiod' is not distinct from 'true' as "hidesRows",
    exists (select from indexed where indexed.key = key.oid and indexed.oid = conrelid)
      or relkind = 'p' and (
        select bool_and(indexed.oid is not null)
        from part join pg_class as leaf on leaf.oid = part.oid and leaf.relkind = 'r'
        left join indexed on indexed.key = key.oid and indexed.oid = part.oid
        where part.root = conrelid
      ) is true as "hasIndex",
    format(
      'create index %son %s (%s)', case relkind when 'p' then '' else 'concurrently ' end, conrelid::regclass,
      (select string_agg(quote_ident(referring), ', ' order by position) from pair where pair.key = key.oid)
    ) as "createIndex"
  from key
  join pg_class on pg_class.oid = conrelid
  join pg_namespace on pg_namespace.oid = relnamespace
  order by conrelid::regclass::text, conname`;
