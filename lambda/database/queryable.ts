/** The conditions under which the server executes a statement. */
export interface Limits {
  /** How long it may take. */
  readonly statementTimeoutMs: number;
  /** How long it may wait for a lock. */
  readonly lockTimeoutMs: number;
  /**
   * Whether names are looked up along the role's own `search_path`, on which triggers and policies of a table may rely.
   * Such a statement must qualify every function, operator and type, since others may create some on the path.
   *
   * @default false, for pg_catalog alone
   */
  readonly ownSearchPath?: boolean;
  /**
   * A table, by its quoted name. The statement then runs in repeatable read, with a snapshot that is taken once the table is
   * locked: it sees every change of the table that it waited for.
   *
   * @default none: read committed, which tests a row again if it changed while the statement waited for it
   */
  readonly snapshotOf?: string;
}

/** A statement and the values of its parameters. */
export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/**
 * Checks a result before its commit: returns a statement that finds a row if the result must not be committed. It is then
 * rolled back and repeated.
 */
export type Check = (rows: readonly unknown[]) => Statement | undefined;

/** The part of a database session that the engine needs. */
export interface Queryable {
  /** How many times it has reconnected. */
  readonly reconnections: number;
  /** Whether each commit waits until it is on disk. A new connection keeps the value. Undefined: not yet decided. */
  synchronous?: boolean | undefined;
  query<Row>(text: string, values?: readonly unknown[], limits?: Limits, check?: Check): Promise<QueryResult<Row>>;
}

export interface QueryResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number | null;
}

/** Saves a round trip if it is known that a query would find nothing. */
export async function rowsIf<Row>(
  mayFindSome: boolean,
  session: Queryable,
  text: string,
  values: readonly unknown[],
): Promise<readonly Row[]> {
  return mayFindSome ? (await session.query<Row>(text, values)).rows : [];
}
