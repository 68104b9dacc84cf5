/** How long the server may work on a statement, and wait for a lock. */
export interface Limits {
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
}

/** All that the engine needs of a database session. */
export interface Queryable {
  /** How many times the connection was replaced by another. */
  readonly reconnections: number;
  query<Row>(text: string, values?: readonly unknown[], limits?: Limits): Promise<QueryResult<Row>>;
}

export interface QueryResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number | null;
}
