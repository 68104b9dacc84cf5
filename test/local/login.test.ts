import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { folder, run, useShop } from '../support/command';
import { startPostgres } from '../support/postgres';

const shop = useShop();

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

test('takes the password from PGPASSWORD or the password file', async () => {
  const passwordFile = join(folder, 'pgpass');
  writeFileSync(passwordFile, `127.0.0.1:*:shop:o'cleaner:p@ss\\:w/rd %#?\n`, { mode: 0o600 });
  const args = ['--database-url', `postgres://o'cleaner@127.0.0.1:${shop.server.port}/shop`, '--dry-run'];
  for (const environment of [{ PGPASSWORD: 'p@ss:w/rd %#?' }, { PGPASSFILE: passwordFile }]) {
    const { exitCode, stdout } = await run(args, { environment });

    expect(stdout).toContain("as o'cleaner (not encrypted)\n\n");
    expect(exitCode).toBe(0);
  }
});

test('explains a refusal for which nobody gave a password', async () => {
  const args = ['--database-url', `postgres://o'cleaner@127.0.0.1:${shop.server.port}/shop`];
  const refused = 'the server refused the credentials (SQLSTATE 28P01)';
  const hint = '; no password was given: set PGPASSWORD, or write it into ~/.pgpass';

  for (const option of ['--dry-run', '--discover', '--yes']) {
    const { exitCode, stdout } = await run([...args, option], { environment: { PGPASSFILE: '/absent' } });

    expect(stdout).toContain(`✗ ${refused}${hint}\n`);
    expect(exitCode).toBe(1);
  }
  const { stdout } = await run([...args, '--dry-run'], { environment: { PGPASSWORD: 'wrong' } });

  expect(stdout).toContain(`✗ ${refused}\n`);
});
