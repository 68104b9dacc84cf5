import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DIRECT, folder, LIVE, start, untilSaid, useShop } from '../support/command';

const shop = useShop();

/** Answers once there is a question. The terminal is that of `script`, which Linux has. */
async function answer(keys: string, args: readonly string[] = [], redirection = '') {
  const words = [...DIRECT, '--database-url', shop.url, ...args].map((part) => `'${part.replaceAll("'", "'\\''")}'`);
  const { command, ended } = start([], {
    program: ['script', '-qec', [...words, redirection].join(' '), '/dev/null'],
    stdin: 'pipe',
  });
  await untilSaid(command, /\[y\/N\] /);
  command.stdin?.write(keys);
  return await ended;
}

test('asks before it deletes, and deletes after a yes', async () => {
  await shop.database.query('analyze refresh_tokens');
  const live = await shop.ids(LIVE);
  const { exitCode, stdout } = await answer('y\r');

  expect(stdout).toContain('about 20,000 rows in all');
  expect(stdout).toContain('Delete the matching rows?');
  expect(exitCode).toBe(0);
  expect(await shop.ids()).toEqual(live);
});

test.each([
  ['Enter', '\r'],
  ['no', 'no\r'],
  ['Ctrl-C', '\x03'],
  ['Ctrl-D', '\x04'],
])('deletes nothing after %s', async (_, keys) => {
  const before = await shop.ids();
  const { exitCode, stdout } = await answer(keys);

  expect(stdout).toContain('Not confirmed: nothing was deleted.');
  expect(exitCode).toBe(3);
  expect(await shop.ids()).toEqual(before);
});

test.each([
  ['y\r', 0, 'succeeded'],
  ['\r', 3, undefined],
])('asks on stderr with --json, which leaves stdout to the result: %j', async (keys, exitCode, status) => {
  const before = await shop.ids();
  const live = await shop.ids(LIVE);
  const file = join(folder, 'result.json');
  const ended = await answer(keys, ['--json'], `> ${file}`);

  expect(ended.exitCode).toBe(exitCode);
  const result = readFileSync(file, 'utf8');
  expect(result && JSON.parse(result).status).toBe(status ?? '');
  expect(await shop.ids()).toEqual(status ? live : before);
});
