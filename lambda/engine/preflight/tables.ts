import type { Target } from '../../configuration/targets';
import { alike } from '../../configuration/validation';
import { type Queryable, rowsIf } from '../../database/queryable';
import { takingKeysOf } from '../conditions/relation';
import { quotedNameSql, quoteTable } from '../conditions/sql';

/** A table in the catalog. */
export interface Member {
  readonly oid: number;
  readonly quotedName: string;
  readonly kind: string;
  /** Null if it has no storage. */
  readonly accessMethod: string | null;
  /** Whether it is the table that the target names, not a partition or another child of it. */
  readonly isRoot: boolean;
  /** Whether it is a part of another table. */
  readonly isPartition: boolean;
  /** Whether it has triggers, or had some: those of foreign keys on either side are among them. */
  readonly hasTriggers: boolean;
  /** Stands for the foreign keys that delete or change the rows that refer to a deleted one. */
  readonly takingKeys: number;
  /** Whether it has row security, or may be published with its deletes. */
  readonly isGuarded: boolean;
}

/** The table of a target, with its partitions and other children. */
export interface TargetTable {
  readonly target: Target;
  readonly root: Member;
  readonly members: readonly Member[];
  /** The members that hold rows. */
  readonly heaps: readonly Member[];
}

/** Looks the tables of the targets up. A table that does not exist is left out. */
export async function readTables(session: Queryable, targets: readonly Target[]): Promise<Map<Target, TargetTable>> {
  const { rows } = await session.query<Member & { readonly target: number }>(MEMBERS_SQL, [
    targets.map(({ schema }) => schema),
    targets.map(({ table }) => table),
  ]);
  const membersOf = targets.map((): Member[] => []);
  for (const { target, ...member } of rows) {
    membersOf[target]?.push(member);
  }
  return new Map(
    targets.flatMap((target, index) => {
      const members = membersOf[index] ?? [];
      const heaps = members.filter(({ kind }) => kind !== 'p');
      return members.filter(({ isRoot }) => isRoot).map((root) => [target, { target, root, members, heaps }] as const);
    }),
  );
}

// Both partitions and children by INHERITS are rows of pg_inherits. A DELETE without ONLY would reach them all, except for
// temporary tables of other sessions and for partitions that are being detached. Schemas are looked up first: thousands of
// them have tables of the same name, each of which would be joined with each.
const MEMBERS_SQL = `
  with recursive named as materialized (
    select position, pg_namespace.oid as schema_oid, table_name
    from unnest($1::name[], $2::name[]) with ordinality as listed (schema_name, table_name, position)
    join pg_namespace on nspname = schema_name
  ),
  member as (
    select position - 1 as target, pg_class.oid, true as is_root
    from named join pg_class on relnamespace = schema_oid and relname = table_name
    where relkind not in ('i', 'I', 'S', 't', 'c')
    union
    select target, inhrelid, false
    from member
    join pg_inherits on inhparent = member.oid and not inhdetachpending
    join pg_class on pg_class.oid = inhrelid and not pg_is_other_temp_schema(relnamespace)
  )
  select
    target::int4 as target, member.oid::int8::float8 as oid, ${quotedNameSql()} as "quotedName", relkind as kind,
    amname as "accessMethod", is_root as "isRoot", relispartition as "isPartition", relhastriggers as "hasTriggers",
    (${takingKeysOf('member.oid')})::float8 as "takingKeys",
    relrowsecurity or exists (select from pg_publication where pubdelete) as "isGuarded"
  from member
  join pg_class on pg_class.oid = member.oid
  join pg_namespace on pg_namespace.oid = relnamespace
  left join pg_am on pg_am.oid = relam
  order by target, member.oid`;

/** The reasons why a sweep cannot visit the blocks of a target's table. */
export function storageFindings({ root, heaps }: TargetTable): string[] {
  const relations = isTable(root) ? heaps : [root];
  return relations.flatMap(({ quotedName, kind, accessMethod }) => {
    if (kind !== 'r') {
      return [`${quotedName} must be a table, is a ${KINDS[kind] ?? `relation of kind ${kind}`}`];
    }
    return accessMethod === 'heap' ? [] : [`${quotedName} must be stored as heap, is stored as ${accessMethod}`];
  });
}

export function isTable({ kind }: Member): boolean {
  return kind === 'r' || kind === 'p';
}

const KINDS: Readonly<Record<string, string>> = { v: 'view', m: 'materialized view', f: 'foreign table' };

/** The findings that the tables of targets do not exist, with the tables that may be meant. */
export async function readMissingTables(
  session: Queryable,
  targets: readonly Target[],
): Promise<ReadonlyMap<Target, string>> {
  const rows = await rowsIf<Similar>(targets.length > 0, session, SIMILAR_SQL, [
    targets.map(({ table }) => alike(table)),
    targets.map(({ schema }) => schema),
  ]);
  return new Map(
    targets.map((target, index) => [
      target,
      `table ${quoteTable(target.schema, target.table)} does not exist${hintFor(
        target,
        rows.filter((row) => row.target === index),
      )}`,
    ]),
  );
}

function hintFor({ table }: Target, similar: readonly Similar[]): string {
  const [, before, behind] = /^([^.]+)\.([^.]+)$/.exec(table) ?? [];
  if (before) {
    const keys = `"schema": ${JSON.stringify(before)}, "table": ${JSON.stringify(behind)}`;
    return `; the schema is a key of its own: { ${keys} }`;
  }
  const names = similar.map(({ quotedName }) => quotedName).join(', ');
  return names && `, there is ${names}`;
}

interface Similar {
  /** The position of the target. */
  readonly target: number;
  readonly quotedName: string;
}

const SIMILAR_SQL = `
  select (position - 1)::int4 as target, meant.*
  from unnest($1::text[], $2::name[]) with ordinality as missing (name, schema_name, position)
  cross join lateral (
    select ${quotedNameSql()} as "quotedName"
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'p') and lower(replace(relname, '_', '')) in (name, name || 's', rtrim(name, 's'))
    order by nspname = schema_name desc, nspname, relname
    limit 3
  ) as meant`;
