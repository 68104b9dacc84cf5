import { isKeeper, isKeyOf, type ReferringKey, takesRows } from '../conditions/referring-key';
import { quoteIdentifier, quoteTable, unquoted } from '../conditions/sql';
import type { Columns } from './columns';
import type { Reads } from './privileges';
import type { TargetTable } from './tables';

/** The foreign keys that keep the rows to which they refer, and the tables and columns that they require. */
export interface Keepers extends Reads {
  readonly keepers: readonly ReferringKey[];
  /** The findings that forbid relying on them. */
  readonly findings: readonly string[];
}

/** Finds the foreign keys of the tables that `unlessReferredToBy` names. */
export function keepersOf(table: TargetTable, keys: readonly ReferringKey[], columns: Columns): Keepers {
  const { unlessReferredToBy = [], schema, table: name } = table.target;
  const quotedTable = quoteTable(schema, name);
  const keepers = keys.filter((key) => isKeeper(key, table.target));
  const missing = unlessReferredToBy.filter((listed) => !keepers.some((key) => isKeyOf(key, listed)));
  const known = [...new Set(keys.map((key) => key.quotedTable))].join(', ');
  return {
    table,
    keepers,
    own: [
      ...new Set([...columns.own, ...keepers.flatMap((key) => key.columns.map(({ referred }) => unquoted(referred)))]),
    ],
    others: [
      ...columns.others,
      ...keepers.map((key) => ({ oid: key.oid, columns: key.columns.map(({ referring }) => unquoted(referring)) })),
    ],
    findings: [
      ...missing.map(
        (listed) =>
          `no foreign key of a table ${quoteIdentifier(listed)} refers to ${quotedTable}${known && `, only those of ${known}`}`,
      ),
      ...keepers
        .filter(({ hidesRows }) => hidesRows)
        .map(
          (key) =>
            `row-level security may hide rows of ${key.quotedTable} that refer to ${quotedTable}: a role that relies on ` +
            '"unlessReferredToBy" needs bypassrls',
        ),
      // One check needs a later snapshot of the tables, the other the same snapshot to the end.
      ...(columns.references.size > 0 ? keepers.filter(takesRows) : []).map(
        ({ constraint, onDelete }) =>
          `foreign key ${quoteIdentifier(constraint)} must not be on delete ${onDelete}: beside "refersTo", ` +
          '"unlessReferredToBy" relies on keys that restrict deletes',
      ),
    ],
  };
}
