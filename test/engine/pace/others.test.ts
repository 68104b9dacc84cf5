import { Client } from 'pg';
import { systemClock } from '../../../lambda/clock';
import type { Queryable } from '../../../lambda/database/queryable';
import type { Session } from '../../../lambda/database/session';
import { BATCH_LIMITS } from '../../../lambda/engine/batch-limits';
import { watchCluster } from '../../../lambda/engine/pace/cluster-state';
import { Others } from '../../../lambda/engine/pace/others';
import { useDatabase } from '../../support/database';

const database = useDatabase({ autovacuum: 'off' });
const OID = 1;

let session: Session;
let lookAtCluster: ReturnType<typeof watchCluster>;
let others: Others;

/** Whether others worked since the last look, by a role without any right. */
async function look(by: Queryable = session): Promise<boolean> {
  const reading = await lookAtCluster(by, OID);
  if (!reading) {
    throw new Error('the server showed nothing');
  }
  return others.compare(reading);
}

/** A connection to another database that no purge uses. */
async function elsewhere(): Promise<Client> {
  const client = new Client(database.server.url('postgres'));
  await client.connect();
  clients.push(client);
  return client;
}

const clients: Client[] = [];

beforeEach(async () => {
  session = database.session(await database.createRole('nobody'));
  lookAtCluster = watchCluster(systemClock, BATCH_LIMITS);
  others = new Others();
  await look();
});

afterEach(async () => {
  await session.close();
  await Promise.all(clients.splice(0).map((client) => client.end()));
});

test('sees no others while none work', async () => {
  await elsewhere();
  await look(); // the sessions that connected

  expect(await look()).toBe(false);
  expect(await look()).toBe(false);
});

test('sees each transaction that wrote in another database', async () => {
  const writer = await elsewhere();
  await look();

  await writer.query('select pg_current_xact_id()');
  expect(await look()).toBe(true);
  expect(await look()).toBe(false);
});

test('distinguishes the transactions of the run from those of others', async () => {
  const writer = await elsewhere();
  await look();
  const own = async () => {
    others.began();
    await session.query('select pg_current_xact_id()');
    others.ended(1);
  };

  await own();
  await own();
  expect(await look()).toBe(false);

  await own();
  await writer.query('select pg_current_xact_id()');
  expect(await look()).toBe(true);
});

test("does not mistake a transaction of the run in flight for another's", async () => {
  const writer = await elsewhere();
  await look();
  const second = database.session();
  await look(second);
  others.began();
  await second.query('begin');
  await second.query('select pg_current_xact_id()');

  await session.query('select pg_current_xact_id()');
  others.began();
  others.ended(1);
  expect(await look()).toBe(false);

  await second.query('commit');
  others.ended(1);
  expect(await look()).toBe(false);

  await writer.query('select pg_current_xact_id()');
  expect(await look()).toBe(true);
  await second.close();
});

test('sees a session that reads, if a look meets it, and not one that is idle in its transaction', async () => {
  const reader = await elsewhere();
  await look();
  await reader.query('begin isolation level repeatable read');
  await reader.query('select from pg_class limit 1');

  expect(await look()).toBe(true); // its snapshot is new
  expect(await look()).toBe(false);

  await reader.query('commit');
  expect(await look()).toBe(false);
});

test('does not see the server itself, such as autovacuum', async () => {
  const reading = await lookAtCluster(session, OID);
  const { rows } = await (await elsewhere()).query(
    'select count(*)::int as own from pg_stat_activity where usesysid is null',
  );

  expect(rows[0].own).toBeGreaterThan(0);
  expect(reading?.sessions.map(({ pid }) => pid)).toEqual([reading?.pid]);
});

test('begins to count anew after a crash, in which ids are handed out again', () => {
  const reading = { pid: 1, walSenders: [], sessions: [], deadTuplesPileUp: false };
  const counting = new Others();

  const seen = [100, 101, 50, 50, 51].map((nextId) => counting.compare({ ...reading, nextId }));
  expect(seen).toEqual([false, true, false, false, true]);
});

test('leaves out the senders of the log, whose snapshot moves with that of their replica', () => {
  const reading = { pid: 1, walSenders: [7], nextId: 100, deadTuplesPileUp: false };
  const counting = new Others();
  const at = (xmin: string) => counting.compare({ ...reading, sessions: [{ pid: 7, xid: null, xmin }] });

  expect([at('90'), at('95')]).toEqual([false, false]);
});

test('needs no position of the log, which Aurora refuses, and shows nothing if all is refused', async () => {
  const refuse = (texts: readonly string[]): Queryable => ({
    reconnections: 0,
    query: async (text, values, limits) => {
      if (texts.some((refused) => text.includes(refused))) {
        throw Object.assign(new Error('refused'), { severity: 'ERROR', code: '55000' });
      }
      return await session.query(text, values, limits);
    },
  });

  const onAurora = await lookAtCluster(refuse(['pg_current_wal']), OID);
  expect(onAurora).toMatchObject({ nextId: expect.any(Number), unflushedBytes: 0 });
  expect(await watchCluster(systemClock, BATCH_LIMITS)(refuse(['']), OID)).toBeUndefined();
});

test('reads how much log is not flushed, and how long the server took', async () => {
  const reading = await lookAtCluster(session, OID);

  expect(reading?.unflushedBytes).toBeGreaterThanOrEqual(0);
  expect(reading?.workedMs).toBeGreaterThan(0);
});

test('calls no function and no operator of another schema, on any search path', async () => {
  await database.sql(`
    create schema trap;
    create function trap.pg_backend_pid() returns int language sql as 'select -1';
    create function trap.pg_current_snapshot() returns pg_snapshot language plpgsql as 'begin raise ''caught''; end';
    create function trap.minus(timestamptz, timestamptz) returns interval language plpgsql as 'begin raise ''caught''; end';
    create operator trap.- (function = trap.minus, leftarg = timestamptz, rightarg = timestamptz);
    grant usage on schema trap to nobody;
    alter role nobody in database "${database.name}" set search_path = trap, pg_catalog`);
  const trapped = database.session(database.connection({ user: 'nobody', password: 'nobody' }));

  expect((await lookAtCluster(trapped, OID))?.pid).toBeGreaterThan(0);
  await trapped.close();
});
