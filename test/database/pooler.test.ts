import { Client } from 'pg';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { useDatabase } from '../support/database';
import { Pooler, type PoolOptions } from '../support/pooler';

const database = useDatabase();

const REFUSAL =
  'the address leads to a connection pooler in transaction mode, such as PgBouncer, through which the settings and the ' +
  'lock of a run would reach the sessions of other clients: use the address of the server itself, of a pool in session ' +
  'mode, or of an RDS Proxy';

let pooler: Pooler;
const clients: Client[] = [];

beforeEach(() =>
  database.sql(`
    create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens select id, id % 2 = 0 from generate_series(1, 1000) as id`),
);
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end()));
  await pooler.stop();
});

async function startPooler(options: Omit<PoolOptions, 'login'>): Promise<void> {
  const login = { user: EmbeddedPostgres.superuser, password: database.server.password, database: database.name };
  pooler = await Pooler.start(database.server, { ...options, login });
}

async function connect(): Promise<Client> {
  const client = new Client({
    ...database.connection(),
    host: '127.0.0.1',
    port: pooler.port,
    database: database.name,
  });
  clients.push(client);
  await client.connect();
  return client;
}

function run(concurrency = 1, dryRun = false) {
  return database.service({ connection: database.connection({ port: pooler.port }) }).run({ concurrency, dryRun });
}

/** The settings of every session of the pool, all of them lent at once. */
async function settingsOfAll(size: number): Promise<string[]> {
  const found: string[] = [];
  const holders: Client[] = [];
  for (let index = 0; index < size; index += 1) {
    const client = await connect();
    holders.push(client);
    await client.query('begin');
    const { rows } = await client.query(
      `select string_agg(name || '=' || setting, ' ' order by name) as settings
       from pg_settings where source in ('session', 'client') and name not in ('client_encoding')`,
    );
    found.push(rows[0].settings ?? '');
  }
  await Promise.all(holders.map((client) => client.query('rollback')));
  return found;
}

test.each([{ size: 1 }, { size: 2 }, { size: 2, roundRobin: true }, { size: 5 }, { size: 5, roundRobin: true }])(
  'is refused in transaction mode, and nothing is left behind: %p',
  async (options) => {
    await startPooler({ mode: 'transaction', ...options });
    const before = await settingsOfAll(options.size);

    for (const dryRun of [true, false]) {
      expect(await run(1, dryRun)).toMatchObject({ status: 'failed', rowsDeleted: 0, error: REFUSAL });
    }
    expect(await settingsOfAll(options.size)).toEqual(before);
    expect(await database.sql(`select from pg_locks where locktype = 'advisory'`)).toEqual([]);
  },
);

test('is refused in transaction mode while other clients keep the sessions busy', async () => {
  await startPooler({ mode: 'transaction', size: 3, roundRobin: true });
  let busy = true;
  const others = [await connect(), await connect(), await connect(), await connect()].map(async (client) => {
    while (busy) {
      await client.query('select pg_sleep(random() / 500)');
    }
  });

  for (let attempt = 0; attempt < 5; attempt += 1) {
    expect(await run()).toMatchObject({ status: 'failed', error: REFUSAL });
  }
  busy = false;
  await Promise.all(others);
  expect(new Set(await settingsOfAll(3))).toEqual(new Set(['']));
});

test.each(['session', 'rds-proxy'] as const)('is no hindrance in the mode %s', async (mode) => {
  await startPooler({ mode, size: 5 });
  await settingsOfAll(3); // some sessions have been lent before
  await Promise.all(clients.splice(0).map((client) => client.end()));

  expect(await run(2)).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 500,
    targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
  });
  expect(database.logs.filter(({ level }) => level === 'warn')).toEqual([]);
  expect(new Set(await settingsOfAll(5))).toEqual(new Set(['']));
  expect(await database.sql(`select from pg_locks where locktype = 'advisory'`)).toEqual([]);
});
