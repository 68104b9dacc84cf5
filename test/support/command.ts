import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { Client } from 'pg';
import type { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { startPostgres } from './postgres';

const PROJECT = join(__dirname, '..', '..');
const TSX = pathToFileURL(require.resolve('tsx')).href;
export const DIRECT = [process.execPath, '--import', TSX, join(PROJECT, 'bin', 'local.ts')];
export const BY_NPM = ['npm', '--silent', 'start', '--'];

/** The folder for temporary files of the commands. */
export const folder = mkdtempSync(join(tmpdir(), 'local-test-'));
chmodSync(folder, 0o755); // started by root, the server runs as another user
const running = new Set<ChildProcess>();

afterEach(() => {
  for (const command of running) {
    process.kill(-(command.pid as number), 'SIGKILL');
  }
});

afterAll(() => rmSync(folder, { recursive: true }));

/** Starts the command as a shell does, in its own process group. */
export function start(
  args: readonly string[],
  { program = DIRECT, environment = {}, stdin = 'ignore' as 'ignore' | 'pipe', cwd = PROJECT } = {},
) {
  const { PATH, HOME } = process.env;
  const [file = '', ...rest] = [...program, ...args];
  const command = spawn(file, rest, {
    cwd,
    env: { PATH, HOME, TMPDIR: folder, ...environment },
    detached: true,
    stdio: [stdin, 'pipe', 'pipe'],
  });
  running.add(command);
  const ended = Promise.all([
    once(command, 'close'),
    text(command.stdout as Readable),
    text(command.stderr as Readable),
  ]).then(([[exitCode], stdout, stderr]) => {
    running.delete(command);
    return { exitCode: exitCode as number, stdout, stderr };
  });
  return { command, ended };
}

export async function run(args: readonly string[], options?: Parameters<typeof start>[1]) {
  return await start(args, options).ended;
}

/** Waits for output of the command. */
export async function untilSaid(command: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  let output = '';
  return await new Promise((found, failed) => {
    const read = (chunk: Buffer) => {
      output += chunk.toString();
      const match = pattern.exec(output);
      if (match) {
        found(match);
      }
    };
    command.stdout?.on('data', read);
    command.stderr?.on('data', read);
    command.once('close', () => failed(new Error(`${pattern} was not said:\n${output}`)));
  });
}

/** A database of a user with a table for each test. The names of the role need to be encoded in a URL. */
export function useShop(): Shop {
  const shop = new Shop();
  beforeAll(() => shop.start());
  beforeEach(() => shop.fill());
  afterAll(() => shop.remove());
  return shop;
}

class Shop {
  server!: EmbeddedPostgres;
  database!: Client;
  url = '';

  async start(): Promise<void> {
    this.server = await startPostgres({ settings: { fsync: 'off' } });
    const superuser = new Client(this.server.url());
    await superuser.connect();
    await superuser.query(`create role "o'cleaner" login password 'p@ss:w/rd %#?'`);
    await superuser.query('create database shop');
    await superuser.end();
    this.url = `postgres://o'cleaner:p%40ss%3Aw%2Frd%20%25%23%3F@127.0.0.1:${this.server.port}/shop`;
    this.database = new Client(this.server.url('shop'));
    await this.database.connect();
  }

  async fill(): Promise<void> {
    await this.database.query(`
      drop table if exists refresh_tokens cascade;
      create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz);
      grant delete, select (ctid, revoked, expires_at) on refresh_tokens to "o'cleaner";
      insert into refresh_tokens
      select n, case n % 3 when 0 then true when 1 then false end,
        case n % 4 when 0 then null else now() + (n % 4 - 2) * interval '1 day' - interval '1 minute' end
      from generate_series(1, 20000) as n`);
  }

  async remove(): Promise<void> {
    await this.database.end();
    await this.server.remove();
  }

  async ids(condition = 'true'): Promise<number[]> {
    const { rows } = await this.database.query(`select id from refresh_tokens where ${condition} order by id`);
    return rows.map(({ id }) => id);
  }
}

/** The rows that a run with the default rules keeps. */
export const LIVE = '(revoked = true or expires_at < now()) is not true';
