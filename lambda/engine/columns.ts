import type { Target } from '../configuration/targets';
import type { Queryable } from '../database/queryable';
import { type ColumnType, misfit, quoteIdentifier } from './condition';

/** The columns of a table, and what makes rules unusable on them. */
export interface Columns {
  readonly types: ReadonlyMap<string, ColumnType>;
  readonly findings: readonly string[];
}

/** Checks the columns that the rules of a target name. Read only. */
export async function inspectColumns(
  session: Queryable,
  target: Target,
  table: { readonly oid: number; readonly quotedName: string },
): Promise<Columns> {
  const { rows } = await session.query<Attribute>(ATTRIBUTES_SQL, [table.oid]);
  return {
    types: new Map(rows.map(({ name, type }) => [name, type as ColumnType])),
    findings: findingsIn(target, table.quotedName, rows),
  };
}

interface Attribute {
  readonly name: string;
  readonly type: string;
}

const ATTRIBUTES_SQL = `
  select attname as name, format_type(case typtype when 'd' then typbasetype else atttypid end, null) as type
  from pg_attribute join pg_type on pg_type.oid = atttypid
  where attrelid = $1 and attnum > 0 and not attisdropped`;

function findingsIn(target: Target, quotedTable: string, attributes: readonly Attribute[]): string[] {
  const findings = target.deleteWhen.flatMap((rule) =>
    Object.entries(rule).flatMap(([name, test]) => {
      const column = `column ${quoteIdentifier(name)} of ${quotedTable}`;
      const attribute = attributes.find((candidate) => candidate.name === name);
      if (!attribute) {
        const similar = attributes.find((candidate) => alike(candidate.name) === alike(name));
        return [`${column} does not exist${similar ? `, there is ${quoteIdentifier(similar.name)}` : ''}`];
      }
      const reason = misfit(test, attribute.type);
      return reason ? [`${column} ${reason}`] : [];
    }),
  );
  return [...new Set(findings)];
}

/** Maps spellings such as `expiresAt` and `expires_at` to the same text. */
export function alike(name: string): string {
  return name.toLowerCase().replaceAll('_', '');
}
