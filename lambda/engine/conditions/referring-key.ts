import type { Target } from '../../configuration/targets';
import { quoteIdentifier } from './sql';

/** A foreign key that points at a table, directly or through the partitioned table to which it belongs. */
export interface ReferringKey {
  readonly constraint: string;
  /** The table that refers. */
  readonly quotedTable: string;
  readonly oid: number;
  /** Quoted identifiers, and the operator by which the key compares them, qualified: `referred equals referring`. */
  readonly columns: readonly { readonly referring: string; readonly referred: string; readonly equals: string }[];
  readonly onDelete: 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default';
  /** Whether the table refers to itself. Its partitions and the table that it is a partition of count as itself. */
  readonly isSelf: boolean;
  /** Whether the role can find referring rows: it may read the columns on both sides, and no policy hides rows. */
  readonly canRead: boolean;
  /** Whether some referring rows cannot be found: a policy hides them, or the key is one of periods. */
  readonly hidesRows: boolean;
  /** Whether an index leads from a referred row to the rows that refer to it. */
  readonly hasIndex: boolean;
  /** The keys that point at the rows that a cascade deletes; empty unless `onDelete` is `cascade`. */
  readonly next: readonly ReferringKey[];
}

/** Whether the rows of a key keep those that they refer to because the target says so. */
export function isKeeper(key: Pick<ReferringKey, 'quotedTable'>, { unlessReferredToBy = [] }: Target): boolean {
  return unlessReferredToBy.some((listed) => isKeyOf(key, listed));
}

export function isKeyOf({ quotedTable }: Pick<ReferringKey, 'quotedTable'>, table: string): boolean {
  return quotedTable.endsWith(`.${quoteIdentifier(table)}`);
}

/** Whether a key deletes or changes the rows that refer to a deleted one. */
export function takesRows({ onDelete }: Pick<ReferringKey, 'onDelete'>): boolean {
  return onDelete !== 'no action' && onDelete !== 'restrict';
}
