import { type Target, testsIn } from '../../configuration/targets';
import { type Queryable, rowsIf } from '../../database/queryable';
import { byTable } from './by-table';
import type { ColumnTypes } from './column-tests';
import { quotedNameSql, quoteIdentifier, quoteTable } from './sql';

/** A foreign key that a rule follows. */
export interface Reference {
  /** The table that it leads to. */
  readonly oid: number;
  readonly quotedTable: string;
  readonly isPartitioned: boolean;
  /** Of the columns of that table. */
  readonly types: ColumnTypes;
  readonly columns: readonly {
    readonly own: string;
    readonly referred: string;
    /** The operator by which the key compares them, qualified: `referred equals own`. */
    readonly equals: string;
  }[];
}

/** By the column that a rule names. */
export interface References {
  readonly byColumn: ReadonlyMap<string, Omit<Reference, 'types'>>;
  readonly findings: readonly string[];
}

/** Finds the foreign keys that the rules of the targets follow. Read only. */
export async function readReferences(
  session: Queryable,
  tables: readonly { readonly target: Target; readonly oid: number }[],
): Promise<(target: Target) => References> {
  const following = tables.filter(({ target }) => columnsFollowed(target).length > 0);
  const rows = await rowsIf<Key>(following.length > 0, session, REFERENCES_SQL, [
    following.map(({ oid }) => oid),
    [...new Set(following.flatMap(({ target }) => columnsFollowed(target)))],
  ]);
  const keysAt = byTable(rows, ({ ownOid }) => [ownOid]);
  const references = new Map(following.map(({ target, oid }) => [target, chooseKeys(target, keysAt([oid]))]));
  return (target) => references.get(target) ?? { byColumn: new Map(), findings: [] };
}

function columnsFollowed({ deleteWhen }: Target): string[] {
  return [...new Set(deleteWhen.flatMap((rule) => testsIn(rule).referred.map(([column]) => column)))];
}

function chooseKeys(target: Target, keys: readonly Key[]): References {
  const byColumn = new Map<string, Omit<Reference, 'types'>>();
  const findings: string[] = [];
  for (const name of columnsFollowed(target)) {
    const candidates = keys.filter(({ columns }) => columns.some(({ own }) => own === name));
    const alone = candidates.filter(({ columns }) => columns.length === 1);
    const [key, ...others] = alone.length > 0 ? alone : candidates;
    const column = `column ${quoteIdentifier(name)} of ${quoteTable(target.schema, target.table)}`;
    if (!key) {
      findings.push(`${column} has no foreign key, which "refersTo" follows`);
    } else if (others.length > 0) {
      const constraints = [key, ...others].map(({ constraint }) => quoteIdentifier(constraint)).join(', ');
      findings.push(`${column} has several foreign keys (${constraints}), of which "refersTo" cannot choose one`);
    } else {
      byColumn.set(name, key);
    }
  }
  return { byColumn, findings };
}

interface Key extends Omit<Reference, 'types'> {
  /** The table whose rows refer. */
  readonly ownOid: number;
  readonly constraint: string;
}

// A key that points at a partitioned table has clones that point at each of its partitions. A key of periods compares by
// containment.
const REFERENCES_SQL = `
  select
    conrelid::int8::float8 as "ownOid", conname as constraint, confrelid::int8::float8 as oid,
    ${quotedNameSql()} as "quotedTable", relkind = 'p' as "isPartitioned",
    (
      select jsonb_agg(jsonb_build_object(
        'own', own.attname, 'referred', referred.attname,
        'equals', format('operator(%s.%s)', oprnamespace::regnamespace, oprname)
      ) order by position)
      from unnest(conkey, confkey, conpfeqop) with ordinality as pair (own_number, referred_number, compare, position)
      join pg_attribute as own on own.attrelid = conrelid and own.attnum = own_number
      join pg_attribute as referred on referred.attrelid = confrelid and referred.attnum = referred_number
      join pg_operator on pg_operator.oid = compare
    ) as columns
  from pg_constraint as key
  join pg_class on pg_class.oid = confrelid
  join pg_namespace on pg_namespace.oid = relnamespace
  where contype = 'f' and conrelid = any($1::oid[])
    and to_jsonb(key) ->> 'conperiod' is distinct from 'true'
    and not exists (
      select from pg_constraint as original where original.oid = key.conparentid and original.conrelid = key.conrelid
    )
    and exists (select from pg_attribute where attrelid = conrelid and attnum = any(conkey) and attname = any($2::text[]))
  order by conname`;
