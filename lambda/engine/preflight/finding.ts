import { printable } from '../../database/database-error';
import { printableSql } from '../conditions/sql';

/** A finding of the preflight about the table of a target. */
export interface Finding {
  /** One sentence, without the name of the target. */
  readonly text: string;
  /** The statement that resolves it; absent if no statement does. */
  readonly sql?: string;
}

export function findingOf(text: string, sql?: string): Finding {
  return { text: printable(text), ...(sql !== undefined && { sql: printableSql(sql) }) };
}

/** A finding in one line, with its statement at the end. */
export function messageOf({ text, sql }: Finding): string {
  return sql === undefined ? text : `${text}: ${sql}`;
}

export function statementsOf(findings: readonly Finding[]): string[] {
  return findings.flatMap(({ sql }) => sql ?? []);
}
