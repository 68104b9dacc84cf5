import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { EmbeddedPostgres } from '../bin/local/embedded-postgres';
import { invoke } from '../bin/local/invocation';
import type { RunReport } from '../lambda/report';
import { startPostgres } from './support/postgres';

const PROJECT = join(__dirname, '..');
const DIRECT = [process.execPath, '--import', 'tsx', 'bin/local.ts'];
const BY_NPM = ['npm', '--silent', 'start', '--'];

const folder = mkdtempSync(join(tmpdir(), 'local-test-'));
chmodSync(folder, 0o755); // started by root, the server runs as somebody else
const running = new Set<ChildProcess>();

afterEach(() => {
  for (const command of running) {
    process.kill(-(command.pid as number), 'SIGKILL');
  }
});

afterAll(() => rmSync(folder, { recursive: true }));

/** The command as a shell starts it, in a process group of its own. */
function start(
  args: readonly string[],
  { program = DIRECT, environment = {}, stdin = 'ignore' as 'ignore' | 'pipe' } = {},
) {
  const { PATH, HOME } = process.env;
  const [file = '', ...rest] = [...program, ...args];
  const command = spawn(file, rest, {
    cwd: PROJECT,
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

async function run(args: readonly string[], options?: Parameters<typeof start>[1]) {
  return await start(args, options).ended;
}

function serversLeft(): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('token-cleanup-postgres-'));
}

describe('on the demo', () => {
  test('cleans both tables and prints the result alone', async () => {
    const { exitCode, stdout } = await run(['--json'], { program: BY_NPM });

    const report: RunReport = JSON.parse(stdout);
    expect(report).toMatchObject({ status: 'succeeded', stage: 'local', dryRun: false });
    expect(report.targets.map(({ table, status, rowsRemaining }) => ({ table, status, rowsRemaining }))).toEqual([
      { table: 'refresh_tokens', status: 'succeeded', rowsRemaining: 0 },
      { table: 'password_resets', status: 'succeeded', rowsRemaining: 0 },
    ]);
    expect(report.rowsDeleted).toBeGreaterThan(100_000);
    expect(exitCode).toBe(0);
    expect(serversLeft()).toEqual([]);
  });

  test('proves in the database what it did', async () => {
    const { exitCode, stdout, stderr } = await run([]);

    expect(stdout).toContain('✓ 200,000 rows are in refresh_tokens and password_resets');
    expect(stdout).toMatch(/^ {2}expires at the very cutoff +1 +1 +1 +1$/m);
    expect(stdout).toMatch(/^ {2}expired +\d+,\d+ +0 +\d+,\d+ +0$/m);
    const [, stayed = '', gone = '', reported] =
      /✓ no live row is missing: all ([\d,]+) rows to keep are there, unchanged\n {2}✓ ([\d,]+) rows are gone, the run reported ([\d,]+)\n {2}✓ 0 dead rows are left, the run reported 0\n/.exec(
        stdout,
      ) ?? [];
    expect(gone).toBe(reported);
    expect(numberIn(stayed) + numberIn(gone)).toBe(200_000);
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
  });

  test('ends after the batch under way on Ctrl-C, says what remains, and leaves no server behind', async () => {
    const { command, ended } = start(['--max-load', '0.01']);
    const port = Number((await untilSaid(command, /PostgreSQL 18 runs on 127\.0\.0\.1:(\d+)/))[1]);
    await untilSaid(command, /refresh_tokens: .* rows deleted/);
    process.kill(-(command.pid as number), 'SIGINT');
    const { exitCode, stdout } = await ended;

    expect(exitCode).toBe(3);
    expect(stdout).toMatch(/^Partly done: [\d,]+ rows deleted/m);
    expect(stdout).toContain('! refresh_tokens: interrupted; the next run goes on\n');
    expect(stdout).toContain('! password_resets: interrupted; the next run goes on\n');
    expect(stdout).toMatch(/✓ no live row is missing/);
    const [, left = ''] = /✓ ([\d,]+) dead rows are left, the run (?:did not count them|reported)/.exec(stdout) ?? [];
    expect(numberIn(left)).toBeGreaterThan(0);
    expect(serversLeft()).toEqual([]);
    expect(await answers(port)).toBe(false);
  });
});

describe('on a database of the user', () => {
  let server: EmbeddedPostgres;
  let database: Client;
  let url: string;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: 'off' } });
    const superuser = new Client(server.url());
    await superuser.connect();
    await superuser.query(`create role "o'cleaner" login password 'p@ss:w/rd %#?'`);
    await superuser.query('create database shop');
    await superuser.end();
    url = `postgres://o'cleaner:p%40ss%3Aw%2Frd%20%25%23%3F@127.0.0.1:${server.port}/shop`;
    database = new Client(server.url('shop'));
    await database.connect();
  });

  beforeEach(async () => {
    await database.query(`
      drop table if exists refresh_tokens cascade;
      create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz);
      grant delete, select (ctid, revoked, expires_at) on refresh_tokens to "o'cleaner";
      insert into refresh_tokens
      select n, case n % 3 when 0 then true when 1 then false end,
        case n % 4 when 0 then null else now() + (n % 4 - 2) * interval '1 day' - interval '1 minute' end
      from generate_series(1, 20000) as n`);
  });

  afterAll(async () => {
    await database.end();
    await server.remove();
  });

  const LIVE = '(revoked = true or expires_at < now()) is not true';

  async function ids(condition = 'true'): Promise<number[]> {
    const { rows } = await database.query(`select id from refresh_tokens where ${condition} order by id`);
    return rows.map(({ id }) => id);
  }

  async function relations(): Promise<string[]> {
    const { rows } = await database.query('select relnamespace, relname, relkind from pg_class order by 1, 2');
    return rows.map((row) => JSON.stringify(row));
  }

  test('says what it would delete where, and deletes nothing in a dry run', async () => {
    const before = await ids();
    const { exitCode, stdout } = await run(['--database-url', url, '--dry-run']);

    const dead = before.length - (await ids(LIVE)).length;
    const counted = (rows: number) => rows.toLocaleString('en');
    const [revoked, expired] = [await ids('revoked = true'), await ids('expires_at < now()')];
    const figures = /\d+(\.\d)? (s|%|kB)/g;
    const durations = /(Would take +).*/;
    const { rows: ages } = await database.query(
      'select min(expires_at) as oldest from refresh_tokens where expires_at < now()',
    );
    expect(
      stdout
        .replaceAll(figures, 'N $2')
        .replace(durations, '$1N')
        .replace(/PostgreSQL .*/, 'PostgreSQL N'),
    ).toBe(
      [
        'Dry run, deletes nothing',
        `  in database shop on 127.0.0.1:${server.port}, as o'cleaner (not encrypted)`,
        '  ! other users of this machine can see the password in the command line; put it into PGPASSWORD or ~/.pgpass',
        '',
        '  refresh_tokens: N %',
        '',
        'Succeeded: a dry run, nothing was deleted (N s)',
        '',
        '  PostgreSQL N',
        "    Clock       agrees with this machine's",
        '    Replicas    none that stream',
        '',
        '  refresh_tokens',
        `    Would go    ${counted(dead)} rows (N %)`,
        `                ${counted(revoked.length).padStart(6)} where revoked = true`,
        `                ${counted(expired.length).padStart(6)} where expires_at < now() (oldest ${ages[0].oldest.toISOString()})`,
        `    Would stay  ${counted(before.length - dead)} rows`,
        '    Would take  N',
        '    Size        N kB, and N kB of indexes',
        '    New index   not needed: the table is small',
        '',
        '',
      ].join('\n'),
    );
    expect(exitCode).toBe(0);
    expect(await ids()).toEqual(before);
  });

  test('shows on one screen what a dry run found missing, as statements to copy', async () => {
    await database.query(`
      create table devices (token_id int constraint device_token references refresh_tokens);
      revoke all on refresh_tokens from "o'cleaner";
      revoke select (ctid, revoked, expires_at) on refresh_tokens from "o'cleaner"`);
    const { exitCode, stdout } = await run(['--database-url', url, '--dry-run']);

    expect(stdout).toContain(
      [
        '  ! refresh_tokens: foreign key "device_token" has no index on its own side, so each deleted row reads all of "public"."devices"',
        '  ✗ refresh_tokens: a privilege is missing',
        '',
        '  Before the first run, by the owner of the tables:',
        `  grant delete on public.refresh_tokens to "o'cleaner";`,
        `  grant select (ctid, revoked, expires_at) on public.refresh_tokens to "o'cleaner";`,
        '  create index concurrently on public.devices (token_id);',
        '',
      ].join('\n'),
    );
    expect(stdout.match(/device_token/g)).toHaveLength(1);
    expect(stdout.split('\n').length).toBeLessThan(24);
    expect(exitCode).toBe(1);
  });

  test('prints the findings of a dry run as JSON', async () => {
    const { exitCode, stdout } = await run(['--database-url', url, '--dry-run', '--json'], { program: BY_NPM });

    const report: RunReport = JSON.parse(stdout);
    expect(report).toMatchObject({ dryRun: true, server: { isReplica: false } });
    expect(report.targets[0]).toMatchObject({
      rowsRemaining: 20_000 - (await ids(LIVE)).length,
      diagnosis: { rowsKept: (await ids(LIVE)).length },
    });
    expect(exitCode).toBe(0);
  });

  test('deletes the dead rows, and creates nothing, whatever else is in the environment', async () => {
    const [live, existing] = [await ids(LIVE), await relations()];
    const { exitCode, stdout, stderr } = await run(['--database-url', url, '--json', '--concurrency', '2'], {
      environment: {
        DB_HOST: 'elsewhere.invalid',
        PGHOST: 'elsewhere.invalid',
        PGUSER: 'somebody',
        PGOPTIONS: '-c default_transaction_read_only=on',
        CLEANUP_MAX_LOAD: '7',
        CLEANUP_TARGETS: '[]',
        STAGE: 'prod',
        AWS_PROFILE: 'none',
        AWS_ENDPOINT_URL: 'http://elsewhere.invalid',
      },
    });

    expect(JSON.parse(stdout)).toMatchObject({
      status: 'succeeded',
      stage: 'local',
      rowsDeleted: 20_000 - live.length,
      targets: [{ rowsRemaining: 0 }],
    });
    expect(stderr).toContain(`  in database shop on 127.0.0.1:${server.port}, as o'cleaner (not encrypted)\n`);
    expect(exitCode).toBe(0);
    expect(await ids()).toEqual(live);
    expect(await relations()).toEqual(existing);
  });

  test('applies the targets of a file', async () => {
    const file = join(folder, 'retention.json');
    const rule = { revoked: true, expires_at: { olderThan: '1h' } };
    writeFileSync(file, JSON.stringify([{ table: 'refresh_tokens', deleteWhen: [rule] }]));
    const live = await ids(`(revoked = true and expires_at < now() - interval '1 hour') is not true`);
    const { exitCode, stdout } = await run(['--database-url', url, '--targets', file, '--yes']);

    expect(stdout).toContain(`    where revoked = true and expires_at < now() - interval '1 hour'\n`);
    expect(exitCode).toBe(0);
    expect(await ids()).toEqual(live);
  });

  test('keeps every live row when it is interrupted, and reports what is left', async () => {
    const live = await ids(LIVE);
    const { command, ended } = start(['--database-url', url, '--json', '--max-load', '0.001']);
    await untilSaid(command, /refresh_tokens: .* rows deleted/);
    process.kill(-(command.pid as number), 'SIGINT');
    const { exitCode, stdout } = await ended;

    const report: RunReport = JSON.parse(stdout);
    expect(report).toMatchObject({ status: 'partial', targets: [{ status: 'partial', stopReason: 'interrupted' }] });
    expect(report.rowsDeleted).toBeGreaterThan(0);
    expect(exitCode).toBe(3);
    expect(await ids(LIVE)).toEqual(live);
    expect((await ids()).length).toBe(20_000 - report.rowsDeleted);
    expect((await ids()).length).toBeGreaterThan(live.length);
  });

  test('shows a failure in words', async () => {
    await database.query('alter table refresh_tokens rename revoked to is_revoked');
    const { exitCode, stdout, stderr } = await run(['--database-url', url, '--yes']);

    expect(stdout).toMatch(/^Failed: 0 rows deleted \(\d\.\d s\)$/m);
    expect(stdout).toContain('✗ refresh_tokens: column "revoked" of "public"."refresh_tokens" does not exist\n');
    expect(stderr).toBe('');
    expect(exitCode).toBe(1);
  });

  test('does not wait for a database that is not there', async () => {
    const { exitCode, stdout } = await run(['--database-url', 'postgres://user:password@127.0.0.1:1/shop', '--yes']);

    expect(stdout).toMatch(/Failed: 0 rows deleted \(\d\.\d s\)\n {2}✗ connect ECONNREFUSED 127\.0\.0\.1:1\n/);
    expect(exitCode).toBe(1);
  });

  test('ends at once on a second Ctrl-C, and the function with it', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const { command, ended } = start(['--database-url', `postgres://user:password@127.0.0.1:${port}/shop`, '--yes']);
    const [connection]: Socket[] = await once(silent, 'connection');
    const cutOff = once(connection as Socket, 'close');
    connection?.on('error', () => {}).resume();
    while (running.has(command)) {
      command.kill('SIGINT');
      await delay(50);
    }

    expect((await ended).exitCode).toBe(130);
    expect(await Promise.race([cutOff, delay(10_000, 'still connected', { ref: false })])).not.toBe('still connected');
    silent.close();
  });

  describe('on a terminal', () => {
    /** Answers once there is a question. The terminal is that of `script`, which Linux has. */
    async function answer(keys: string, args = ['--database-url', url]) {
      const { command, ended } = start([], {
        program: [
          'script',
          '-qec',
          [...DIRECT, ...args].map((part) => `'${part.replaceAll("'", "'\\''")}'`).join(' '),
          '/dev/null',
        ],
        stdin: 'pipe',
      });
      await untilSaid(command, /\[y\/N\] /);
      command.stdin?.write(keys);
      return await ended;
    }

    test('asks before it deletes, and deletes after a yes', async () => {
      await database.query('analyze refresh_tokens');
      const live = await ids(LIVE);
      const { exitCode, stdout } = await answer('y\r');

      expect(stdout).toContain('about 20,000 rows in all');
      expect(stdout).toContain('Delete the matching rows?');
      expect(exitCode).toBe(0);
      expect(await ids()).toEqual(live);
    });

    test.each([
      ['Enter', '\r'],
      ['no', 'no\r'],
      ['Ctrl-C', '\x03'],
      ['Ctrl-D', '\x04'],
    ])('deletes nothing after %s', async (_, keys) => {
      const before = await ids();
      const { exitCode, stdout } = await answer(keys);

      expect(stdout).toContain('Not confirmed: nothing was deleted.');
      expect(exitCode).toBe(3);
      expect(await ids()).toEqual(before);
    });
  });

  test('reaches a server by its socket, without a password if the server trusts the role', async () => {
    const sockets = mkdtempSync(join(folder, 'socket-'));
    chmodSync(sockets, 0o777);
    const trusting = await startPostgres({ settings: { unix_socket_directories: sockets } });
    try {
      writeFileSync(join(trusting.dataDirectory, 'pg_hba.conf'), 'local all all trust\n');
      const client = new Client({ host: sockets, port: trusting.port, user: 'postgres', password: trusting.password });
      await client.connect();
      await client.query(`
        select pg_reload_conf();
        create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz);
        insert into refresh_tokens values (1, true), (2, false)`);
      await client.end();
      const { exitCode, stdout } = await run(['--database-url', `postgresql:///?host=${sockets}`, '--yes'], {
        environment: { PGPORT: String(trusting.port), PGUSER: 'postgres', PGDATABASE: 'postgres' },
      });

      expect(stdout).toContain(`on socket ${sockets}/.s.PGSQL.${trusting.port}, as postgres (no password)\n`);
      expect(stdout).toMatch(/^Succeeded: 1 row deleted/m);
      expect(exitCode).toBe(0);
    } finally {
      await trusting.remove();
    }
  });

  test('points to --discover if a table is missing, and finds targets that the next run takes', async () => {
    await database.query(`
      drop table refresh_tokens;
      create table oauth_tokens (id int primary key, token_hash text not null, expires_at timestamptz not null);
      insert into oauth_tokens select n, md5(n::text), now() - n * interval '10 days' from generate_series(0, 9) as n;
      grant select, delete on oauth_tokens to "o'cleaner"`);
    try {
      const missing = await run(['--database-url', url, '--dry-run']);
      expect(missing.stdout).toContain('✗ refresh_tokens: table "public"."refresh_tokens" does not exist\n');
      expect(missing.stdout).toContain('--discover in place of --dry-run looks for tables');

      const { exitCode, stdout } = await run(['--database-url', url, '--discover']);
      expect(exitCode).toBe(0);
      expect(stdout).toContain('  public.oauth_tokens  likely\n    Rows        10 rows, 7 would go\n');
      const [targets = ''] = /^ {2}\[\n(.*\n)+ {2}\]$/m.exec(stdout) ?? [];
      const file = join(folder, 'discovered.json');
      writeFileSync(file, targets);
      const dryRun = await run(['--database-url', url, '--targets', file, '--dry-run']);
      expect(dryRun.stdout).toContain('    Would go    7 rows (70.0 %)\n');

      const { stdout: json } = await run(['--database-url', url, '--discover', '--json']);
      expect(JSON.parse(json).targets).toEqual(JSON.parse(targets));
      expect((await database.query('select from oauth_tokens')).rowCount).toBe(10);
    } finally {
      await database.query('drop table oauth_tokens');
    }
  });

  test('shows control characters in names instead of sending them to the terminal', async () => {
    const name = 'tokens\n✓ fine\u001b[2K\u009b1m\u202e';
    const quoted = `"${name}"`;
    const file = join(folder, 'unprintable.json');
    writeFileSync(file, JSON.stringify([{ table: name, deleteWhen: [{ [name]: true }] }]));
    await database.query(`create table ${quoted} (${quoted} boolean); grant all on ${quoted} to "o'cleaner"`);
    try {
      for (const args of [['--yes'], ['--dry-run'], ['--discover'], ['--json', '--verbose']]) {
        const { stdout, stderr } = await run([
          ...['--database-url', url, ...args],
          ...(args.includes('--discover') ? [] : ['--targets', file]),
        ]);

        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
        expect((stdout + stderr).match(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)).toBeNull();
        expect(stdout + stderr).not.toMatch(/^✓ fine/m);
        expect(stdout).toContain(args.includes('--discover') ? 'refresh_tokens' : '\\u001b[2K\\u009b1m\\u202e');
      }
    } finally {
      await database.query(`drop table ${quoted}`);
    }
  });

  test('takes the password from PGPASSWORD or the password file', async () => {
    const passwordFile = join(folder, 'pgpass');
    writeFileSync(passwordFile, `127.0.0.1:*:shop:o'cleaner:p@ss\\:w/rd %#?\n`, { mode: 0o600 });
    const args = ['--database-url', `postgres://o'cleaner@127.0.0.1:${server.port}/shop`, '--dry-run'];
    for (const environment of [{ PGPASSWORD: 'p@ss:w/rd %#?' }, { PGPASSFILE: passwordFile }]) {
      const { exitCode, stdout } = await run(args, { environment });

      expect(stdout).toContain("as o'cleaner (not encrypted)\n\n");
      expect(exitCode).toBe(0);
    }
  });

  test('does nothing where NODE_ENV is test', async () => {
    const before = await ids();
    const { exitCode, stdout } = await run(['--database-url', url, '--yes'], { environment: { NODE_ENV: 'test' } });

    expect(stdout).toContain('Skipped: the job does not run if NODE_ENV is test');
    expect(exitCode).toBe(0);
    expect(await ids()).toEqual(before);
  });
});

