import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../../lambda/database/database-error';
import { useDatabase } from '../support/database';

const database = useDatabase();

/** The error of a connection, and whether other credentials were asked for. */
async function refusal(login: { user?: string; password?: string }): Promise<[string, boolean]> {
  let askedAgain = false;
  const session = database.session({
    credentials: {
      current: async () => database.login(login),
      otherThan: async () => {
        askedAgain = true;
        return undefined;
      },
    },
  });
  const error = await session.query('select 1').catch((error: unknown) => error);
  await session.close();
  return [describeError(error), askedAgain];
}

beforeEach(() =>
  database.sql(`
    drop role if exists cleaner, sleeper;
    create role cleaner login password 'cleaner';
    create role sleeper password 'sleeper'`),
);

test('reads the secret again only after a refused password', async () => {
  const credentials: [string, boolean] = ['the server refused the credentials (SQLSTATE 28P01)', true];
  expect(await refusal({ user: 'cleaner', password: 'wrong' })).toEqual(credentials);
  expect(await refusal({ user: 'nobody', password: 'nobody' })).toEqual(credentials);
  expect(await refusal({ user: 'sleeper', password: 'sleeper' })).toEqual([
    'the role may not log in, or does not exist (SQLSTATE 28000)',
    false,
  ]);
});

test.each([
  ['rejects the role', 'host all cleaner 127.0.0.1/32 reject'],
  ['has no entry for it', 'host all postgres 127.0.0.1/32 scram-sha-256'],
  ['has one only for encrypted connections', 'hostssl all cleaner 127.0.0.1/32 scram-sha-256'],
])('says that pg_hba.conf %s', async (_, entry) => {
  const file = join(database.server.dataDirectory, 'pg_hba.conf');
  const before = readFileSync(file);
  writeFileSync(file, `${entry}\nlocal all all trust\nhost all postgres all scram-sha-256\n`);
  await database.sql('select pg_reload_conf()');
  await database.until('select count(*) = 3 from pg_hba_file_rules');

  const found = await refusal({ user: 'cleaner', password: 'cleaner' });
  writeFileSync(file, before);
  await database.sql('select pg_reload_conf()');

  expect(found).toEqual([
    "the server's pg_hba.conf does not admit this role from this address to this database over a connection that is not encrypted (SQLSTATE 28000)",
    false,
  ]);
});
