import { groupedBy } from './totals';

/** A line about one of many tables or databases. */
export interface Line {
  /** The table or the database. */
  readonly subject: string;
  readonly text: string;
  /** Lines of the same kind share one; a line without a kind stands alone. */
  readonly kind?: string | undefined;
}

const MOST_SUBJECTS = 3;

/** More than a person reads, and less than a line of the log can hold. Each table has a line of its own there. */
export const MOST_LINES = 100;

/** Joins lines about thousands of tables: those of a kind name the first tables and count the others. */
export function joinAlike(lines: readonly Line[]): string[] {
  const groups = groupedBy<string | Line, Line>(lines, (line) => line.kind ?? line);
  return limited(
    [...groups.values()].map((group) => `${subjectsOf(group.map(({ subject }) => subject))}: ${group[0].text}`),
  );
}

/** The first of many names, and the number of the others. */
export function subjectsOf(names: readonly string[]): string {
  const others = names.length - MOST_SUBJECTS;
  return `${names.slice(0, MOST_SUBJECTS).join(', ')}${others > 0 ? ` and ${others} more` : ''}`;
}

/** The first of many lines, and the number of the others. */
export function limited(lines: readonly string[]): string[] {
  const others = lines.length - MOST_LINES;
  return others > 0 ? [...lines.slice(0, MOST_LINES), `and ${others} more`] : [...lines];
}
