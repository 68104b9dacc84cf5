import {
  type ColumnTest,
  columnsIn,
  columnsOf,
  isAge,
  isReference,
  type Rule,
  type Target,
  testsIn,
} from '../../configuration/targets';
import { alike, didYouMean } from '../../configuration/validation';
import { type Queryable, rowsIf } from '../../database/queryable';
import type { ColumnType, ColumnTypes } from '../conditions/column-tests';
import { type Reference, readReferences } from '../conditions/references';
import { literal, quoteIdentifier, quoteTable } from '../conditions/sql';
import type { TargetTable } from './tables';

/** The columns that the rules of a target read, and the findings that forbid using them. */
export interface Columns {
  readonly types: ColumnTypes;
  readonly references: ReadonlyMap<string, Reference>;
  /** The columns of the table itself that are read. */
  readonly own: readonly string[];
  /** The columns of other tables that are read. */
  readonly others: readonly { readonly oid: number; readonly column: string }[];
  readonly findings: readonly string[];
}

/** Checks the columns that the rules of the targets name. Read only. */
export async function readColumns(
  session: Queryable,
  tables: readonly TargetTable[],
): Promise<(table: TargetTable) => Columns> {
  const own = tables.map(({ target, root }) => ({ target, oid: root.oid }));
  const typesOf = await readTypes(
    session,
    own.map(({ oid }) => oid),
  );
  const referencesOf = await readReferences(session, own);
  const referredTypesOf = await readTypes(
    session,
    own.flatMap(({ target }) => [...referencesOf(target).byColumn.values()].map(({ oid }) => oid)),
  );
  return ({ target, root }) => {
    const { byColumn, findings } = referencesOf(target);
    const references = new Map(
      [...byColumn].map(([column, reference]) => [column, { ...reference, types: referredTypesOf(reference.oid) }]),
    );
    return judge(target, typesOf(root.oid), references, findings);
  };
}

function judge(
  target: Target,
  types: ColumnTypes,
  references: ReadonlyMap<string, Reference>,
  missingReferences: readonly string[],
): Columns {
  const findings = target.deleteWhen.flatMap((rule) =>
    findingsIn(rule, types, quoteTable(target.schema, target.table)),
  );
  const followed = target.deleteWhen.flatMap((rule) =>
    testsIn(rule).referred.flatMap(([column, its]) => {
      const reference = references.get(column);
      return reference ? [{ reference, rule: its }] : [];
    }),
  );
  return {
    types,
    references,
    own: [...columnsOf(target), ...[...references.values()].flatMap(({ columns }) => columns.map(({ own }) => own))],
    others: followed.flatMap(({ reference: { oid, columns }, rule }) =>
      [...columns.map(({ referred }) => referred), ...columnsIn(rule)].map((column) => ({ oid, column })),
    ),
    findings: [
      ...new Set([
        ...findings,
        // A column that does not exist has no key either.
        ...(findings.length > 0 ? [] : missingReferences),
        ...followed.flatMap(({ reference, rule }) => findingsIn(rule, reference.types, reference.quotedTable)),
      ]),
    ],
  };
}

/** The types of the columns of tables. */
async function readTypes(session: Queryable, oids: readonly number[]): Promise<(oid: number) => ColumnTypes> {
  const types = new Map(oids.map((oid) => [oid, new Map<string, ColumnType>()]));
  for (const { table, column, ...type } of await rowsIf<Column>(oids.length > 0, session, COLUMNS_SQL, [oids])) {
    types.get(table)?.set(column, type);
  }
  return (oid) => types.get(oid) ?? new Map();
}

interface Column extends ColumnType {
  readonly table: number;
  readonly column: string;
}

