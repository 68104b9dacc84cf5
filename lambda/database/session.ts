import type { Clock } from '../clock';
import { type Backend, CLOSE_TIMEOUT_MS, Connection, type Credentials } from './connection';
import { describeError, kindOf } from './database-error';
import { refuseSharedSessions } from './pooler';
import type { Check, Limits, Queryable, QueryResult } from './queryable';

/** The source of the sessions' credentials. */
export interface CredentialSource {
  /** The credentials to connect with. */
  current(abandon: AbortSignal): Promise<Credentials>;
  /** Gets other credentials than those that the server refused; undefined if there are none. */
  otherThan(refused: Credentials, abandon: AbortSignal): Promise<Credentials | undefined>;
}

/** Credentials that never change. */
export function fixedCredentials(credentials: Credentials): CredentialSource {
  return { current: async () => credentials, otherThan: async () => undefined };
}

/** How sessions connect. */
export interface ConnectionOptions {
  readonly credentials: CredentialSource;
  /** The certificates to trust, as PEM. With `false` the connection is not encrypted. */
  readonly trustedCertificates: readonly string[] | false;
  /**
   * How long the database may be unreachable before the run gives up.
   *
   * @default 60_000, longer than a failover of Aurora and most failovers of RDS
   */
  readonly reconnectTimeoutMs?: number;
}

/** The run that sessions belong to. */
export interface SessionContext {
  /** @default - the database that the credentials name */
  readonly database?: string | undefined;
  readonly clock: Clock;
  /** Ends the waiting for an unreachable database. */
  readonly stop: AbortSignal;
  /** Aborts connections, even during a statement. */
  readonly abandon: AbortSignal;
  /** Receives a warning for each failed attempt that is repeated. */
  readonly onRetry: (warning: string, details: { readonly reason: string; readonly waitMs: number }) => void;
}

/** Runs a statement on one connection, and does not reconnect. */
export type Query = <Row>(text: string, values?: readonly unknown[]) => Promise<QueryResult<Row>>;

const RECONNECT_TIMEOUT_MS = 60_000;

const FIRST_RETRY_MS = 100;

const LONGEST_RETRY_MS = 5_000;

const RETRY_WARNINGS = {
  'connection-lost': 'the database is unreachable, trying again',
  transient: 'a change by another session undid a statement, trying again',
};

/** For all statements except those of a sweep, which have their own limits. */
const LIMITS: Limits = { statementTimeoutMs: 30_000, lockTimeoutMs: 1_000 };

const SETTINGS: Readonly<Record<string, string>> = {
  application_name: 'token-cleanup',
  TimeZone: 'UTC',
  default_transaction_isolation: 'read committed',
  idle_in_transaction_session_timeout: '10s',
  idle_session_timeout: '2min', // a session whose function is gone releases its advisory lock
  plan_cache_mode: 'auto', // the check of a foreign key runs for each row, and must not be planned for each
  max_parallel_workers_per_gather: '0', // the service keeps its processors
  jit: 'off', // compiling costs more than a batch
};

/**
 * A connection that reconnects. It connects with the first statement. If the database is unreachable, it reconnects and
 * repeats the statement, after a jittered back-off and within bounds. So every statement must be repeatable, as deletes
 * and counts of the same rows are.
 */
export class Session implements Queryable {
  readonly #options: ConnectionOptions;
  readonly #context: SessionContext;
  reconnections = 0;
  synchronous: boolean | undefined;
  readonly #onConnect: (query: Query) => Promise<void>;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  /** The time of the first failure since the last success. */
  #failingSince: number | undefined;
  #gaveUp = false;
  #previous: Backend | undefined;

  /** @param onConnect runs first on every new connection; its statements must qualify all names */
  constructor(
    options: ConnectionOptions,
    context: SessionContext,
    onConnect: (query: Query) => Promise<void> = async () => {},
  ) {
    this.#options = options;
    this.#context = context;
    this.#onConnect = onConnect;
  }

