import { systemClock } from '../../lambda/clock';
import type { Queryable } from '../../lambda/database/queryable';
import { DurableCount } from '../../lambda/engine/durable-count';
import { useDatabase } from '../support/database';

// Nothing but a confirmation writes the log to disk.
const database = useDatabase({ wal_writer_delay: '10s', bgwriter_delay: '10s', autovacuum: 'off', fsync: 'on' });

test('confirms deletes that are on disk, and after a crash counts no row that is back', async () => {
  await database.sql('create table tokens (id int); insert into tokens select generate_series(1, 100); checkpoint');
  const session = database.session();
  const count = new DurableCount(systemClock, [session]);
  count.add((await session.query('delete from public.tokens where id <= 30')).rowCount ?? 0);
  await count.confirm(session);
  count.add((await session.query('delete from public.tokens where id <= 50')).rowCount ?? 0);
  expect(count.rows).toBe(50);

  // The second commit is not on disk yet, and is forgotten.
  await database.server.stop('SIGKILL');
  await database.server.start();
  await database.disconnect();
  expect(await database.column('select count(*)::int from tokens')).toEqual([70]);

  count.add((await session.query('delete from public.tokens where id <= 10')).rowCount ?? 0);
  expect(count.rows).toBe(30);
  count.add((await session.query('delete from public.tokens where id <= 40')).rowCount ?? 0);
  expect(count.rows).toBe(40);
  await count.confirm(session);
  expect(count.rows).toBe(40);
  await session.close();
});

test('does not count deletes that were unconfirmed when any of its connections was lost', async () => {
  const session = () => ({ reconnections: 0, query: async () => ({ rows: [], rowCount: 1 }) }) satisfies Queryable;
  const [one, other] = [session(), session()];
  const count = new DurableCount(systemClock, [one, other]);
  count.add(10);
  await count.confirm(one);
  count.add(20);

  other.reconnections += 1; // such as in a query of the brake
  await count.confirm(one);

  expect(count.rows).toBe(10);
  count.add(5);
  expect(count.rows).toBe(15);
});

test('does not count deletes whose confirmation was lost with the connection', async () => {
  const session: { reconnections: number } & Queryable = {
    reconnections: 0,
    query: async () => {
      session.reconnections += 1;
      return { rows: [], rowCount: 1 };
    },
  };
  const count = new DurableCount(systemClock, [session]);
  count.add(10);

  await count.confirm(session);

  expect(count.rows).toBe(0);
});
