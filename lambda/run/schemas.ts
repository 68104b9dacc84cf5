import { matchesPattern } from '../configuration/name-pattern';
import type { Target } from '../configuration/targets';
import { printable } from '../database/database-error';
import { type Queryable, rowsIf } from '../database/queryable';
import { subjectsOf } from './alike-lines';

/** The tables of a target. */
export interface Expanded {
  /** The target itself, or one for each schema that matches and has the table. */
  readonly targets: readonly Target[];
  /** The reason why there is none. */
  readonly error?: string;
  /** The schemas that match and do not have the table. */
  readonly warning?: string;
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
  const rows = await rowsIf<Schema>(patterns.length > 0, session, SCHEMAS_SQL, [names]);
  const idOf = (schema: string, table: string) => JSON.stringify([schema, table]);
  const taken = new Set(targets.flatMap(({ schemas, schema, table }) => (schemas ? [] : [idOf(schema, table)])));
  return new Map(
    targets.map((target): [Target, Expanded] => {
      const { schemas, ...rest } = target;
      if (!schemas) {
        return [target, { targets: [target] }];
      }
      const { table, name: pattern } = target;
      const matching = rows.filter(({ schema }) => matchesPattern(schemas, schema));
      const having = matching.filter(({ tables }) => tables.includes(table)).map(({ schema }) => schema);
      const found = having.filter((schema) => !taken.has(idOf(schema, table)));
      for (const schema of found) {
        taken.add(idOf(schema, table));
      }
      const [like, it] = [`like ${schemas.like.join(', ')}`, `a table ${JSON.stringify(table)}`];
      if (found.length === 0) {
        const isTaken = having.length > 0;
        return [
          target,
          { targets: [], error: `no schema ${like} has ${it}${isTaken ? ' that no other target takes' : ''}` },
        ];
      }
      const without = matching.filter(({ tables }) => !tables.includes(table)).map(({ schema }) => schema);
      const names = printable(subjectsOf(without));
      return [
        target,
        {
          targets: found.map((schema) => ({ ...rest, schema, name: `${schema}.${table}`, pattern })),
          ...(names && { warning: `${names} match ${like} and do not have ${it}` }),
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
