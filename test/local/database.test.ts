import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunReport } from '../../lambda/run/report';
import { BY_NPM, folder, LIVE, run, start, untilSaid, useShop } from '../support/command';
import { eventually } from '../support/eventually';

const shop = useShop();

async function relations(): Promise<string[]> {
  const { rows } = await shop.database.query('select relnamespace, relname, relkind from pg_class order by 1, 2');
  return rows.map((row) => JSON.stringify(row));
}

test('shows the rows that it would delete, and deletes nothing in a dry run', async () => {
  const before = await shop.ids();
  const { exitCode, stdout } = await run(['--database-url', shop.url, '--dry-run']);

  const dead = before.length - (await shop.ids(LIVE)).length;
  const counted = (rows: number) => rows.toLocaleString('en');
  const [revoked, expired] = [await shop.ids('revoked = true'), await shop.ids('expires_at < now()')];
  const figures = /\d+(\.\d)? (s|%|kB)/g;
  const durations = /(Duration +).*/;
  const { rows: ages } = await shop.database.query(
    'select min(expires_at) as oldest from refresh_tokens where expires_at < now()',
  );
  expect(
    stdout
      .replaceAll(figures, 'N $2')
      .replace(durations, '$1N')
      .replace(/PostgreSQL .*/, 'PostgreSQL N'),
  ).toBe(
    [
      'Dry run: nothing is deleted',
      `  in database shop on 127.0.0.1:${shop.server.port}, as o'cleaner (not encrypted)`,
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
      `    To delete   ${counted(dead)} rows (N %)`,
      `                ${counted(revoked.length).padStart(6)} where revoked = true`,
      `                ${counted(expired.length).padStart(6)} where expires_at < now() (oldest ${ages[0].oldest.toISOString()})`,
      `    To keep     ${counted(before.length - dead)} rows`,
      '    Duration    N',
      '    Size        N kB, and N kB of indexes',
      '    New index   not needed: the table is small',
      '    Erasure     rows deleted before are unreadable, and not known to be unlinked: no vacuum is recorded',
      '',
      '  To unlink deleted rows sooner, by the owner of the tables:',
      '  alter table public.refresh_tokens set (autovacuum_vacuum_scale_factor = 0.01, vacuum_index_cleanup = on);',
      '',
      '',
    ].join('\n'),
  );
  expect(exitCode).toBe(0);
  expect(await shop.ids()).toEqual(before);
});

