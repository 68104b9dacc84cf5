import type { Queryable } from '../database/queryable';
import { columnsOf } from './condition';
import type { TargetTable } from './tables';

/** A privilege that the role lacks. */
export interface Grant {
  /** The statement that grants it. */
  readonly sql: string;
  /** Whether a dry run needs it, too. */
  readonly toRead: boolean;
}

/** Reads which privileges the role lacks for each table. */
export async function readMissingGrants(
  session: Queryable,
  tables: readonly TargetTable[],
): Promise<(table: TargetTable) => readonly Grant[]> {
  const needed = tables.flatMap((table, index) =>
    table.heaps.flatMap(({ oid }) => ['ctid', ...columnsOf(table.target)].map((column) => ({ index, oid, column }))),
  );
  const { rows } = await session.query<Grant & { readonly index: number }>(PRIVILEGES_SQL, [
    needed.map(({ index }) => index),
    needed.map(({ oid }) => oid),
    needed.map(({ column }) => column),
  ]);
  return (table) => rows.filter(({ index }) => tables[index] === table);
}

// If row security binds the role and no policy is for it, all rows are hidden: it would find nothing dead.
const PRIVILEGES_SQL = `
  with needed as (
    select index, listed.oid, nspname, format('%I.%I', nspname, relname) as name, column_name, position
    from unnest($1::int4[], $2::oid[], $3::text[]) with ordinality as listed (index, oid, column_name, position)
    join pg_class on pg_class.oid = listed.oid
    join pg_namespace on pg_namespace.oid = relnamespace
  ),
  heap as (select distinct index, oid, nspname, name from needed)
  select distinct index, format('grant usage on schema %I to %I', nspname, current_user) as sql, true as "toRead"
  from heap where not has_schema_privilege(nspname, 'usage')
  union all
  select index, format('grant delete on %s to %I', name, current_user), false
  from heap where not has_table_privilege(oid, 'delete')
  union all
  select
    index,
    format(
      'grant select (%s) on %s to %I', string_agg(quote_ident(column_name), ', ' order by position), name, current_user
    ),
    true
  from needed
  where not has_column_privilege(oid, column_name, 'select')
  group by index, name
  union all
  select
    index, format('create policy %1$I on %2$s to %1$I using (true)', current_user, name), bool_or(command = 'r')
  from heap, unnest(array['r', 'd']::"char"[]) as command
  where row_security_active(heap.oid) and not exists (
    select from pg_policy, unnest(polroles) as role
    where polrelid = heap.oid and polpermissive and polcmd in ('*', command)
      and (role = 0 or pg_has_role(role, 'usage'))
  )
  group by index, name`;
