import { Socket } from 'node:net';
import { Client } from 'pg';
import { ConnectionLostError, sqlStateOf } from './database-error';
import type { Limits, QueryResult } from './queryable';

/** Where a database is and how to log in. */
export interface Credentials {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
}

// An Aurora cluster that scaled to zero takes about 15 s to answer.
const CONNECT_TIMEOUT_MS = 20_000;

// The server ends a statement by itself at its statement_timeout; past that and this much the network is to blame.
const ANSWER_GRACE_MS = 5_000;

// After this an end() that got no answer is forced.
export const CLOSE_TIMEOUT_MS = 1_000;

// Names that an older server does not know are passed over, so that the preflight can tell its version.
const SET_SQL = `
  select set_config(wanted.key, wanted.value, false)
  from jsonb_each_text($1::jsonb) as wanted
  join pg_settings on pg_settings.name = wanted.key`;

/** One connection of the driver, from its opening to its end. */
export class Connection {
  readonly #client: Client;
  readonly #socket: Socket;
  #limits: Limits | undefined;
  usable = true;

  private constructor(client: Client, socket: Socket) {
    this.#client = client;
    this.#socket = socket;
    const unusable = () => {
      this.usable = false;
    };
    // Without a listener, a connection that the server ends while it is idle would end the process.
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
    });
    const connection = new Connection(client, socket);
    try {
      await client.connect();
      return connection;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  get pid(): number {
    return (this.#client as Client & { readonly processID: number }).processID;
  }

  async query<Row>(text: string, values: readonly unknown[], limits: Limits): Promise<QueryResult<Row>> {
    if (
      limits.statementTimeoutMs !== this.#limits?.statementTimeoutMs ||
      limits.lockTimeoutMs !== this.#limits.lockTimeoutMs
    ) {
      await this.set({}, limits);
    }
    return await this.#send<Row>(text, values, limits.statementTimeoutMs);
  }

  async set(settings: Readonly<Record<string, string>>, limits: Limits): Promise<void> {
    const timeouts = {
      statement_timeout: `${limits.statementTimeoutMs}ms`,
      lock_timeout: `${limits.lockTimeoutMs}ms`,
    };
    await this.#send(SET_SQL, [JSON.stringify({ ...settings, ...timeouts })], 0);
    this.#limits = limits;
  }

  async #send<Row>(text: string, values: readonly unknown[], timeoutMs: number): Promise<QueryResult<Row>> {
    // The driver knows query_timeout, its types do not.
    const query = { text, values: [...values], query_timeout: timeoutMs + ANSWER_GRACE_MS };
    try {
      const { rows, rowCount } = await this.#client.query(query);
      return { rows: rows as Row[], rowCount };
    } catch (error) {
      // Whatever the server did not say itself is a failure of the connection.
      throw sqlStateOf(error) === undefined ? new ConnectionLostError(error) : error;
    }
  }

  async close(): Promise<void> {
    if (this.usable) {
      const forced = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref());
      await Promise.race([this.#client.end().catch(() => {}), forced]);
    }
    this.usable = false;
    this.#socket.destroy();
  }
}
