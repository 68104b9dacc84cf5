/** The real PgBouncer in front of a server. Run by `npm run test:pgbouncer`, which needs `pgbouncer` on the PATH. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { useDatabase } from '../support/database';
import { eventually } from '../support/eventually';

const database = useDatabase();

let directory: string;
let pgbouncer: ChildProcess;
let port: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
  await database.sql(`
    create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz);
    create table devices (token_id int constraint device_token references refresh_tokens);
    create index on devices (token_id);
    insert into refresh_tokens select id, id % 2 = 0 from generate_series(1, 1000) as id;
    insert into devices values (2)`);
});
afterEach(async () => {
  const ended = once(pgbouncer, 'exit');
  pgbouncer.kill('SIGTERM');
  await ended;
  rmSync(directory, { recursive: true });
});

async function start(mode: string): Promise<void> {
  const { host, password, port: serverPort } = database.server;
  port = await freePort();
  writeFileSync(join(directory, 'users.txt'), `"${EmbeddedPostgres.superuser}" "${password}"\n`);
  writeFileSync(
    join(directory, 'pgbouncer.ini'),
    `[databases]
    * = host=${host} port=${serverPort}
    [pgbouncer]
    listen_addr = 127.0.0.1
    listen_port = ${port}
    unix_socket_dir =
    auth_type = plain
    auth_file = ${join(directory, 'users.txt')}
    pool_mode = ${mode}
    default_pool_size = 3
    ${process.getuid?.() === 0 ? 'user = nobody' : ''}`,
  );
  chmodSync(directory, 0o755);
  pgbouncer = spawn('pgbouncer', ['-q', join(directory, 'pgbouncer.ini')], { stdio: 'ignore' });
  await new Promise<void>((started, failed) => {
    pgbouncer.once('spawn', started);
    pgbouncer.once('error', (cause) => failed(new Error('pgbouncer must be installed and on the PATH', { cause })));
  });
  const client = await eventually(() => connect().catch(() => undefined));
  await client.end();
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port: free } = listener.address() as { port: number };
  listener.close();
  await once(listener, 'close');
  return free;
}

async function connect(): Promise<Client> {
  const { password } = database.server;
  const client = new Client({ host: '127.0.0.1', port, database: database.name, user: 'postgres', password });
  await client.connect();
  return client;
}

async function settings(): Promise<unknown> {
  const client = await connect();
  const { rows } = await client.query(
    `select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
       current_setting('synchronous_commit') as synchronous, current_setting('search_path') as path`,
  );
  await client.end();
  return rows[0];
}

function run() {
  return database.service({ connection: database.connection({ port }) }).run({ concurrency: 2 });
}

test.each(['transaction', 'statement'])('is refused in the mode %s, and nothing is left behind', async (mode) => {
  await start(mode);
  const before = await settings();

  for (let attempt = 0; attempt < 5; attempt += 1) {
    expect(await run()).toMatchObject({
      status: 'failed',
      rowsDeleted: 0,
      error: expect.stringContaining('PgBouncer'),
    });
    expect(await settings()).toEqual(before);
  }

  expect(await database.sql(`select from pg_locks where locktype = 'advisory'`)).toEqual([]);
});

test('is no hindrance in the mode session', async () => {
  await start('session');
  const before = await settings();

  expect(await run()).toMatchObject({ rowsDeleted: 499, targets: [{ stopReason: 'blocked', rowsRemaining: 1 }] });

  for (let attempt = 0; attempt < 5; attempt += 1) {
    expect(await settings()).toEqual(before);
  }
  expect(await database.column('select id from refresh_tokens where revoked')).toEqual([2]);
  expect(await database.sql(`select from pg_locks where locktype = 'advisory'`)).toEqual([]);
});
