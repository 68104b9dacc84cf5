import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BY_NPM, folder, run } from '../support/command';

test('are explained', async () => {
  const { exitCode, stdout } = await run(['--help'], { program: BY_NPM });

  expect(exitCode).toBe(0);
  for (const option of ['database-url URL', 'dry-run', 'yes', 'targets FILE', 'stage NAME', 'concurrency N', 'json']) {
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
