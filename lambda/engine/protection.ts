import { type ReferringKey, takesRows } from './conditions/referring-key';
import { quoteIdentifier } from './conditions/sql';
import { type Blockage, type Cascaded, sumsByKey } from './outcome';

/** A foreign key that points at a table and, behind a cascade, a key that points at the rows that it deletes, and so on. */
export type Path = readonly [ReferringKey, ...ReferringKey[]];

/** A foreign key that keeps a row as long as another row refers to it. */
export interface Protection {
  /** The key, behind the cascades that lead to it. */
  readonly path: Path;
  /** Whether the referring row is dead itself, so that this row can be deleted after it. */
  readonly waits: boolean;
}

/** The foreign keys whose referring rows the role can read, and those that only an attempt to delete reveals. */
export interface Protections {
  readonly known: readonly Protection[];
  /** Whether some key keeps rows that only an attempt to delete them finds. */
  readonly areIncomplete: boolean;
}

/** @param isInherited whether some of the relations are children by INHERITS, which no key of their parent points at */
export function protectionsOf(keys: readonly ReferringKey[], isInherited: boolean): Protections {
  const paths = pathsOf(keys).filter((path) => !takesRows(endOf(path)));
  const readable = isInherited ? [] : paths.filter(isReadable);
  return {
    // A row to which a live row refers stays in any case: that reason comes first.
    known: [
      ...readable.map((path) => ({ path, waits: false })),
      ...readable.filter(([key]) => key.isSelf).map((path) => ({ path, waits: true })),
    ],
    areIncomplete: readable.length < paths.length,
  };
}

/** The rows that keys keep, each by the key at the end of a path. */
export function keptBy(paths: readonly Path[], rows: readonly number[]): Blockage[] {
  return paths.flatMap((path, index) => {
    const { constraint, quotedTable } = endOf(path);
    const reason = `foreign key ${quoteIdentifier(constraint)} of ${quotedTable}`;
    return rows[index] ? [{ reason, rows: rows[index] }] : [];
  });
}

export interface Cascades {
  /** The cascades whose rows can be counted, each with those that lead to it. */
  readonly known: readonly Path[];
  /** The tables that the role may not read, or not all of it. */
  readonly uncounted: readonly string[];
}

/** The cascades that a DELETE sets off. */
export function cascadesOf(keys: readonly ReferringKey[]): Cascades {
  const paths = pathsOf(keys).filter((path) => endOf(path).onDelete === 'cascade');
  const hidden = paths.filter((path) => !isReadable(path));
  return { known: paths.filter(isReadable), uncounted: [...new Set(hidden.map((path) => endOf(path).quotedTable))] };
}

/** The rows that cascades deleted, by table. A table with a cascade that cannot be counted has no number. */
export function cascadedBy({ known, uncounted }: Cascades, rows: readonly number[]): Cascaded[] {
  const counted = sumsByKey(known.map((path, index) => [endOf(path).quotedTable, rows[index] ?? 0]));
  return [
    ...[...counted].filter(([table]) => !uncounted.includes(table)).map(([table, rows]) => ({ table, rows })),
    ...uncounted.map((table) => ({ table })),
  ];
}

function pathsOf(keys: readonly ReferringKey[]): Path[] {
  return keys.flatMap((key) => [[key] as const, ...pathsOf(key.next).map((path) => [key, ...path] as const)]);
}

export function endOf(path: Path): ReferringKey {
  return path.at(-1) ?? path[0];
}

function isReadable(path: Path): boolean {
  return path.every(({ canRead }) => canRead);
}

/**
 * SQL of the rows that refer to a row, to follow `select from`; the last of them are called `referring`.
 *
 * @param row the name of the row
 */
export function referringTo(row: string, path: Path): string {
  const nameOf = (step: number) => (step === path.length - 1 ? 'referring' : `step_${step}`);
  const tables = path.map(({ quotedTable }, step) => `${quotedTable} as ${nameOf(step)}`);
  const conditions = path.flatMap(({ columns }, step) =>
    columns.map(
      ({ referred, equals, referring }) =>
        `${step === 0 ? row : nameOf(step - 1)}.${referred} ${equals} ${nameOf(step)}.${referring}`,
    ),
  );
  return `${tables.join(', ')} where ${conditions.join(' and ')}`;
}
