import { Socket } from 'node:net';
import { Client, type ClientConfig } from 'pg';
import { ConnectionLostError, OutdatedError, sqlStateOf } from './database-error';
import type { Check, Limits, QueryResult, Statement } from './queryable';

/** The address of a database, and a login. */
export interface Credentials {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
}

// An Aurora cluster that scaled to zero takes about 15 s to answer.
const CONNECT_TIMEOUT_MS = 20_000;

// The server cancels a statement at its statement_timeout. If no answer has come this long after, the network is down.
const ANSWER_GRACE_MS = 5_000;

// A pooler may keep a client waiting for a free session.
const PROBE_TIMEOUT_MS = 10_000;

// An end() without an answer is forced after this time.
export const CLOSE_TIMEOUT_MS = 1_000;

// No other role can create anything in these schemas. The role's own temporary tables come last.
const SAFE_SEARCH_PATH = 'pg_catalog, pg_temp';

// This runs on the role's own search path, where others may have created functions, so all names are qualified. It also
// reveals a pooler in transaction mode before any setting is made.
const IDENTITY_SQL = `
  select
    activity.pid::pg_catalog.int4 as pid,
    activity.backend_start::pg_catalog.text as "startedAt",
    pg_catalog.current_setting('search_path') as "searchPath"
  from pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) as activity`;

// Settings that an older server lacks are skipped, so that the run gets far enough to report its version.
const SET_SQL = `
  select pg_catalog.set_config(wanted.key, wanted.value, false)
  from pg_catalog.jsonb_each_text($1::pg_catalog.jsonb) as wanted
  where pg_catalog.current_setting(wanted.key, true) is not null`;

/** A transaction takes its snapshot with the first statement that needs one. To lock a table does not. */
function beginWith(quotedName: string): string {
  return `begin isolation level repeatable read; lock table only ${quotedName} in row exclusive mode`;
}

/** The server's side of a connection. */
export interface Backend {
  readonly pid: number;
  readonly startedAt: string;
  /** The default of the role. */
  readonly searchPath: string;
}

/** One connection of the driver. It is never reopened. */
export class Connection {
  readonly #client: Client;
  readonly #socket: Socket;
  /** The settings of the last statement, as JSON. */
  #limits: string | undefined;
  #searchPath: string | undefined;
  #lastAnswer: Promise<unknown> = Promise.resolve();
  usable = true;
  /** Whether a commit waits until it is on disk. */
  synchronous = false;
  /** Whether the session belongs to a pooler, which may lend it to others afterwards. */
  isLent = false;

  private constructor(client: Client, socket: Socket) {
    this.#client = client;
    this.#socket = socket;
    const unusable = () => {
      this.usable = false;
    };
    // Without a listener, the end of an idle connection would be an uncaught exception.
    client.on('error', unusable);
    client.on('end', unusable);
  }

  static async open(
    login: Credentials,
    trustedCertificates: readonly string[] | false,
    abandon: AbortSignal,
  ): Promise<Connection> {
    const socket = new Socket({ signal: abandon });
    const client = new Client({
      ...login,
      ssl: trustedCertificates && { ca: [...trustedCertificates] },
      stream: () => socket,
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      pipeline: true, // statements are sent without waiting for earlier answers
    } as ClientConfig);
    const connection = new Connection(client, socket);
    try {
      await client.connect();
      return connection;
    } catch (error) {
      socket.destroy();
      throw Object.assign(error as Error, { isEncrypted: trustedCertificates !== false });
    }
  }

