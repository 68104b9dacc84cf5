import type { Target } from '../configuration/targets';
import type { Queryable } from '../database/queryable';
import { alike, inspectColumns } from './columns';
import { type ColumnType, quoteIdentifier } from './condition';
import type { Relation } from './pieces';

/** What a sweep has to know of a table. */
export interface Inspected {
  readonly oid: number;
  readonly isPartitioned: boolean;
  /** The table itself, or its partitions and other heirs: all that have blocks of their own. */
  readonly relations: readonly Relation[];
  readonly columnTypes: ReadonlyMap<string, ColumnType>;
  /** What does not forbid a sweep, but may surprise. */
  readonly warnings: readonly string[];
  /** The privileges that a run needs and a dry run does not, as the statements that grant them. */
  readonly missingGrants: readonly string[];
  /** The indexes that foreign keys need on their own side, as the statements that make them. */
  readonly missingIndexes: readonly string[];
}

/** What forbids a sweep, a finding a line. */
export class PreflightError extends Error {
  override readonly name = 'PreflightError';
  readonly warnings: readonly string[];
  /** The statements that would mend some of it. */
  readonly remedies: readonly string[];

  constructor(findings: readonly string[], warnings: readonly string[] = [], remedies: readonly string[] = []) {
    super(findings.join('\n'));
    this.warnings = warnings;
    this.remedies = remedies;
  }
}

/**
 * Looks at a table before a row of it goes. Read only.
 *
 * @throws PreflightError with everything that is wrong
 */
export async function inspect(session: Queryable, target: Target, dryRun: boolean): Promise<Inspected> {
  const { rows: members } = await session.query<Member>(MEMBERS_SQL, [target.schema, target.table]);
  const root = members.find((member) => member.isRoot);
  const quotedTable = quoteTable(target.schema, target.table);
  if (!root) {
    throw new PreflightError([`table ${quotedTable} does not exist${await similarTable(session, target)}`]);
  }
  if (root.kind !== 'r' && root.kind !== 'p') {
    throw new PreflightError([
      `${quotedTable} must be a table, is a ${KINDS[root.kind] ?? `relation of kind ${root.kind}`}`,
    ]);
  }
  const columns = [...new Set(target.deleteWhen.flatMap(Object.keys))];
  const { types, findings: columnFindings } = await inspectColumns(session, target, {
    oid: root.oid,
    quotedName: quotedTable,
  });
  const heaps = members.filter((member) => member.kind !== 'p');
  const findings = [...columnFindings, ...heaps.flatMap(storageFindings)];
  if (findings.length > 0) {
    throw new PreflightError(findings);
  }
  const grants = await grantsMissing(session, heaps, columns);
  const missingGrants = grants.map(({ sql }) => sql);
  const privilegeFindings = missingGrants.map((sql) => `a privilege is missing: ${sql}`);
  const { dangers, warnings, missingIndexes } = await foreignKeyFindings(session, members, target.name);
  // A dry run does without the privilege to delete. Where it has to end anyway, it tells of that, too.
  if (dangers.length > 0 || grants.some(({ toRead }) => toRead || !dryRun)) {
    throw new PreflightError([...dangers, ...privilegeFindings], warnings, [...missingGrants, ...missingIndexes]);
  }
  return {
    oid: root.oid,
    isPartitioned: root.kind === 'p',
    relations: heaps.map((heap) => ({ oid: heap.oid, quotedName: quoteTable(heap.schema, heap.table) })),
    columnTypes: types,
    warnings: [...privilegeFindings.map((finding) => `${target.name}: ${finding}`), ...warnings],
    missingGrants,
    missingIndexes,
  };
}

interface Member {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  readonly kind: string;
  /** Absent for what has no storage. */
  readonly accessMethod: string | null;
  readonly isRoot: boolean;
}

// Both partitions and heirs by INHERITS are rows of pg_inherits; without ONLY a DELETE on the table would reach them all.
const MEMBERS_SQL = `
  with recursive member as (
    select pg_class.oid, true as is_root
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = $1 and relname = $2 and relkind not in ('i', 'I', 'S', 't', 'c')
    union
    select inhrelid, false from pg_inherits join member on inhparent = member.oid
  )
  select
    member.oid::int8::float8 as oid, nspname as schema, relname as table, relkind as kind,
    amname as "accessMethod", is_root as "isRoot"
  from member
  join pg_class on pg_class.oid = member.oid
  join pg_namespace on pg_namespace.oid = relnamespace
  left join pg_am on pg_am.oid = relam
  order by member.oid`;

const KINDS: Readonly<Record<string, string>> = { v: 'view', m: 'materialized view', f: 'foreign table' };

function storageFindings({ schema, table, kind, accessMethod }: Member): string[] {
  if (kind !== 'r') {
    return [`${quoteTable(schema, table)} must be a table, is a ${KINDS[kind] ?? `relation of kind ${kind}`}`];
  }
  return accessMethod === 'heap'
    ? []
    : [`${quoteTable(schema, table)} must be stored as heap, is stored as ${accessMethod}`];
}

