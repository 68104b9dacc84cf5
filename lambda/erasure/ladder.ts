import type { Holder } from './holders';
import type { RelationTraces } from './traces';

/** How far the deleted rows of a table are gone. PostgreSQL overwrites nothing: each step only makes a row harder to read. */
export interface Erasure {
  /** Whether the deletes are on the server's disk. */
  readonly deleted: boolean;
  /** Whether no snapshot can read the deleted rows any more, on this server. */
  readonly unreadable: boolean;
  /** The holders that keep the deleted rows readable; absent if there are none. */
  readonly heldBackBy?: readonly Holder[];
  /** Whether it is certain that neither the table nor an index leads to a deleted row. */
  readonly unlinked: boolean;
  /**
   * The end of the last vacuum before the run, of the table or of its least recently vacuumed partition; absent if none is
   * recorded.
   */
  readonly vacuumedAt?: string;
  /**
   * Hours since the last vacuum that certainly cleaned the indexes, or since the first delete if nothing was left before; 0
   * if nothing is left now. Absent if it is not known.
   */
  readonly hoursUnlinked?: number;
  /**
   * Only in a dry run: SQL for the owner, under which the server vacuums the table soon and cleans its indexes each time.
   * Absent if the table has such settings, or the run vacuums it.
   */
  readonly autovacuumAdvice?: readonly string[];
}

/** A table after a run, or in a dry run. */
export interface ErasedTable {
  /** As they were before the run; of a partitioned table, those of its partitions. Nothing if they could not be read. */
  readonly traces: readonly RelationTraces[] | undefined;
  readonly hoursSinceRead: number;
  readonly rowsWereDeleted: boolean;
  /** Whether the run itself vacuumed it after the deletes. */
  readonly vacuumed: boolean;
  /** Found after the deletes, and before the vacuum. */
  readonly heldBackBy: readonly Holder[];
}

export function isClean(traces: readonly RelationTraces[] | undefined): boolean {
  return traces?.every((each) => each.isClean) ?? false;
}

export function erasureOf(table: ErasedTable): Erasure {
  const { traces, rowsWereDeleted, vacuumed, heldBackBy } = table;
  const nothingIsLeft = isClean(traces) && !rowsWereDeleted;
  const isUnreadable = nothingIsLeft || heldBackBy.length === 0;
  const isUnlinked = nothingIsLeft || (vacuumed && isUnreadable);
  // Neither is finite unless it is known.
  const hours = isUnlinked ? 0 : hoursLinked(table);
  const vacuumedAt = Math.min(...(traces ?? []).map((each) => each.vacuumedAt ?? Number.NaN));
  return {
    deleted: true,
    unreadable: isUnreadable,
    ...(!isUnreadable && { heldBackBy }),
    unlinked: isUnlinked,
    ...(Number.isFinite(vacuumedAt) && { vacuumedAt: new Date(vacuumedAt).toISOString() }),
    ...(Number.isFinite(hours) && { hoursUnlinked: Math.ceil(hours * 1_000) / 1_000 }),
  };
}

function hoursLinked({ traces, hoursSinceRead, vacuumed, heldBackBy }: ErasedTable): number {
  if (isClean(traces)) {
    return hoursSinceRead;
  }
  // A vacuum that was held back came too early for the rows that were deleted since.
  const held = heldBackBy.map(({ seconds = Number.NaN }) => seconds / 3_600);
  const left = (traces ?? [])
    .filter((each) => !each.isClean)
    .map(({ hoursSinceUnlinked }) => (hoursSinceUnlinked ?? Number.NaN) + hoursSinceRead);
  return Math.max(...held, ...(vacuumed ? [] : left));
}
