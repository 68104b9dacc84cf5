import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { invoke } from '../../bin/local/invocation';
import type { RunReport } from '../../lambda/run/report';
import { BY_NPM, folder, run, start, untilSaid } from '../support/command';

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

test('proves its result in the database', async () => {
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

test('ends after the current batch on Ctrl-C, reports what remains, and leaves no server behind', async () => {
  const { command, ended } = start(['--max-load', '0.01']);
  const port = Number((await untilSaid(command, /PostgreSQL 18 runs on 127\.0\.0\.1:(\d+)/))[1]);
  await untilSaid(command, /refresh_tokens: .* rows deleted/);
  process.kill(-(command.pid as number), 'SIGINT');
  const { exitCode, stdout } = await ended;

  expect(exitCode).toBe(3);
  expect(stdout).toMatch(/^Partly done: [\d,]+ rows deleted/m);
  expect(stdout).toContain('! refresh_tokens: interrupted; the next run continues\n');
  expect(stdout).toContain('! password_resets: interrupted; the next run continues\n');
  expect(stdout).toMatch(/✓ no live row is missing/);
  const [, left = ''] = /✓ ([\d,]+) dead rows are left, the run (?:did not count them|reported)/.exec(stdout) ?? [];
  expect(numberIn(left)).toBeGreaterThan(0);
  expect(serversLeft()).toEqual([]);
  expect(await answers(port)).toBe(false);
});

test('an invocation without an answer fails with the output of the process', async () => {
  const broken = invoke({ environment: { NODE_OPTIONS: '--no-such-option' } });

  await expect(broken).rejects.toThrow(/the function ended without an answer \(exit code 9\)\n.*--no-such-option/);
});

function serversLeft(): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('token-cleanup-postgres-'));
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
