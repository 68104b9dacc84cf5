import { matchesPattern } from '../configuration/name-pattern';
import type { Target } from '../configuration/targets';
import type { Queryable } from '../database/queryable';

/** The tables of a target. */
export interface Expanded {
  /** The target itself, or one for each schema that matches and has the table. */
  readonly targets: readonly Target[];
  /** The schemas that match and do not have the table. */
  readonly without: readonly string[];
  /** Whether a schema that matches has the table, and another target takes it. */
  readonly isTaken: boolean;
}

/**
 * Finds the schemas of targets that name them by pattern. Read only. A table that a target names by its schema, or that an
 * earlier one matches, is not taken twice.
 */
export async function expandSchemas(
  session: Queryable,
  targets: readonly Target[],
): Promise<ReadonlyMap<Target, Expanded>> {
  const patterns = targets.filter(({ schemas }) => schemas);
  const names = [...new Set(patterns.map(({ table }) => table))];
  const { rows } = patterns.length > 0 ? await session.query<Schema>(SCHEMAS_SQL, [names]) : { rows: [] };
  const idOf = (schema: string, table: string) => JSON.stringify([schema, table]);
  const taken = new Set(targets.flatMap(({ schemas, schema, table }) => (schemas ? [] : [idOf(schema, table)])));
  return new Map(
    targets.map((target): [Target, Expanded] => {
      const { schemas, ...rest } = target;
      if (!schemas) {
        return [target, { targets: [target], without: [], isTaken: false }];
      }
      const { table, name: pattern } = target;
      const matching = rows.filter(({ schema }) => matchesPattern(schemas, schema));
      const having = matching.filter(({ tables }) => tables.includes(table));
      const found = having.filter(({ schema }) => !taken.has(idOf(schema, table)));
      for (const { schema } of found) {
        taken.add(idOf(schema, table));
      }
      return [
        target,
        {
          targets: found.map(({ schema }) => ({ ...rest, schema, name: `${schema}.${table}`, pattern })),
          without: matching.filter(({ tables }) => !tables.includes(table)).map(({ schema }) => schema),
          isTaken: having.length > found.length,
        },
      ];
    }),
  );
}

interface Schema {
  readonly schema: string;
  /** Those of the tables that it has. */
  readonly tables: readonly string[];
}

// A partition is swept with its table.
const SCHEMAS_SQL = `
  select nspname as schema, array(
    select relname::text
    from pg_class
    where relnamespace = pg_namespace.oid and relname = any($1::name[]) and relkind in ('r', 'p') and not relispartition
  ) as tables
  from pg_namespace
  where left(nspname, 3) <> 'pg_' and nspname <> 'information_schema'
  order by nspname`;
