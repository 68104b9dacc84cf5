import { kindOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { BATCH_LIMITS } from './batch-limits';
import { blocksOfRelation, type Relation, type Root } from './conditions/relation';
import type { TableOptions } from './whole-table';

/** A table of a run. */
export interface Sized {
  readonly options: Pick<TableOptions, 'sessions' | 'relations'> & { readonly root: Pick<Root, 'oid'> };
}

/** How many one statement reads. */
const RELATIONS_AT_ONCE = 500;

/** Reads the sizes of the tables of a run at its beginning, of all of them at once. */
export async function readSizes(tables: readonly Sized[]) {
  const [first, ...others] = tables;
  // A single table is not looked at: its sweep reads the size itself.
  const blocks = first && others.length > 0 ? await readBlocks(first, tables) : new Map<number, number>();
  const isEmpty = ({ options: { root, relations } }: Sized): boolean =>
    relations.length === 1 && relations[0]?.oid === root.oid && blocks.get(root.oid) === 0;
  const filled = tables.filter((table) => !isEmpty(table));
  const pending = new Map(
    filled.map((table) => {
      const known = table.options.relations.reduce((sum, { oid }) => sum + (blocks.get(oid) ?? 0), 0);
      return [table, Math.max(1, known)]; // one of which no size is known counts as much as one of a single block
    }),
  );
  let blocksPending = [...pending.values()].reduce((sum, some) => sum + some, 0);
  return {
    /** Whether it is known that a table has no block, so that no row of it can be dead. */
    isEmpty,
    /**
     * Takes a table from those that are still to be visited.
     *
     * @returns the part of their blocks that it has, above 0 up to 1
     */
    takeShare(table: Sized): number {
      const own = pending.get(table);
      if (own === undefined) {
        return 1; // it is empty, or visited once more after all others
      }
      const share = own / blocksPending;
      pending.delete(table);
      blocksPending -= own;
      return share;
    },
  };
}

async function readBlocks({ options: { sessions } }: Sized, tables: readonly Sized[]): Promise<Map<number, number>> {
  const relations = tables.flatMap(({ options }) => options.relations);
  const blocks = new Map<number, number>();
  for (let at = 0; at < relations.length; at += RELATIONS_AT_ONCE) {
    for (const row of await sizesOf(sessions[0], relations.slice(at, at + RELATIONS_AT_ONCE))) {
      blocks.set(row.oid, row.blocks);
    }
  }
  return blocks;
}

/** If one of the relations is locked as a whole, only its size stays unknown. */
async function sizesOf(session: Queryable, relations: readonly Relation[]): Promise<readonly Size[]> {
  try {
    const values = [relations.map(({ oid }) => oid), relations.map(({ quotedName }) => quotedName)];
    return (await session.query<Size>(SIZES_SQL, values, BATCH_LIMITS)).rows;
  } catch (error) {
    // Whatever else went wrong is reported by the sweep of the table that it concerns.
    const middle = kindOf(error) === 'locked' ? Math.floor(relations.length / 2) : 0;
    return middle === 0
      ? []
      : [...(await sizesOf(session, relations.slice(0, middle))), ...(await sizesOf(session, relations.slice(middle)))];
  }
}

interface Size {
  readonly oid: number;
  readonly blocks: number;
}

// A table that was renamed or dropped since it was inspected is left out.
const SIZES_SQL = `
  select
    pg_class.oid::pg_catalog.int8::pg_catalog.float8 as oid,
    ${blocksOfRelation('pg_class.oid')} as blocks
  from rows from (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.text[]))
    as listed (listed_oid, quoted_name)
  join pg_catalog.pg_class on pg_class.oid operator(pg_catalog.=) listed_oid
  join pg_catalog.pg_namespace on pg_namespace.oid operator(pg_catalog.=) relnamespace
  where quoted_name operator(pg_catalog.=) pg_catalog.format(
    '"%s"."%s"', pg_catalog.replace(nspname, '"', '""'), pg_catalog.replace(relname, '"', '""')
  )`;
