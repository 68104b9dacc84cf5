import { matchesPattern, type NamePattern } from './configuration/name-pattern';
import type { Credentials } from './database/connection';
import type { Queryable } from './database/queryable';
import type { CredentialSource } from './database/session';

/**
 * Finds the databases of a server that a pattern takes, in the order of their names.
 *
 * @param after if given, only the databases behind this name
 * @throws Error if the pattern takes no database
 */
export async function databasesOf(session: Queryable, pattern: NamePattern, after?: string): Promise<string[]> {
  const { rows } = await session.query<{ name: string }>(DATABASES_SQL);
  const taken = rows.map(({ name }) => name).filter((name) => matchesPattern(pattern, name));
  if (taken.length === 0) {
    throw new Error(`DB_NAMES must match at least one database of the server, got ${JSON.stringify(pattern)}`);
  }
  return taken.filter((name) => after === undefined || name > after).sort(byCodeUnits);
}

// Whether the role may connect is found out by connecting: a database that refuses it has to be reported.
const DATABASES_SQL = `
  select datname::text as name
  from pg_catalog.pg_database
  where datallowconn and not datistemplate`;

/** The same order everywhere, whatever the locale of a server: `after` and `next` depend on it. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The same login for another database of the server. */
export function credentialsFor(database: string, source: CredentialSource): CredentialSource {
  const refusedAs = new WeakMap<Credentials, Credentials>();
  const renamed = (credentials: Credentials) => {
    const copy = { ...credentials, database };
    refusedAs.set(copy, credentials);
    return copy;
  };
  return {
    current: async (abandon) => renamed(await source.current(abandon)),
    otherThan: async (refused, abandon) => {
      const others = await source.otherThan(refusedAs.get(refused) ?? refused, abandon);
      return others && renamed(others);
    },
  };
}
