import type { Queryable } from '../../database/queryable';
import { unquoted } from '../conditions/sql';
import type { Columns } from './columns';
import { findingOf } from './finding';
import type { ForeignKeyFindings } from './foreign-keys';
import type { Need } from './guards';
import type { TargetTable } from './tables';

/** What the conditions of a target read. */
export interface Reads {
  readonly table: TargetTable;
  readonly columns: Pick<Columns, 'own' | 'others'>;
  readonly keys: Pick<ForeignKeyFindings, 'keepers'>;
}

/** Reads which privileges the role lacks for each target. */
export async function readMissingGrants(session: Queryable, targets: readonly Reads[]): Promise<Need[][]> {
  const needed = targets.flatMap(({ table, columns, keys: { keepers } }, index) => {
    const referred = keepers.flatMap((key) => key.columns.map((pair) => unquoted(pair.referred)));
    const referring = keepers.flatMap(({ oid, columns: pairs }) =>
      pairs.map((pair) => ({ oid, column: unquoted(pair.referring) })),
    );
    const own = ['ctid', ...columns.own, ...referred];
    return [
      ...table.heaps.flatMap(({ oid }) => own.map((column) => ({ index, oid, column, isOwn: true }))),
      ...[...columns.others, ...referring].map((other) => ({ index, ...other, isOwn: false })),
    ];
  });
  const { rows } = await session.query<{ readonly index: number; readonly sql: string; readonly toRead: boolean }>(
    PRIVILEGES_SQL,
    [JSON.stringify(needed)],
  );
  const needs = targets.map((): Need[] => []);
  for (const { index, sql, toRead } of rows) {
    needs[index]?.push({ finding: findingOf('a privilege is missing', sql), toRead });
  }
  return needs;
}

// If row security applies to the role and no policy does, all rows are hidden: a run would find none dead.
const PRIVILEGES_SQL = `
  with needed as (
    select
      index, listed.oid, nspname, format('%I.%I', nspname, relname) as name, column_name, min(position) as position,
      bool_or(is_own) as is_own
    from rows from (jsonb_to_recordset($1::jsonb) as (index int4, oid oid, "column" text, "isOwn" boolean))
      with ordinality as listed (index, oid, column_name, is_own, position)
    join pg_class on pg_class.oid = listed.oid
    join pg_namespace on pg_namespace.oid = relnamespace
    group by index, listed.oid, nspname, relname, column_name
  ),
  heap as (select index, oid, nspname, name, bool_or(is_own) as is_own from needed group by index, oid, nspname, name)
  select distinct index, format('grant usage on schema %I to %I', nspname, current_user) as sql, true as "toRead"
  from heap where not has_schema_privilege(nspname, 'usage')
  union all
  select index, format('grant delete on %s to %I', name, current_user), false
  from heap where is_own and not has_table_privilege(oid, 'delete')
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
  where (is_own or command = 'r') and row_security_active(heap.oid) and not exists (
    select from pg_policy, unnest(polroles) as role
    where polrelid = heap.oid and polpermissive and polcmd in ('*', command)
      and (role = 0 or pg_has_role(role, 'usage'))
  )
  group by index, name`;