const COLUMNS_SQL = `
  with recursive base as (
    select attrelid, attname, attcollation, atttypid, atttypid as type
    from pg_attribute
    where attrelid = any($1::oid[]) and attnum > 0 and not attisdropped
    union all
    select attrelid, attname, attcollation, atttypid, typbasetype
    from base join pg_type on pg_type.oid = type
    where typtype = 'd'
  )
  select
    attrelid::int8::float8 as table, attname as column, atttypid::int8::float8 as oid, format_type(type, null) as name,
    case nspname when 'pg_catalog' then 'pg_catalog.' || quote_ident(typname) else format('%I.%I', nspname, typname) end
      as "quotedName",
    case typtype when 'e' then array(
      select enumlabel::text from pg_enum where enumtypid = type order by enumsortorder
    ) end as labels,
    coalesce(not collisdeterministic, false) as "isLoose"
  from base
  join pg_type on pg_type.oid = type
  join pg_namespace on pg_namespace.oid = typnamespace
  left join pg_collation on pg_collation.oid = attcollation
  where typtype <> 'd'`;

function findingsIn(rule: Rule, types: ColumnTypes, quotedTable: string): string[] {
  const about = (name: string, reasons: readonly string[]) =>
    reasons.map((reason) => `column ${quoteIdentifier(name)} of ${quotedTable} ${reason}`);
  const missing = columnsIn(rule).filter((name) => !types.has(name));
  const existing = [...types.keys()];
  return [
    ...missing.flatMap((name) => {
      const similar = existing.find((candidate) => alike(candidate) === alike(name));
      const hint = similar ? `, there is ${quoteIdentifier(similar)}` : didYouMean(name, existing);
      return about(name, [`does not exist${hint}`]);
    }),
    ...Object.entries(rule).flatMap(([name, test]) => [
      ...about(name, misfits(test, types.get(name))),
      ...(isAge(test) && test.plusSeconds !== undefined
        ? about(test.plusSeconds, mustBeOf(NUMBERS, types.get(test.plusSeconds)))
        : []),
    ]),
  ];
}

const TIMES = ['timestamp with time zone', 'timestamp without time zone'];
const INTEGERS = ['smallint', 'integer', 'bigint'];
const NUMBERS = [...INTEGERS, 'numeric'];
const TEXTS = ['text', 'character varying', 'character'];

/** The reasons why a column cannot have a test, worded to follow the column's name; empty if it can. */
function misfits(test: ColumnTest, type: ColumnType | undefined): string[] {
  if (test === null || type === undefined) {
    return [];
  }
  if (typeof test === 'boolean') {
    return mustBeOf(['boolean'], type);
  }
  if (isAge(test)) {
    if (test.epoch === undefined && NUMBERS.includes(type.name)) {
      return [`is of type ${type.name}: give its unit with "epoch": "s" or "epoch": "ms"`];
    }
    return mustBeOf(test.epoch ? NUMBERS : test.plusSeconds === undefined ? [...TIMES, 'date'] : TIMES, type);
  }
  return isReference(test) ? [] : valueMisfits(test.in, type);
}

function mustBeOf(usable: readonly string[], type: ColumnType | undefined): string[] {
  return type === undefined || usable.includes(type.name)
    ? []
    : [`must be of type ${usable.join(' or ')}, is ${type.name}`];
}

const UUID = /^\{?[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}\}?$/i;

function valueMisfits(values: readonly (string | number)[], type: ColumnType): string[] {
  const usable = usableValues(type);
  if (!usable) {
    return [`must be of type ${[...TEXTS, ...INTEGERS, 'uuid'].join(', ')} or an enum, is ${type.name}`];
  }
  const others = values.filter((value) => !usable.accepts(value)).map((value) => JSON.stringify(value));
  return others.length > 0 ? [`is of type ${type.name}${usable.rule}, got ${others.join(', ')}`] : [];
}

/** The values that a column can be compared with; undefined if it cannot be compared with any. */
function usableValues({
  name,
  labels,
}: ColumnType): { readonly accepts: (value: string | number) => boolean; readonly rule: string } | undefined {
  if (labels) {
    const rule = `, whose values are ${labels.map(literal).join(', ')}`;
    return { accepts: (value) => labels.includes(String(value)), rule };
  }
  if (INTEGERS.includes(name)) {
    return { accepts: (value) => typeof value === 'number', rule: ': its values are whole numbers' };
  }
  if (name === 'uuid') {
    return { accepts: (value) => UUID.test(String(value)), rule: ': its values are UUIDs' };
  }
  return TEXTS.includes(name)
    ? { accepts: (value) => typeof value === 'string', rule: ': its values are strings' }
    : undefined;
}
