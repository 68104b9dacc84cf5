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
}

/** All that the engine needs of a database session. */
export interface Queryable {
  /** How many times the connection was replaced by another. */
  readonly reconnections: number;
  /** Set it so that each commit waits until it is on disk, over later connections too. */
  synchronous?: boolean;
  query<Row>(text: string, values?: readonly unknown[], limits?: Limits): Promise<QueryResult<Row>>;
}

export interface QueryResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number | null;
}
