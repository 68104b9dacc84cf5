import { type ColumnType, misfit, quoteIdentifier } from './rules';
import type { Target } from './targets';
import type { Queryable, Relation } from './walk';

/** What a sweep has to know of a table. */
export interface Inspected {
  /** The table itself, or its partitions and other heirs: all that have blocks of their own. */
  readonly relations: readonly Relation[];
  readonly columnTypes: ReadonlyMap<string, ColumnType>;
  /** What does not forbid a sweep, but may surprise. */
  readonly warnings: readonly string[];
}

/** What forbids a sweep, a finding a line. */
export class PreflightError extends Error {
  override readonly name = 'PreflightError';

  constructor(findings: readonly string[]) {
    super(findings.join('\n'));
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
  const { rows: attributes } = await session.query<Attribute>(ATTRIBUTES_SQL, [root.oid]);
  const heaps = members.filter((member) => member.kind !== 'p');
  const findings = [...columnFindings(target, quotedTable, attributes), ...heaps.flatMap(storageFindings)];
  if (findings.length === 0) {
    findings.push(...(await privilegeFindings(session, heaps, columns, dryRun)));
  }
  if (findings.length > 0) {
    throw new PreflightError(findings);
  }
  return {
    relations: heaps.map((heap) => ({ oid: heap.oid, quotedName: quoteTable(heap.schema, heap.table) })),
    columnTypes: new Map(attributes.map(({ name, type }) => [name, type as ColumnType])),
    warnings: await foreignKeyWarnings(session, members, target.name),
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

interface Attribute {
  readonly name: string;
  readonly type: string;
}

const ATTRIBUTES_SQL = `
  select attname as name, format_type(case typtype when 'd' then typbasetype else atttypid end, null) as type
  from pg_attribute join pg_type on pg_type.oid = atttypid
  where attrelid = $1 and attnum > 0 and not attisdropped`;

function columnFindings(target: Target, quotedTable: string, attributes: readonly Attribute[]): string[] {
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

/** Spelt so, `expiresAt` and `expires_at` are the same. */
function alike(name: string): string {
  return name.toLowerCase().replaceAll('_', '');
}

/** Says what is missing as the statements that grant it. */
async function privilegeFindings(
  session: Queryable,
  heaps: readonly Member[],
  columns: readonly string[],
  dryRun: boolean,
): Promise<string[]> {
  const { rows } = await session.query<{ grants: string }>(PRIVILEGES_SQL, [
    heaps.map(({ oid }) => oid),
    ['ctid', ...columns],
    !dryRun,
  ]);
  return rows.map(({ grants }) => `a privilege is missing: ${grants}`);
}

const PRIVILEGES_SQL = `
  with heap as (
    select pg_class.oid, nspname, format('%I.%I', nspname, relname) as name
    from unnest($1::oid[]) as listed join pg_class on pg_class.oid = listed
    join pg_namespace on pg_namespace.oid = relnamespace
  )
  select distinct format('grant usage on schema %I to %I', nspname, current_user) as grants
  from heap where not has_schema_privilege(nspname, 'usage')
  union all
  select format('grant delete on %s to %I', name, current_user)
  from heap where $3::bool and not has_table_privilege(oid, 'delete')
  union all
  select format('grant select (%s) on %s to %I', string_agg(quote_ident(needed), ', '), name, current_user)
  from heap, unnest($2::text[]) as needed
  where not has_column_privilege(oid, needed, 'select')
  group by name`;

/** Deletes of a referenced row search the referring table, row by row. */
async function foreignKeyWarnings(session: Queryable, members: readonly Member[], name: string): Promise<string[]> {
  const { rows } = await session.query<ForeignKey>(FOREIGN_KEYS_SQL, [members.map(({ oid }) => oid)]);
  return rows.flatMap(({ constraint, table, columns, indexed, cascades }) => [
    ...(cascades ? [`${name}: foreign key ${constraint} deletes rows of ${table} too (on delete cascade)`] : []),
    ...(indexed
      ? []
      : [
          `${name}: foreign key ${constraint} has no index on its own side, so each deleted row reads all of ${table}; ` +
            `create index concurrently on ${table} (${columns})`,
        ]),
  ]);
}

interface ForeignKey {
  readonly constraint: string;
  readonly table: string;
  readonly columns: string;
  readonly indexed: boolean;
  readonly cascades: boolean;
}

const FOREIGN_KEYS_SQL = `
  select
    quote_ident(conname) as constraint, conrelid::regclass::text as table, confdeltype = 'c' as cascades,
    (
      select string_agg(quote_ident(attname), ', ' order by ordinality)
      from unnest(conkey) with ordinality as key (attnum, ordinality)
      join pg_attribute on attrelid = conrelid and pg_attribute.attnum = key.attnum
    ) as columns,
    exists (
      select from pg_index
      where indrelid = conrelid and indisvalid and indpred is null
        and (string_to_array(indkey::text, ' ')::int2[])[1:cardinality(conkey)] @> conkey
    ) as indexed
  from pg_constraint
  where contype = 'f' and conparentid = 0 and confrelid = any($1::oid[])
  order by 2, 1`;

function quoteTable(schema: string, table: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`;
}
