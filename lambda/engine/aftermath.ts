import { BATCH_LIMITS } from './batch-limits';
import type { DeathCondition } from './conditions/condition';
import { hasDeleteTrigger, type Relation, type Root, takingKeysOf } from './conditions/relation';
import { quoteIdentifier } from './conditions/sql';
import { patiently } from './table-lock';
import type { TableOptions } from './whole-table';

/** Changes to a table during its sweep. */
export interface Aftermath {
  /** Whether its name leads to another table, or to none. */
  readonly isReplaced: boolean;
  /** Whether its name leads to none. */
  readonly isGone: boolean;
  /** The partitions that were attached during the sweep. */
  readonly added: readonly Relation[];
  /** The file of each relation that still belongs to it. */
  readonly files: Readonly<Record<string, number>>;
  /** A column with a time whose type was changed; null if there is none. */
  readonly changedColumn: string | null;
  /** Another table that the rules read, if its name leads to another one or to none; null if there is none. */
  readonly replacedOther: string | null;
  /** Whether other keys delete or change the rows that refer to a deleted one than before. */
  readonly hasOtherKeys: boolean;
  /** Whether a trigger, a rule or row-level security may keep rows, or write them back, without an error. */
  readonly mayKeepInSilence: boolean;
}

export async function aftermathOf(
  options: TableOptions & { readonly root: Root; readonly condition: DeathCondition },
): Promise<Aftermath> {
  const { root, relations, condition } = options;
  const { times, others } = condition;
  const columns = times.map(({ table = root.oid, ...column }) => ({ table, ...column }));
  const values = [
    root.oid,
    root.quotedName,
    relations.map(({ oid }) => oid),
    relations.map(({ takingKeys }) => takingKeys),
    JSON.stringify(columns),
    others.map(({ oid }) => oid),
    others.map(({ quotedName }) => quotedName),
  ];
  const { rows } = await patiently<Aftermath>(options, AFTERMATH_SQL, values, BATCH_LIMITS);
  return rows[0] as Aftermath;
}

/** Whether a relation has another file than it had, as after VACUUM FULL: its rows are in other places. */
export function wasRewritten(files: ReadonlyMap<number, number | null>, aftermath: Aftermath): boolean {
  return Object.entries(aftermath.files).some(([oid, file]) => files.get(Number(oid)) !== file);
}

export function replaced(quotedName: string, cause?: unknown): Error {
  return new Error(`${quotedName} was replaced or dropped during the sweep`, { cause });
}

/**
 * How the table was altered in a way by which live rows could go, so that no statement deletes from it any more; undefined
 * if it was not.
 */
export function alteration({ changedColumn, replacedOther, hasOtherKeys }: Aftermath): Error | undefined {
  if (replacedOther !== null) {
    return replaced(replacedOther);
  }
  if (changedColumn !== null) {
    return new Error(`the type of column ${quoteIdentifier(changedColumn)} was changed during the sweep`);
  }
  return hasOtherKeys
    ? new Error('a foreign key on delete cascade, set null or set default was added or dropped during the sweep')
    : undefined;
}

// A partition that is being detached does not count, and temporary children of other sessions cannot be read.
const AFTERMATH_SQL = `
  with recursive member as (
    select $1::pg_catalog.oid as oid
    union
    select inhrelid
    from pg_catalog.pg_inherits join member on inhparent operator(pg_catalog.=) member.oid
    where not inhdetachpending
  ),
  heap as (
    select pg_class.oid, nspname, relname, relrowsecurity, relhasrules
    from member
    join pg_catalog.pg_class on pg_class.oid operator(pg_catalog.=) member.oid
    join pg_catalog.pg_namespace on pg_namespace.oid operator(pg_catalog.=) relnamespace
    where relkind operator(pg_catalog.<>) 'p' and relpersistence operator(pg_catalog.<>) 't'
  )
  select
    coalesce(pg_catalog.to_regclass($2) operator(pg_catalog.<>) $1::pg_catalog.oid, true) as "isReplaced",
    pg_catalog.to_regclass($2) is null as "isGone",
    (
      select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'oid', oid::pg_catalog.int8, 'quotedName', pg_catalog.format('%I.%I', nspname, relname),
        'rootOid', $1::pg_catalog.oid::pg_catalog.int8
      )), '[]')
      from heap where oid operator(pg_catalog.<>) all ($3::pg_catalog.oid[])
    ) as added,
    (
      select coalesce(pg_catalog.jsonb_object_agg(oid, pg_catalog.pg_relation_filenode(oid)::pg_catalog.int8), '{}')
      from heap where oid operator(pg_catalog.=) any ($3::pg_catalog.oid[])
    ) as files,
    (
      select pg_catalog.min(attname::pg_catalog.text)
      from pg_catalog.jsonb_to_recordset($5::pg_catalog.jsonb)
        as tested ("table" pg_catalog.oid, "column" pg_catalog.name, type pg_catalog.oid)
      join pg_catalog.pg_attribute on attrelid operator(pg_catalog.=) "table" and attname operator(pg_catalog.=) "column"
      where atttypid operator(pg_catalog.<>) type
    ) as "changedColumn",
    exists (
      select from rows from (pg_catalog.unnest($3::pg_catalog.oid[]), pg_catalog.unnest($4::pg_catalog.int8[]))
        as listed (oid, keys)
      where (${takingKeysOf('listed.oid')}) operator(pg_catalog.<>) keys
        and exists (select from heap where heap.oid operator(pg_catalog.=) listed.oid)
    ) as "hasOtherKeys",
    (
      select pg_catalog.min(name)
      from rows from (pg_catalog.unnest($6::pg_catalog.oid[]), pg_catalog.unnest($7::pg_catalog.text[]))
        as other (other_oid, name)
      where coalesce(pg_catalog.to_regclass(name) operator(pg_catalog.<>) other_oid, true)
    ) as "replacedOther",
    exists (
      select from heap where relrowsecurity or relhasrules or ${hasDeleteTrigger('heap.oid')}
    ) as "mayKeepInSilence"`;
