import { DIRECT, LIVE, start, untilSaid, useShop } from '../support/command';

const shop = useShop();

/** Answers once there is a question. The terminal is that of `script`, which Linux has. */
async function answer(keys: string, args = ['--database-url', shop.url]) {
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
