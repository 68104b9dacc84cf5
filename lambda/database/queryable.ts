/** The conditions under which the server executes a statement. */
export interface Limits {
  /** How long it may work. */
  readonly statementTimeoutMs: number;
  /** How long it may wait for a lock. */
  readonly lockTimeoutMs: number;
  /**
   * Whether names are looked up along the role's own `search_path`, which the triggers and policies of a table may rely on.
   * Such a statement must name the schema of every function, operator and type, since others may create some on the path.
   *
   * @default false, along pg_catalog alone
   */
  readonly ownSearchPath?: boolean;
  /** @default read committed, so that a row that changed while it was waited for is tested again */
  readonly isolation?: 'read committed' | 'repeatable read';
}

/** A statement and the values of its parameters. */
export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/**
 * A check of a result before it is committed: a statement that finds a row if the result must not be. The statement that
 * had the result is then undone and repeated.
 */
export type Check = (rows: readonly unknown[]) => Statement | undefined;

/** All that the engine needs of a database session. */
export interface Queryable {
  /** How many times the connection was replaced by another. */
  readonly reconnections: number;
  /** Set it so that each commit waits until it is on disk, over later connections too. */
  synchronous?: boolean;
  query<Row>(text: string, values?: readonly unknown[], limits?: Limits, check?: Check): Promise<QueryResult<Row>>;
}

export interface QueryResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number | null;
}
