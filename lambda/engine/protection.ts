import type { ReferringKey } from './conditions/referring-key';
import type { Cascaded } from './outcome';

/** A foreign key that keeps a row as long as another row refers to it. */
export interface Protection {
  /** The key, behind the cascades that lead to it. */
  readonly path: readonly [ReferringKey, ...ReferringKey[]];
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
  const paths = keys.flatMap((key) => pathsFrom([key])).filter((path) => keeps(path));
  const readable = isInherited ? [] : paths.filter((path) => path.every(({ canRead }) => canRead));
  return {
    // A row to which a live row refers stays in any case: that reason comes first.
    known: [
      ...readable.map((path) => ({ path, waits: false })),
      ...readable.filter(([key]) => key.isSelf).map((path) => ({ path, waits: true })),
    ],
    areIncomplete: readable.length < paths.length,
  };
}

export type Path = readonly [ReferringKey, ...ReferringKey[]];

/** The key itself and, behind a cascade, the keys that point at the rows that it deletes. */
function pathsFrom(path: Path): Path[] {
  const last = path.at(-1) ?? path[0];
  return [path, ...last.next.flatMap((next) => pathsFrom([...path, next]))];
}

function keeps(path: Path): boolean {
  return ['no action', 'restrict'].includes(path.at(-1)?.onDelete ?? '');
}

export interface Cascades {
  /** The cascades whose rows can be counted, each with those that lead to it. */
  readonly known: readonly Path[];
  /** The tables that the role may not read, or not all of it. */
  readonly uncounted: readonly string[];
}

/** The cascades that a DELETE sets off. */
export function cascadesOf(keys: readonly ReferringKey[]): Cascades {
  const paths = keys
    .flatMap((key) => pathsFrom([key]))
    .filter((path) => path.every(({ onDelete }) => onDelete === 'cascade'));
  const isKnown = (path: Path) => path.every(({ canRead }) => canRead);
  return {
    known: paths.filter(isKnown),
    uncounted: [...new Set(paths.filter((path) => !isKnown(path)).map(tableAtEnd))],
  };
}

/** The rows that cascades deleted, by table. A table with a cascade that cannot be counted has no number. */
export function cascadedBy({ known, uncounted }: Cascades, rows: readonly number[]): Cascaded[] {
  const counted = new Map<string, number>();
  known.forEach((path, index) => {
    counted.set(tableAtEnd(path), (counted.get(tableAtEnd(path)) ?? 0) + (rows[index] ?? 0));
  });
  return [
    ...[...counted].filter(([table]) => !uncounted.includes(table)).map(([table, rows]) => ({ table, rows })),
    ...uncounted.map((table) => ({ table })),
  ];
}

function tableAtEnd(path: Path): string {
  return (path.at(-1) ?? path[0]).quotedTable;
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