test('shows missing privileges and indexes on one screen, as statements to copy', async () => {
  await shop.database.query(`
    create table devices (token_id int constraint device_token references refresh_tokens);
    revoke all on refresh_tokens from "o'cleaner";
    revoke select (ctid, revoked, expires_at) on refresh_tokens from "o'cleaner"`);
  const { exitCode, stdout } = await run(['--database-url', shop.url, '--dry-run']);

  expect(stdout).toContain(
    [
      '  ! refresh_tokens: foreign key "device_token" has no index on its own side, so each deleted row reads all of "public"."devices": create index concurrently on public.devices (token_id)',
      `  ✗ refresh_tokens: a privilege is missing: grant delete on public.refresh_tokens to "o'cleaner"`,
      `  ✗ refresh_tokens: a privilege is missing: grant select (ctid, revoked, expires_at) on public.refresh_tokens to "o'cleaner"`,
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
  const { exitCode, stdout } = await run(['--database-url', shop.url, '--dry-run', '--json'], { program: BY_NPM });

  const report: RunReport = JSON.parse(stdout);
  expect(report).toMatchObject({ dryRun: true, server: { isReplica: false } });
  expect(report.targets[0]).toMatchObject({
    rowsRemaining: 20_000 - (await shop.ids(LIVE)).length,
    diagnosis: { rowsKept: (await shop.ids(LIVE)).length },
  });
  expect(exitCode).toBe(0);
});

test('deletes the dead rows, and creates nothing, regardless of other variables', async () => {
  const [live, existing] = [await shop.ids(LIVE), await relations()];
  const { exitCode, stdout, stderr } = await run(['--database-url', shop.url, '--json', '--concurrency', '2'], {
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
  expect(stderr).toContain(`  in database shop on 127.0.0.1:${shop.server.port}, as o'cleaner (not encrypted)\n`);
  expect(exitCode).toBe(0);
  expect(await shop.ids()).toEqual(live);
  expect(await relations()).toEqual(existing);
});

test('shows the step that the deleted rows have reached, and whoever can still read them', async () => {
  const reader = await shop.database.query('select pg_backend_pid() as pid');
  await shop.database.query('begin isolation level repeatable read; select count(*) from refresh_tokens');
  const { exitCode, stdout } = await run(['--database-url', shop.url, '--yes']);
  await shop.database.query('commit');

  expect(stdout).toMatch(/Took +Deleted rows are\n/);
  expect(stdout).toMatch(/^ +refresh_tokens +succeeded .* deleted$/m);
  expect(stdout).toContain(`! refresh_tokens: deleted rows are still readable for session ${reader.rows[0].pid}`);
  expect(exitCode).toBe(0);
});

test('applies the targets of a file', async () => {
  const file = join(folder, 'retention.json');
  const rule = { revoked: true, expires_at: { olderThan: '1h' } };
  writeFileSync(file, JSON.stringify([{ table: 'refresh_tokens', deleteWhen: [rule] }]));
  const live = await shop.ids(`(revoked = true and expires_at < now() - interval '1 hour') is not true`);
  const { exitCode, stdout } = await run(['--database-url', shop.url, '--targets', file, '--yes']);

  expect(stdout).toContain(`    where revoked = true and expires_at < now() - interval '1 hour'\n`);
  expect(exitCode).toBe(0);
  expect(await shop.ids()).toEqual(live);
});

test('keeps every live row when it is interrupted, and reports what remains', async () => {
  const live = await shop.ids(LIVE);
  const { command, ended } = start(['--database-url', shop.url, '--json', '--max-load', '0.001']);
  await untilSaid(command, /refresh_tokens: .* rows deleted/);
  process.kill(-(command.pid as number), 'SIGINT');
  const { exitCode, stdout } = await ended;

  const report: RunReport = JSON.parse(stdout);
  expect(report).toMatchObject({ status: 'partial', targets: [{ status: 'partial', stopReason: 'interrupted' }] });
  expect(report.rowsDeleted).toBeGreaterThan(0);
  expect(exitCode).toBe(3);
  expect(await shop.ids(LIVE)).toEqual(live);
  expect((await shop.ids()).length).toBe(20_000 - report.rowsDeleted);
  expect((await shop.ids()).length).toBeGreaterThan(live.length);
});

test('shows a failure in words', async () => {
  await shop.database.query('alter table refresh_tokens rename revoked to is_revoked');
  const { exitCode, stdout, stderr } = await run(['--database-url', shop.url, '--yes']);

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
  await eventually(() => command.exitCode !== null || !command.kill('SIGINT'), { intervalMs: 50 });

  expect((await ended).exitCode).toBe(130);
  expect(await Promise.race([cutOff, delay(10_000, 'still connected', { ref: false })])).not.toBe('still connected');
  silent.close();
});

test('points to --discover if a table is missing, and finds targets that the next run takes', async () => {
  await shop.database.query(`
    drop table refresh_tokens;
    create table oauth_tokens (id int primary key, token_hash text not null, expires_at timestamptz not null);
    insert into oauth_tokens select n, md5(n::text), now() - n * interval '10 days' from generate_series(0, 9) as n;
    grant select, delete on oauth_tokens to "o'cleaner"`);
  try {
    const missing = await run(['--database-url', shop.url, '--dry-run']);
    expect(missing.stdout).toContain('✗ refresh_tokens: table "public"."refresh_tokens" does not exist\n');
    expect(missing.stdout).toContain('--discover in place of --dry-run looks for tables');

    const { exitCode, stdout } = await run(['--database-url', shop.url, '--discover']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('  public.oauth_tokens  likely\n    Rows        10 rows, 7 to delete\n');
    const [targets = ''] = /^ {2}\[\n(.*\n)+ {2}\]$/m.exec(stdout) ?? [];
    const file = join(folder, 'discovered.json');
    writeFileSync(file, targets);
    const dryRun = await run(['--database-url', shop.url, '--targets', file, '--dry-run']);
    expect(dryRun.stdout).toContain('    To delete   7 rows (70.0 %)\n');

    const { stdout: json } = await run(['--database-url', shop.url, '--discover', '--json']);
    expect(JSON.parse(json).targets).toEqual(JSON.parse(targets));
    expect((await shop.database.query('select from oauth_tokens')).rowCount).toBe(10);
  } finally {
    await shop.database.query('drop table oauth_tokens');
  }
});

test('shows control characters in names instead of sending them to the terminal', async () => {
  const name = 'tokens\n✓ fine\u001b[2K\u009b1m\u202e';
  const quoted = `"${name}"`;
  const file = join(folder, 'unprintable.json');
  writeFileSync(file, JSON.stringify([{ table: name, deleteWhen: [{ [name]: true }] }]));
  await shop.database.query(`create table ${quoted} (${quoted} boolean); grant all on ${quoted} to "o'cleaner"`);
  try {
    for (const args of [['--yes'], ['--dry-run'], ['--discover'], ['--json', '--verbose']]) {
      const { stdout, stderr } = await run([
        ...['--database-url', shop.url, ...args],
        ...(args.includes('--discover') ? [] : ['--targets', file]),
      ]);

      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
      expect((stdout + stderr).match(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)).toBeNull();
      expect(stdout + stderr).not.toMatch(/^✓ fine/m);
      expect(stdout).toContain(args.includes('--discover') ? 'refresh_tokens' : '\\u001b[2K\\u009b1m\\u202e');
    }
  } finally {
    await shop.database.query(`drop table ${quoted}`);
  }
});

test('warns if NODE_ENV looks as if it was meant to be test', async () => {
  const { stdout } = await run(['--database-url', shop.url, '--dry-run'], { environment: { NODE_ENV: 'Test' } });

  expect(stdout.replace(/\s+/g, ' ')).toContain(
    '! NODE_ENV must be exactly test to switch the job off, or a name that does not look like it, got "Test"',
  );
});

test('does nothing if NODE_ENV is test', async () => {
  const before = await shop.ids();
  const { exitCode, stdout } = await run(['--database-url', shop.url, '--yes'], { environment: { NODE_ENV: 'test' } });

  expect(stdout).toContain('Skipped: the job does not run if NODE_ENV is test');
  expect(exitCode).toBe(0);
  expect(await shop.ids()).toEqual(before);
});
