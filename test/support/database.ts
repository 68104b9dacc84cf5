import { Client, type QueryResultRow } from 'pg';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { systemClock } from '../../lambda/clock';
import { parseTargets, type TargetsInput } from '../../lambda/configuration/targets';
import type { Credentials } from '../../lambda/database/connection';
import { type ConnectionOptions, fixedCredentials, Session, type SessionContext } from '../../lambda/database/session';
import type { SweepProgress } from '../../lambda/engine/pass';
import type { RunLogger } from '../../lambda/run/report';
import { type TokenCleanupOptions, TokenCleanupService } from '../../lambda/token-cleanup-service';
import { eventually } from './eventually';
import { POSTGRES_VERSION, startPostgres } from './postgres';

export interface LogLine {
  readonly level: keyof RunLogger;
  readonly message: string;
  readonly details: Record<string, unknown>;
}

/** Settings that make a server fast. Its data need not survive the machine. */
const FAST = { fsync: 'off', max_connections: 40, shared_buffers: '64MB' };

/** The way to create a database that takes half of the time of the default. Version 14 has no other. */
const COPY = POSTGRES_VERSION >= 15 ? 'strategy file_copy' : '';

/** The rules of most tests, as in JSON. */
export const REFRESH_TOKENS: TargetsInput = [
  { table: 'refresh_tokens', deleteWhen: [{ revoked: true }, { expires_at: { olderThan: '0s' } }] },
];

/** A real server for the tests of a file, and an empty database for each of them. */
export function useDatabase(settings: Record<string, string | number> = {}): TestDatabase {
  const database = new TestDatabase();
  beforeAll(async () => {
    database.server = await startPostgres({ settings: { ...FAST, ...settings } });
  });
  beforeEach(() => database.create());
  afterEach(() => database.dropRoles().finally(() => database.disconnect()));
  afterAll(() => database.server.remove());
  return database;
}

let created = 0;

export class TestDatabase {
  server!: EmbeddedPostgres;
  readonly logs: LogLine[] = [];
  name = '';
  #clients: Client[] = [];
  readonly #roles: string[] = [];

  async create(): Promise<void> {
    this.logs.length = 0;
    created += 1;
    this.name = `test_${created}`;
    const postgres = new Client(this.server.url());
    await postgres.connect();
    await postgres.query(`create database ${this.name} ${COPY}`);
    await postgres.end();
    await this.connect();
  }