  /**
   * Runs a statement.
   *
   * @param limits how long the server may take, and wait for a lock
   * @throws the last error, if the database stayed unreachable or repeating does not help
   */
  async query<Row>(
    text: string,
    values: readonly unknown[] = [],
    limits = LIMITS,
    check?: Check,
  ): Promise<QueryResult<Row>> {
    const { clock, stop, abandon, onRetry } = this.#context;
    const timeoutMs = this.#options.reconnectTimeoutMs ?? RECONNECT_TIMEOUT_MS;
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS)) {
      let connection: Connection | undefined;
      try {
        connection = await this.#connected();
        connection.synchronous = this.synchronous ?? false;
        const result = await connection.query<Row>(text, values, limits, check);
        this.#failingSince = undefined;
        this.#gaveUp = false;
        return result;
      } catch (error) {
        if (abandon.aborted) {
          throw new Error('the time was up before the database or Secrets Manager answered', { cause: error });
        }
        const kind = kindOf(error);
        if (kind !== 'connection-lost' && kind !== 'transient') {
          throw error;
        }
        if (kind === 'connection-lost') {
          await this.#disconnect(connection);
        }
        this.#failingSince ??= clock.now();
        this.#gaveUp ||= stop.aborted || clock.now() - this.#failingSince + retryMs > timeoutMs;
        if (this.#gaveUp) {
          throw error;
        }
        // Half of the wait is random, so that the functions of several stages do not return at once.
        const waitMs = Math.round(retryMs * (0.5 + Math.random() / 2));
        onRetry(RETRY_WARNINGS[kind], { reason: describeError(error), waitMs });
        await clock.sleep(waitMs, stop);
      }
    }
  }

  /**
   * Connects now, without a second try.
   *
   * @throws the error of the attempt
   */
  async open(): Promise<void> {
    await this.#connected();
  }

  /** Ends the connection, by force if the server does not answer. Never throws. */
  async close(): Promise<void> {
    await this.#disconnect(this.#connection);
  }

  async #connected(): Promise<Connection> {
    if (this.#connection?.usable) {
      return this.#connection;
    }
    // Statements that are sent at the same time share the connection.
    this.#connecting ??= this.#reconnect().finally(() => {
      this.#connecting = undefined;
    });
    return await this.#connecting;
  }

  async #reconnect(): Promise<Connection> {
    await this.#disconnect(this.#connection);
    const { credentials } = this.#options;
    const { abandon } = this.#context;
    const login = await credentials.current(abandon);
    try {
      return await this.#connect(login);
    } catch (error) {
      const renewed = kindOf(error) === 'refused' ? await credentials.otherThan(login, abandon) : undefined;
      if (!renewed) {
        throw error;
      }
      return await this.#connect(renewed);
    }
  }

  async #connect(login: Credentials): Promise<Connection> {
    const connection = await this.#openConnection(login);
    try {
      let backend = await connection.identify();
      if (backend.pid !== connection.announcedPid) {
        await refuseSharedSessions(connection, () => this.#openConnection(login));
        backend = await connection.identify(); // RDS Proxy has settled on a session only now
        connection.isLent = true;
      }
      const query: Query = (text, values = []) => connection.query(text, values, LIMITS);
      const setting = connection.set(SETTINGS, LIMITS);
      if (this.#previous) {
        this.reconnections += 1;
        await setting;
        await this.#endPrevious(query, this.#previous);
      }
      this.#previous = backend;
      await Promise.all([setting, this.#onConnect(query)]);
      this.#connection = connection;
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  async #openConnection(login: Credentials): Promise<Connection> {
    const { database = login.database, abandon } = this.#context;
    return await Connection.open({ ...login, database }, this.#options.trustedCertificates, abandon);
  }

  /** A server that has not noticed the loss of the connection still holds the advisory lock, and perhaps rows. */
  async #endPrevious(query: Query, { pid, startedAt }: Backend): Promise<void> {
    await query(
      `select pg_terminate_backend(pid, ${CLOSE_TIMEOUT_MS})
       from pg_stat_activity
       where pid = $1 and backend_start::text = $2 and pid <> pg_backend_pid()`,
      [pid, startedAt],
    );
  }

  async #disconnect(connection: Connection | undefined): Promise<void> {
    if (connection === this.#connection) {
      this.#connection = undefined;
    }
    await connection?.close();
  }
}
