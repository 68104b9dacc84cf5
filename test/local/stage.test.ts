import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { Command } from '../../bin/local/command';
import { type Options, parseOptions } from '../../bin/local/options';
import { folder, LIVE, run, useShop } from '../support/command';

const shop = useShop();

const ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:tenants-AbCdEf';

beforeAll(async () => {
  const names = { like: ['tenant_*'], except: ['tenant_demo'] };
  const stages = { prod: { timeoutSeconds: 60, databases: { tenants: { secretArn: ARN, names } } } };
  writeFileSync(join(folder, 'cdk.json'), JSON.stringify({ context: { stages } }));
  for (const name of ['tenant_a', 'tenant_b', 'tenant_demo']) {
    await shop.database.query(`create database ${name}`);
    const database = new Client(shop.server.url(name));
    await database.connect();
    await database.query(`
      create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz);
      insert into refresh_tokens values (1, true), (2, false)`);
    await database.end();
  }
});

const stage = (...args: readonly string[]) =>
  run(['--database-url', shop.server.url('shop'), '--stage', 'prod', ...args], { cwd: folder });

test('sweeps the databases of a stage for as long as its timeout, and says so', async () => {
  const dryRun = await stage('--dry-run');

  expect(dryRun.stdout).toContain(
    `in the databases tenant_*, not tenant_demo on 127.0.0.1:${shop.server.port}, as postgres (not encrypted)\n`,
  );
  expect(dryRun.stdout).toContain('  for at most 60 s, the timeout of the stage\n');
  expect(dryRun.stdout.match(/^ {2}tenant_\w+: refresh_tokens$/gm)).toEqual([
    '  tenant_a: refresh_tokens',
    '  tenant_b: refresh_tokens',
  ]);
  const { exitCode, stdout } = await stage('--yes');

  expect(stdout).toContain('for at most 60 s, the timeout of the stage\n');
  expect(stdout).toMatch(/^ +tenant_a: refresh_tokens +succeeded +1 /m);
  expect(stdout).toMatch(/^ +tenant_b: refresh_tokens +succeeded +1 /m);
  expect(stdout).not.toContain('tenant_demo: ');
  expect(exitCode).toBe(0);
  expect(await shop.ids()).not.toEqual(await shop.ids(LIVE));
});

test('needs a database for a stage that sweeps several', async () => {
  expect((await run(['--stage', 'prod'], { cwd: folder })).stderr).toMatch(
    '--database-url is required with --stage prod, which sweeps databases that the demo lacks',
  );
});

test('ends a run before the timeout of the stage', async () => {
  const options = parseOptions(
    ['--database-url', shop.server.url('shop'), '--yes', '--json'],
    {},
    () => false,
  ) as Options;
  jest.replaceProperty(process, 'env', { ...process.env, NODE_ENV: 'production' });
  const written = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
  jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  await shop.database.query('begin; lock table refresh_tokens in share mode');
  const exitCode = await new Command({ ...options, job: { ...options.job, timeLimitMs: 3_000 } }).run();
  await shop.database.query('rollback');
  const [[result]] = written.mock.calls as [[string]];
  jest.restoreAllMocks();

  expect(JSON.parse(result)).toMatchObject({ status: 'partial', targets: [{ stopReason: 'deadline' }] });
  expect(exitCode).toBe(3);
});