async function similarTable(session: Queryable, target: Target): Promise<string> {
  const { rows } = await session.query<{ schema: string; table: string }>(
    `select nspname as schema, relname as table
     from pg_class join pg_namespace on pg_namespace.oid = relnamespace
     where relkind in ('r', 'p') and lower(replace(relname, '_', '')) in ($1, $1 || 's', rtrim($1, 's'))
     order by nspname = $2 desc, nspname, relname
     limit 3`,
    [alike(target.table), target.schema],
  );
  return rows.length > 0 ? `, there is ${rows.map(({ schema, table }) => quoteTable(schema, table)).join(', ')}` : '';
}

/** What is missing, as the statements that grant it. */
async function grantsMissing(
  session: Queryable,
  heaps: readonly Member[],
  columns: readonly string[],
): Promise<readonly Grant[]> {
  const { rows } = await session.query<Grant>(PRIVILEGES_SQL, [heaps.map(({ oid }) => oid), ['ctid', ...columns]]);
  return rows;
}

interface Grant {
  readonly sql: string;
  /** Whether a dry run needs it, too. */
  readonly toRead: boolean;
}

// Where row-level security binds the role and no policy is for it, all rows are hidden: it would find nothing dead.
const PRIVILEGES_SQL = `
  with heap as (
    select pg_class.oid, nspname, format('%I.%I', nspname, relname) as name
    from unnest($1::oid[]) as listed join pg_class on pg_class.oid = listed
    join pg_namespace on pg_namespace.oid = relnamespace
  )
  select distinct format('grant usage on schema %I to %I', nspname, current_user) as sql, true as "toRead"
  from heap where not has_schema_privilege(nspname, 'usage')
  union all
  select format('grant delete on %s to %I', name, current_user), false
  from heap where not has_table_privilege(oid, 'delete')
  union all
  select format('grant select (%s) on %s to %I', string_agg(quote_ident(needed), ', '), name, current_user), true
  from heap, unnest($2::text[]) as needed
  where not has_column_privilege(oid, needed, 'select')
  group by name
  union all
  select format('create policy %1$I on %2$s to %1$I using (true)', current_user, name), bool_or(command = 'r')
  from heap, unnest(array['r', 'd']::"char"[]) as command
  where row_security_active(heap.oid) and not exists (
    select from pg_policy, unnest(polroles) as role
    where polrelid = heap.oid and polpermissive and polcmd in ('*', command)
      and (role = 0 or pg_has_role(role, 'usage'))
  )
  group by name`;

/** Deletes of a referenced row search the referring table, row by row. */
async function foreignKeyFindings(
  session: Queryable,
  members: readonly Member[],
  name: string,
): Promise<Pick<Inspected, 'warnings' | 'missingIndexes'> & { readonly dangers: readonly string[] }> {
  const { rows } = await session.query<ForeignKey>(FOREIGN_KEYS_SQL, [members.map(({ oid }) => oid)]);
  const dangers = rows
    .filter(({ cascades, leadsBack }) => cascades && leadsBack)
    .map(
      ({ constraint }) =>
        `foreign key ${constraint} must not be on delete cascade: a live row would go with the dead one that it refers to`,
    );
  const warnings = rows.flatMap(({ constraint, table, createIndex, cascades, leadsBack }) => [
    ...(cascades && !leadsBack
      ? [`${name}: foreign key ${constraint} deletes rows of ${table} too (on delete cascade)`]
      : []),
    ...(createIndex
      ? [
          `${name}: foreign key ${constraint} has no index on its own side, so each deleted row reads all of ${table}; ` +
            createIndex,
        ]
      : []),
  ]);
  return { dangers, warnings, missingIndexes: rows.flatMap(({ createIndex }) => createIndex ?? []) };
}

interface ForeignKey {
  readonly constraint: string;
  readonly table: string;
  /** The statement that makes the index that is missing; null where none is. */
  readonly createIndex: string | null;
  readonly cascades: boolean;
  /** Whether it is of the table itself, or of one whose deletes cascade back to it. */
  readonly leadsBack: boolean;
}

// No index of a partitioned table can be made concurrently.
const FOREIGN_KEYS_SQL = `
  select
    quote_ident(conname) as constraint, conrelid::regclass::text as table, confdeltype = 'c' as cascades,
    exists (
      with recursive reached as (
        select conrelid as oid
        union
        select further.conrelid from pg_constraint as further join reached on further.confrelid = reached.oid
        where further.contype = 'f' and further.confdeltype = 'c'
      )
      select from reached where reached.oid = any($1::oid[])
    ) as "leadsBack",
    case when not exists (
      select from pg_index
      where indrelid = conrelid and indisvalid and indpred is null
        and (string_to_array(indkey::text, ' ')::int2[])[1:cardinality(conkey)] @> conkey
    ) then (
      select format(
        'create index %son %s (%s)', case relkind when 'p' then '' else 'concurrently ' end, conrelid::regclass,
        string_agg(quote_ident(attname), ', ' order by ordinality)
      )
      from unnest(conkey) with ordinality as key (attnum, ordinality)
      join pg_attribute on attrelid = conrelid and pg_attribute.attnum = key.attnum
    ) end as "createIndex"
  from pg_constraint join pg_class on pg_class.oid = conrelid
  where contype = 'f' and conparentid = 0 and confrelid = any($1::oid[])
  order by 2, 1`;

function quoteTable(schema: string, table: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`;
}