  async disconnect(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end().catch(() => {})));
    this.#clients = [];
  }

  get url(): string {
    return this.server.url(this.name);
  }

  /** The login of the superuser, as a service has it in its environment. */
  get environment(): Record<string, string> {
    return {
      DB_HOST: this.server.host,
      DB_PORT: String(this.server.port),
      DB_NAME: this.name,
      DB_USER: EmbeddedPostgres.superuser,
      DB_PASSWORD: this.server.password,
      DB_SSL_MODE: 'disable',
    };
  }

  /** A further connection of the superuser; it is ended with the test. */
  async connect(): Promise<Client> {
    const client = new Client(this.url);
    client.on('error', () => {}); // some tests stop the server
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  /** Runs a statement as the superuser. */
  async sql<Row extends QueryResultRow = QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    const [client = await this.connect()] = this.#clients;
    return (await client.query<Row>(text, values)).rows;
  }

  /**
   * Lets the superuser's session report its figures, which it may do seconds later. Before version 15 it reports them after
   * a statement, half a second after its last report at the earliest.
   */
  async flushStatistics(): Promise<void> {
    if (POSTGRES_VERSION < 15) {
      await new Promise((resolve) => setTimeout(resolve, 600));
    }
    await this.sql(POSTGRES_VERSION < 15 ? 'select' : 'select pg_stat_force_next_flush()');
  }

  /** A connection with a snapshot, which keeps every row readable until it ends its transaction. */
  async snapshot(): Promise<Client> {
    const client = await this.connect();
    await client.query('begin isolation level repeatable read; select from pg_class limit 1');
    return client;
  }

  /** The values of one column, sorted. */
  async column<T>(text: string): Promise<T[]> {
    const rows = await this.sql(text);
    return rows.map((row) => Object.values(row)[0] as T).sort();
  }

  /** The oid of a table. */
  async oid(table: string): Promise<number> {
    const [oid = 0] = await this.column<number>(`select '${table}'::regclass::oid::int`);
    return oid;
  }

  /** The login of the superuser, but for what differs. */
  login(differing: Partial<Credentials> = {}): Credentials {
    const { host, port, password } = this.server;
    return { host, port, database: this.name, user: EmbeddedPostgres.superuser, password, ...differing };
  }

  /** The same as a secret of Secrets Manager. */
  secret(differing?: Partial<Credentials>): string {
    const { user: username, database: dbname, ...rest } = this.login(differing);
    return JSON.stringify({ username, dbname, ...rest });
  }

  connection(differing?: Partial<Credentials>): ConnectionOptions {
    return { credentials: fixedCredentials(this.login(differing)), trustedCertificates: false };
  }

  /** Creates a role that may log in and has these privileges, and returns its connection. It goes with the test. */
  async createRole(name: string, ...privileges: string[]): Promise<ConnectionOptions> {
    await this.sql(`create role ${name} login password '${name}'`);
    this.#roles.push(name);
    for (const each of privileges) {
      await this.sql(`grant ${each} to ${name}`);
    }
    return this.connection({ user: name, password: name });
  }

  async dropRoles(): Promise<void> {
    for (const name of this.#roles.splice(0)) {
      await this.sql(`drop owned by ${name}; drop role ${name}`);
    }
  }

  /** A session like a sweep's. The caller closes it. */
  session(options: Partial<ConnectionOptions> = {}, context: Partial<SessionContext> = {}): Session {
    const { signal } = new AbortController();
    return new Session(
      { ...this.connection(), ...options },
      { clock: systemClock, stop: signal, abandon: signal, onRetry: () => {}, ...context },
    );
  }

  /** The service on this database, at full load; its log lines are kept. */
  service(
    options: Partial<Omit<TokenCleanupOptions, 'targets'>> & { targets?: TargetsInput } = {},
  ): TokenCleanupService {
    const { targets = REFRESH_TOKENS, ...rest } = options;
    return new TokenCleanupService({
      connection: this.connection(),
      maxLoad: 1,
      logger: this.logger,
      ...rest,
      targets: parseTargets(targets),
    });
  }

  get logger(): RunLogger {
    const keep = (level: keyof RunLogger) => (message: string, details: Record<string, unknown>) => {
      this.logs.push({ level, message, details });
    };
    return { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
  }

  /** Waits until the first value of a query is true. */
  async until(text: string, values: unknown[] = [], patience: Parameters<typeof eventually>[1] = {}): Promise<void> {
    const observer = await this.connect();
    const isTrue = async () => Object.values((await observer.query(text, values)).rows[0] ?? {})[0] === true;
    await eventually(isTrue, { what: text, intervalMs: 0, ...patience });
  }

  /** The server's log of a run, with all statements if they are wanted. */
  async logOf(run: () => Promise<unknown>, { statements = false } = {}): Promise<string[]> {
    const mark = async (text: string, logged: string) => {
      await this.sql(`${statements ? logged : ''}; do $$ begin raise log '${text}'; end $$`);
    };
    await mark('the run begins', `alter role postgres set log_statement to 'all'`);
    await run();
    await mark('the run is over', 'alter role postgres reset log_statement');
    return await eventually(() => {
      const [lines = '', end] = (this.server.log.split('the run begins').at(-1) ?? '').split('the run is over');
      return end !== undefined && lines.split('\n');
    });
  }

  /** The errors that the server logs of a run, except for batches that are slow on a crowded machine. */
  async errorsOf(run: () => Promise<unknown>): Promise<string[]> {
    const log = await this.logOf(run);
    return log.filter((line) => line.includes('ERROR:') && !line.includes('statement timeout'));
  }

  /** A logger with which something happens, once, as soon as a run makes progress; and the end of that. */
  atProgress(happen: (progress: SweepProgress) => unknown): {
    readonly logger: RunLogger;
    readonly happened: () => Promise<unknown>;
  } {
    let happened: Promise<unknown> | undefined;
    const debug: RunLogger['debug'] = (_, { progress }) => {
      if (progress) {
        happened ??= Promise.resolve(happen(progress as SweepProgress));
        happened.catch(() => {}); // whoever waits for it learns of it
      }
    };
    const end = () => happened ?? Promise.reject(new Error('the run made no progress'));
    return { logger: { ...this.logger, debug }, happened: end };
  }

  /** Makes each delete of a row take some time. */
  async slowDown(table: string, seconds: number): Promise<void> {
    await this.sql(`
      create function dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(${seconds}); return old; end';
      create trigger dawdle before delete on ${table} for each row execute function dawdle()`);
  }

  /** Waits until a statement of the sweep waits for a lock. */
  async untilSweepWaits(): Promise<void> {
    await this.until(
      `select count(*) > 0 from pg_stat_activity where application_name = 'token-cleanup' and wait_event_type = 'Lock'`,
    );
  }

  /** Checks that the sessions of a run are gone within a second of its end. It usually takes 20 ms. */
  async untilGone(): Promise<void> {
    await this.until(`select count(*) = 0 from pg_stat_activity where application_name = 'token-cleanup'`, [], {
      patienceMs: 1_000,
    });
  }
}
