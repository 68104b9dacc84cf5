import { Client } from 'pg';
import type { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { startPostgres } from '../support/postgres';
import { addedRows, type Login, ROWS_SQL, TABLES_SQL } from './database';
import type { World } from './world';

/** A server of a fleet, with a database for each of a hundred tenants. */
export class FleetServer {
  readonly name: string;
  readonly server: EmbeddedPostgres;
  readonly tenants: readonly string[];

  private constructor(name: string, server: EmbeddedPostgres, tenants: readonly string[]) {
    this.name = name;
    this.server = server;
    this.tenants = tenants;
  }

  static async start(world: World, name: string): Promise<FleetServer> {
    const settings = { fsync: 'off', autovacuum: 'off', shared_buffers: '32MB', max_connections: 20 };
    const server = await startPostgres({ settings });
    world.removeLater(server);
    const tenants = Array.from({ length: 100 }, (_, i) => `tenant_${String(i).padStart(3, '0')}`);
    const fleetServer = new FleetServer(name, server, tenants);
    await fleetServer.#in('postgres', `create role token_cleanup login password '${name}'`);
    await fleetServer.#in('postgres', 'create database tenant');
    await fleetServer.#in('tenant', TABLES_SQL + ROWS_SQL);
    const admin = new Client(server.url());
    await admin.connect();
    for (const tenant of tenants) {
      await admin.query(`create database ${tenant} template tenant strategy file_copy`);
    }
    await admin.end();
    return fleetServer;
  }

  /** The login of the role of the README, whose password is another on each server. */
  get login(): Pick<Login, 'username' | 'password'> {
    return { username: 'token_cleanup', password: this.name };
  }

  /** Its line in the manifest, without the secret. */
  get line() {
    const { host, port } = this.server;
    return { name: this.name, host, port, databases: { like: ['tenant_*'] } };
  }

  async rename(tenant: string, from: string, to: string): Promise<void> {
    await this.#in(tenant, `alter table ${from} rename to ${to}`);
  }

  /** Adds rows that are dead to the database of a tenant. */
  async addDead(tenant: string, rows: number): Promise<void> {
    await this.#in(tenant, addedRows(rows));
    // So that the planner knows of them, by whose estimate a run begins.
    await this.#in(tenant, 'analyze refresh_tokens');
  }

  /** The rows that are left in the databases of all tenants. */
  async rows(): Promise<{ readonly dead: number; readonly live: number }> {
    let dead = 0;
    let live = 0;
    for (const tenant of this.tenants) {
      const [counts] = await this.#in(tenant, COUNT_SQL);
      dead += counts.dead;
      live += counts.live;
    }
    return { dead, live };
  }

  // biome-ignore lint/suspicious/noExplicitAny: each statement has other columns
  async #in(database: string, text: string): Promise<any[]> {
    const client = new Client(this.server.url(database));
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  }
}

const COUNT_SQL = `
  select
    count(*) filter (where revoked or expires_at < now())::int as dead,
    count(*) filter (where not coalesce(revoked or expires_at < now(), false))::int as live
  from refresh_tokens`;
