import { Client } from 'pg';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { type Census, census, fillTokens, REFRESH_TOKENS, type Table, type TokenRows } from './tables';

/** A kind of table in a certain state, on which contenders are compared. */
export interface Course {
  readonly title: string;
  readonly table: Table;
  /** Makes the table, its rows and its indexes in an empty database. */
  readonly fill: (client: Client) => Promise<void>;
  /** Whether its dead tuples stay, for contenders that vacuum. */
  readonly keepsDeadTuples?: boolean;
}

/** Refresh tokens, by default with indexes and half of them dead. */
export function tokens(title: string, rows: Pick<TokenRows, 'rows'> & Partial<TokenRows>): Course {
  return {
    title,
    table: REFRESH_TOKENS,
    fill: (client) => fillTokens(client, { deadShare: 0.5, indexed: true, ...rows }),
  };
}

/** A course that stands ready to be cloned. */
export interface Prepared {
  readonly course: Course;
  readonly database: string;
  readonly before: Census;
}

/** A server that keeps its promises as one in production does; what differs is said here. */
export const SETTINGS = {
  fsync: 'on',
  shared_buffers: '1GB',
  // No checkpoint falls into a measurement; there is one before each.
  max_wal_size: '16GB',
  checkpoint_timeout: '1h',
  // It would come to some contenders and not to others.
  autovacuum: 'off',
};

const ARENA = 'arena';

/** The server on which everything is measured, and the databases on it. */
export class Laboratory {
  readonly #server: EmbeddedPostgres;
  readonly #admin: Client;
  #prepared = 0;

  private constructor(server: EmbeddedPostgres, admin: Client) {
    this.#server = server;
    this.#admin = admin;
  }

  static async start(): Promise<Laboratory> {
    const server = await EmbeddedPostgres.start({ settings: SETTINGS });
    return new Laboratory(server, await connect(server.url(), 'laboratory'));
  }

  async remove(): Promise<void> {
    await this.#admin.end();
    await this.#server.remove();
  }

  /** Lets autovacuum look at the tables every few seconds, until it is called off again. */
  async setAutovacuum(on: boolean): Promise<void> {
    await this.#admin.query(`alter system set autovacuum = ${on ? 'on' : 'off'}`);
    await this.#admin.query(`alter system set autovacuum_naptime = ${on ? `'5s'` : 'default'}`);
    await this.#admin.query('select pg_reload_conf()');
  }

  async version(): Promise<string> {
    const { rows } = await this.#admin.query<{ server_version: string }>('show server_version');
    return rows[0]?.server_version ?? '';
  }

  /** Makes the database of a course, for its clones. */
  async prepare(course: Course): Promise<Prepared> {
    this.#prepared += 1;
    const database = `course_${this.#prepared}`;
    await this.#admin.query(`create database ${database}`);
    const client = await connect(this.#server.url(database), 'laboratory');
    try {
      await course.fill(client);
      await client.query(course.keepsDeadTuples ? 'analyze' : 'vacuum analyze');
      return { course, database, before: await census(client, course.table) };
    } finally {
      await client.end();
    }
  }

  /**
   * Makes copies of a course, called by a name and a number.
   *
   * @returns the URL of the original, which no copy is called like
   */
  async cloneMany({ database }: Prepared, name: string, copies: number): Promise<string> {
    for (let copy = 1; copy <= copies; copy += 1) {
      await this.#admin.query(`create database ${name}_${copy} template ${database}`);
    }
    await this.#admin.query('checkpoint');
    return this.#server.url(database);
  }

  async dropClones(name: string, copies: number): Promise<void> {
    for (let copy = 1; copy <= copies; copy += 1) {
      await this.#admin.query(`drop database ${name}_${copy} with (force)`);
    }
  }

  async discard(prepared: Prepared): Promise<void> {
    await this.#admin.query(`drop database if exists ${ARENA} with (force)`);
    await this.#admin.query(`drop database ${prepared.database}`);
  }

  /**
   * Makes a fresh copy of a course, byte for byte, that is on disk and in memory before it is measured.
   *
   * @returns the URL of the copy; the one before is gone
   */
  async clone({ course, database }: Prepared): Promise<string> {
    await this.#admin.query(`drop database if exists ${ARENA} with (force)`);
    await this.#admin.query(`create database ${ARENA} template ${database} strategy file_copy`);
    await this.#admin.query('checkpoint');
    const url = this.#server.url(ARENA);
    const client = await connect(url, 'laboratory');
    await client.query(`select count(*) from ${course.table.name} where ${course.table.dead}`);
    await client.end();
    return url;
  }
}

export async function connect(url: string, applicationName: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: applicationName });
  client.on('error', () => {}); // the next query reports it
  await client.connect();
  return client;
}
