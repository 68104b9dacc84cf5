import { sqlStateOf } from '../../database/database-error';
import { quoteLiteral } from './sql';

/** The table that a target names, with or without blocks of its own. */
export interface Root {
  readonly oid: number;
  readonly quotedName: string;
}

/** A table, or a partition or child of one, that has blocks of its own. */
export interface Relation {
  readonly oid: number;
  readonly quotedName: string;
  /** The table whose rows are swept, if this is a partition or a child of it. */
  readonly rootOid?: number;
  /** The sum of {@link takingKeysOf}. Absent if nothing is deleted from it. */
  readonly takingKeys?: number;
}

/**
 * SQL that is true as long as the name leads to the relation that was inspected, and this belongs to the table that is
 * swept. The server evaluates it once for each statement, with the relation locked already.
 */
export function isUnchanged({ oid, quotedName, rootOid }: Relation): string {
  const sameTable = `${quoteLiteral(quotedName)}::pg_catalog.regclass operator(pg_catalog.=) ${oid}::pg_catalog.oid`;
  if (rootOid === undefined) {
    return sameTable;
  }
  return `${sameTable} and exists (
      with recursive ancestor as (
        select ${oid}::pg_catalog.oid as oid
        union all
        select inhparent from pg_catalog.pg_inherits, ancestor
        where inhrelid operator(pg_catalog.=) ancestor.oid and not inhdetachpending
      )
      select from ancestor where oid operator(pg_catalog.=) ${rootOid}::pg_catalog.oid
    )`;
}

/**
 * SQL that is true as long as a DELETE takes along, or changes, no rows but those by the keys that were inspected. Evaluated
 * once for each statement.
 */
export function takesNoOthers({ oid, takingKeys }: Relation): string {
  return takingKeys === undefined
    ? 'true'
    : `(${takingKeysOf(`${oid}::pg_catalog.oid`)}) operator(pg_catalog.=) ${takingKeys}`;
}

/**
 * SQL of a number that stands for the keys on delete cascade, set null and set default that point at a relation: the sum of
 * their oids, since a key that is altered gets another one. They are looked up by the functions of their triggers, because no
 * index leads from a table to the keys that point at it.
 */
export function takingKeysOf(oid: string): string {
  return `
      select coalesce(pg_catalog.sum(tgconstraint::pg_catalog.int8), 0) from pg_catalog.pg_trigger
      where tgrelid operator(pg_catalog.=) ${oid}
        and tgfoid operator(pg_catalog.=) any ('{1646,1650,1652}'::pg_catalog.oid[])`;
}

/** SQL of whether a trigger of a relation may refuse a DELETE, or skip rows in silence. */
export function hasDeleteTrigger(oid: string): string {
  return `exists (
      select from pg_catalog.pg_trigger
      where tgrelid operator(pg_catalog.=) ${oid} and not tgisinternal and tgenabled operator(pg_catalog.<>) 'D'
        and (tgtype::pg_catalog.int4 operator(pg_catalog.&) 8) operator(pg_catalog.<>) 0
    )`;
}

/** SQL of the number of blocks of a relation; null if it was dropped. */
export function blocksOfRelation(oid: string): string {
  return `pg_catalog.ceil(
      pg_catalog.pg_relation_size(${oid})::pg_catalog.float8
        operator(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.float8
    )`;
}

/** Whether the name of a relation, or of its schema, leads to nothing any more. */
export function isMissing(error: unknown): boolean {
  return ['42P01', '3F000'].includes(sqlStateOf(error) ?? '');
}
