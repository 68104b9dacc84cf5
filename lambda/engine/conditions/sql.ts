import { printable } from '../../database/database-error';

/** An SQL expression in two forms: one to execute, one for people. */
export interface Sql {
  /** All operators and types are those of `pg_catalog`, so that a schema in which others can create them has no effect. */
  readonly text: string;
  readonly readable: string;
}

/** SQL around other SQL. Operators between blanks are those of `pg_catalog`. */
export function sql(parts: TemplateStringsArray, ...inner: readonly Sql[]): Sql {
  const joined = (rendering: keyof Sql, outer: (part: string) => string) =>
    parts.map((part, index) => (inner[index - 1]?.[rendering] ?? '') + outer(part)).join('');
  return {
    text: joined('text', (part) => part.replace(/ (<|>|>=|=|\+|\*) /g, ' operator(pg_catalog.$1) ')),
    readable: joined('readable', (part) => part),
  };
}

/** SQL with the same text in both forms. */
export function raw(text: string, readable = text): Sql {
  return { text, readable };
}

export function joinSql(parts: readonly Sql[], separator: ' and ' | ' or '): Sql {
  return raw(parts.map(({ text }) => text).join(separator), parts.map(({ readable }) => readable).join(separator));
}

/** A value as an SQL literal for people to read. */
export function literal(value: string | number): string {
  return typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`;
}

/** A string as SQL text, for either setting of `standard_conforming_strings`. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return text.includes('\\') ? `e${quoted}` : quoted;
}

/** An identifier as SQL text. Any content stays one name. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A table as SQL text. */
export function quoteTable(schema: string, table: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`;
}

/** SQL of the same text. @param schema the columns of the catalog with the names */
export function quotedNameSql(schema = 'nspname', table = 'relname'): string {
  return `format('"%s"."%s"', replace(${schema}, '"', '""'), replace(${table}, '"', '""'))`;
}

/** The name that an identifier stands for, quoted or not. */
export function unquoted(identifier: string): string {
  return identifier.startsWith('"') ? identifier.slice(1, -1).replaceAll('""', '"') : identifier;
}

/** SQL with something else in the places of its parameters. Quoted names and literals stay unchanged. */
export function withParameters(text: string, parameter: (number: number) => string): string {
  return text.replace(/"[^"]*"|'[^']*'|\$(\d+)/g, (found, number?: string) =>
    number === undefined ? found : parameter(Number(number)),
  );
}

/** A statement for people to copy. Names with control characters are written by their codes. */
export function printableSql(statement: string): string {
  return statement.replace(/"(?:[^"]|"")*"/g, (name) =>
    printable(name) === name ? name : `U&${printable(name.replaceAll('\\', '\\\\'), '\\')}`,
  );
}