describe('options', () => {
  test('are explained', async () => {
    const { exitCode, stdout } = await run(['--help'], { program: BY_NPM });

    expect(exitCode).toBe(0);
    for (const option of [
      'database-url URL',
      'dry-run',
      'yes',
      'targets FILE',
      'stage NAME',
      'concurrency N',
      'json',
    ]) {
      expect(stdout).toContain(`\n  --${option} `);
    }
    expect(Math.max(...stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80);
  });

  test('are refused with every mistake at once, and without the password', async () => {
    const { exitCode, stdout, stderr } = await run([
      ...['--database-url', 'postgres://app:secret%@db.example.com?sslmode=require', '--max-load', '2'],
    ]);

    expect(stderr.split('\n')).toEqual([
      '--database-url names no database: it must look like postgres://USER@HOST:PORT/DATABASE, unless PGDATABASE is set',
      '--database-url: the password contains a % that encodes nothing; write %25 for a %',
      expect.stringContaining('--database-url: sslmode must be verify-full or disable, got "require"'),
      '--max-load must be above 0 and at most 1, got "2"',
      expect.stringContaining('--yes is required to delete rows if input or output is not a terminal'),
      'Nothing was touched. All options: npm start -- --help',
      '',
    ]);
    expect(stdout).toBe('');
    expect(exitCode).toBe(2);
  });

  test('name every mistake in a file of targets', async () => {
    const file = join(folder, 'mistaken.json');
    const deleteWhen = [{ expires_at: { olderThan: '7 days' } }, {}];
    writeFileSync(
      file,
      JSON.stringify([
        { tabel: 'sessions', deleteWhen: [] },
        { table: 'sessions', deleteWhen },
      ]),
    );
    const { exitCode, stderr } = await run(['--targets', file]);

    expect(stderr.split('\n')).toEqual([
      `${file}[0].table is required`,
      `${file}[0].deleteWhen must hold at least one rule, or it would match every row, got []`,
      `${file}[0].tabel is not a known key (did you mean table?)`,
      `${file}[1].deleteWhen[0].expires_at.olderThan must be an age such as "0s", "30m", "12h" or "7d", ` +
        'at most 36500 days, got "7 days"',
      `${file}[1].deleteWhen[1] must name at least one column, or it would match every row, got {}`,
      'Nothing was touched. All options: npm start -- --help',
      '',
    ]);
    expect(exitCode).toBe(2);
  });

  test('do not mistake a dry run that npm took for itself', async () => {
    const { exitCode, stderr } = await run([], { program: ['npm', '--silent', 'start', '--dry-run'] });

    expect(stderr).toContain('--dry-run went to npm, not to this command: npm start -- --dry-run\n');
    expect(exitCode).toBe(2);
  });
});

test('an invocation without an answer fails with what the process wrote', async () => {
  const broken = invoke({ environment: { NODE_OPTIONS: '--no-such-option' } });

  await expect(broken).rejects.toThrow(/the function ended without an answer \(exit code 9\)\n.*--no-such-option/);
});

async function untilSaid(command: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
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

async function answers(port: number): Promise<boolean> {
  const socket = createConnection(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function numberIn(text: string): number {
  return Number(text.replaceAll(',', ''));
}
