import { matchesPattern } from './configuration/name-pattern';
import type { Target } from './configuration/targets';
import type { Queryable } from './database/queryable';

/**
 * Finds the schemas of targets that name them by pattern. Read only.
 *
 * @returns the targets to sweep for each target: itself, or one for each schema that matches and has the table. A table
 * that a target names by its schema, or that an earlier one matches, is not taken twice.
 */
export async function expandSchemas(
  session: Queryable,
  targets: readonly Target[],
): Promise<ReadonlyMap<Target, readonly Target[]>> {
  const patterns = targets.filter(({ schemas }) => schemas);
  if (patterns.length === 0) {
    return new Map(targets.map((target) => [target, [target]]));
  }
  const { rows } = await session.query<{ schema: string; table: string }>(TABLES_SQL, [
    [...new Set(patterns.map(({ table }) => table))],
  ]);
  const idOf = (schema: string, table: string) => JSON.stringify([schema, table]);
  const taken = new Set(targets.flatMap(({ schemas, schema, table }) => (schemas ? [] : [idOf(schema, table)])));
  return new Map(
    targets.map((target) => {
      const { schemas, ...rest } = target;
      if (!schemas) {
        return [target, [target]];
      }
      const found = rows.filter(
        ({ schema, table }) =>
          table === target.table && matchesPattern(schemas, schema) && !taken.has(idOf(schema, table)),
      );
      return [
        target,
        found.map(({ schema, table }) => {
          taken.add(idOf(schema, table));
          return { ...rest, schema, name: `${schema}.${table}` };
        }),
      ];
    }),
  );
}

// A partition is swept with its table.
const TABLES_SQL = `
  select nspname as schema, relname as table
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where relname = any($1::text[]) and relkind in ('r', 'p') and not relispartition
    and left(nspname, 3) <> 'pg_' and nspname <> 'information_schema'
  order by nspname, relname`;