  /** The process id that the server announced for cancel requests. A pooler invents one. */
  get announcedPid(): number {
    return (this.#client as Client & { readonly processID: number }).processID;
  }

  /** Identifies the server's side. Call this before the first query. */
  async identify(): Promise<Backend> {
    const backend = await this.probe<Backend>(IDENTITY_SQL);
    this.#searchPath = backend.searchPath;
    return backend;
  }

  /** Runs a statement that returns one row, before any setting is made. It must qualify all names. */
  async probe<Row>(text: string): Promise<Row> {
    const { rows } = await this.#send<Row>(text, [], PROBE_TIMEOUT_MS);
    if (!rows[0]) {
      throw new Error('the server did not identify the session');
    }
    return rows[0];
  }

  async query<Row>(text: string, values: readonly unknown[], limits: Limits, check?: Check): Promise<QueryResult<Row>> {
    const isSet = JSON.stringify(this.#settingsOf(limits)) === this.#limits;
    const setting = isSet ? undefined : this.set({}, limits);
    const timeoutMs = limits.statementTimeoutMs;
    const needsTransaction = check !== undefined || limits.snapshotOf !== undefined;
    if (needsTransaction || !limits.ownSearchPath) {
      await setting; // whatever the statement calls, it must not be on the role's search path
    }
    if (needsTransaction) {
      return await this.#sendInTransaction({ text, values }, limits, check);
    }
    const [result] = await Promise.all([this.#send<Row>(text, values, timeoutMs), setting]);
    return result;
  }

  async #sendInTransaction<Row>(
    { text, values }: Statement,
    { statementTimeoutMs: timeoutMs, snapshotOf }: Limits,
    check: Check | undefined,
  ): Promise<QueryResult<Row>> {
    try {
      await this.#send(snapshotOf === undefined ? 'begin' : beginWith(snapshotOf), [], timeoutMs);
      const result = await this.#send<Row>(text, values, timeoutMs);
      const objection = check?.(result.rows);
      if (objection && (await this.#send(objection.text, objection.values, timeoutMs)).rows.length > 0) {
        throw new OutdatedError();
      }
      await this.#send('commit', [], timeoutMs);
      return result;
    } catch (error) {
      if (this.usable) {
        await this.#send('rollback', [], timeoutMs);
      }
      throw error;
    }
  }

  /** Makes the given settings and those for later statements, which need not wait for the answer. */
  async set(settings: Readonly<Record<string, string>>, limits: Limits): Promise<void> {
    const ofStatements = this.#settingsOf(limits);
    this.#limits = JSON.stringify(ofStatements);
    try {
      await this.#send(SET_SQL, [JSON.stringify({ ...settings, ...ofStatements })], 0);
    } catch (error) {
      this.usable = false; // the statement sent after it had other limits
      throw error;
    }
  }

  #settingsOf({ statementTimeoutMs, lockTimeoutMs, ownSearchPath }: Limits): Readonly<Record<string, string>> {
    return {
      statement_timeout: `${statementTimeoutMs}ms`,
      lock_timeout: `${lockTimeoutMs}ms`,
      search_path: (ownSearchPath && this.#searchPath) || SAFE_SEARCH_PATH,
      synchronous_commit: this.synchronous ? 'on' : 'off', // measured: off is a quarter faster
    };
  }

  async #send<Row>(text: string, values: readonly unknown[], timeoutMs: number): Promise<QueryResult<Row>> {
    // The driver knows query_timeout, its types do not.
    const query = { text, values: [...values], query_timeout: timeoutMs + ANSWER_GRACE_MS };
    const send = () => this.#client.query(query);
    // Some poolers may not accept several statements at once.
    const answer = this.isLent ? this.#lastAnswer.then(send) : send();
    this.#lastAnswer = answer.catch(() => {});
    try {
      // Several statements without values have a result each.
      const results = [await answer].flat();
      const { rows = [], rowCount = null } = results.at(-1) ?? {};
      return { rows: rows as Row[], rowCount };
    } catch (error) {
      // An error that the server did not send is a failure of the connection.
      throw sqlStateOf(error) === undefined ? new ConnectionLostError(error) : error;
    }
  }

  async close(): Promise<void> {
    if (this.usable) {
      const forced = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref());
      await Promise.race([this.#end().catch(() => {}), forced]);
    }
    this.usable = false;
    this.#socket.destroy();
  }

  async #end(): Promise<void> {
    if (this.isLent) {
      // PgBouncer does this too, unless it is configured not to.
      await this.#client.query('discard all');
    }
    await this.#client.end();
  }
}
