import { chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import type { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import type { Certificate } from './certificate';

/** A secret in the shape that RDS writes. */
export interface Login {
  readonly username: string;
  readonly password: string;
  readonly host: string;
  readonly port: number;
  readonly dbname: string;
}

/** A database of a service that issues tokens, and the role of the README that may clean it. */
export class TokenDatabase {
  readonly #client: Client;
  readonly #login: Login;

  private constructor(client: Client, login: Login) {
    this.#client = client;
    this.#login = login;
  }

  /** @param user who is there already; one is made, of the same name as the database, when undefined */
  static async create(server: EmbeddedPostgres, name: string, user?: string): Promise<TokenDatabase> {
    const admin = new Client(server.url());
    await admin.connect();
    await admin.query(`create database ${name}`);
    if (user === undefined) {
      await admin.query(`create role ${name} login password 'first'`);
    }
    await admin.end();
    const client = new Client(server.url(name));
    client.on('error', () => {}); // the server is stopped at the end, also in the middle of things
    await client.connect();
    await client.query(TABLES_SQL.replaceAll('token_cleanup', user ?? name));
    const { host, port } = server;
    return new TokenDatabase(client, { username: user ?? name, password: 'first', host, port, dbname: name });
  }

  get login(): Login {
    return this.#login;
  }

  /** Replaces all rows by rows on both sides of every rule. */
  async fill(): Promise<void> {
    await this.#client.query(ROWS_SQL);
  }

  /** Adds rows that are dead by every rule of refresh_tokens. */
  async addDead(rows: number): Promise<void> {
    // In place of those that were deleted: at a low pace, a round of seconds would not get beyond empty blocks.
    await this.#client.query('vacuum refresh_tokens');
    await this.#client.query(addedRows(rows));
    // So that the planner knows of them, by whose estimate a run begins.
    await this.#client.query('analyze refresh_tokens');
  }

  /** The number of all rows. */
  async count(): Promise<number> {
    const { rows } = await this.#client.query(
      `select ((select count(*) from refresh_tokens) + (select count(*) from password_resets))::int as rows`,
    );
    return rows[0].rows;
  }

  /** The ids of all rows that are there, by table. */
  async rows(): Promise<Record<string, string[]>> {
    const { rows } = await this.#client.query(
      `select
         (select array_agg(id order by id) from refresh_tokens) as refresh_tokens,
         (select array_agg(id order by id) from password_resets) as password_resets`,
    );
    return rows[0];
  }

  /** @returns the login with the password that the server takes from now on */
  async changePassword(password: string): Promise<Login> {
    await this.#client.query(`alter role ${this.#login.username} password '${password}'`);
    return { ...this.#login, password };
  }

  async close(): Promise<void> {
    await this.#client.end();
  }
}

/** Has a server speak TLS. */
export async function serveTls(server: EmbeddedPostgres, { cert, key }: Certificate): Promise<void> {
  const { uid, gid } = statSync(server.dataDirectory);
  for (const [name, pem] of Object.entries({ 'server.crt': cert, 'server.key': key })) {
    const file = join(server.dataDirectory, name);
    writeFileSync(file, pem, { mode: 0o600 });
    chownSync(file, uid, gid);
  }
  const client = new Client(server.url());
  await client.connect();
  await client.query('alter system set ssl = on');
  await client.query('select pg_reload_conf()');
  await client.end();
}

/** Rows that are dead by every rule of refresh_tokens. */
export function addedRows(rows: number): string {
  return `
    insert into refresh_tokens
    select 'added', 'hash', true, now() - interval '31 days', null from generate_series(1, ${rows})`;
}

export const TABLES_SQL = `
  create table refresh_tokens (id text, token_hash text, revoked boolean, revoked_at timestamptz, expires_at timestamptz);
  create table password_resets (id text, token_hash text, used boolean, expires_at timestamptz);
  grant usage on schema public to token_cleanup;
  grant delete on refresh_tokens, password_resets to token_cleanup;
  grant select (ctid, revoked, revoked_at, expires_at) on refresh_tokens to token_cleanup;
  grant select (ctid, used, expires_at) on password_resets to token_cleanup;
  grant pg_monitor to token_cleanup;`;

export const ROWS_SQL = `
  truncate refresh_tokens, password_resets;
  insert into refresh_tokens values
    ('live', 'hash', false, null, now() + interval '1 day'),
    ('live for ever', 'hash', false, null, null),
    ('unknown', 'hash', null, null, null),
    ('expired', 'hash', false, null, now() - interval '1 second'),
    ('revoked today', 'hash', true, now(), now() + interval '1 day'),
    ('revoked 31 days ago', 'hash', true, now() - interval '31 days', now() + interval '1 day');
  insert into password_resets values
    ('live', 'hash', false, now() + interval '1 hour'),
    ('used', 'hash', true, now() + interval '1 hour'),
    ('expired yesterday', 'hash', false, now() - interval '1 day'),
    ('expired 8 days ago', 'hash', false, now() - interval '8 days');`;
