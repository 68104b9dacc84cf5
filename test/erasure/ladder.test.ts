import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { systemClock } from '../../lambda/clock';
import type { Queryable } from '../../lambda/database/queryable';
import { lastingHolders } from '../../lambda/erasure/holders';
import { useDatabase } from '../support/database';
import { eventually } from '../support/eventually';
import { startReplica } from '../support/replica';

const database = useDatabase({ max_prepared_transactions: 5, wal_level: 'logical', autovacuum: 'off' });

/** In one of the tokens, and nowhere else. */
const marker = randomBytes(16).toString('hex');

beforeEach(() =>
  database.sql(`
    create table tokens (id int primary key, hash text unique, revoked bool not null);
    insert into tokens select i, 'other ' || i, false from generate_series(1, 500) i;
    insert into tokens values (0, '${marker}', true)`),
);

/** Where on the server's disk the marker is. */
async function places(): Promise<{ heap: boolean; index: boolean; log: boolean }> {
  await database.sql('checkpoint');
  const file = async (relation: string) => {
    const [row] = await database.sql<{ path: string }>('select pg_relation_filepath($1) as path', [relation]);
    return readFileSync(join(database.server.dataDirectory, row?.path ?? ''));
  };
  const log = join(database.server.dataDirectory, 'pg_wal');
  return {
    heap: (await file('tokens')).includes(marker),
    index: (await file('tokens_hash_key')).includes(marker),
    log: readdirSync(log, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .some(({ name }) => readFileSync(join(log, name)).includes(marker)),
  };
}

/** As a dry run reports it. */
async function erasure() {
  const targets = [{ table: 'tokens', deleteWhen: [{ revoked: true }] }];
  const report = await database.service({ targets }).run({ dryRun: true });
  return report.targets[0]?.erasure;
}

const deleteMarked = () => database.sql('delete from tokens where revoked');

describe('the bytes of a deleted token', () => {
  test('stay in the table, its index and the log after the delete', async () => {
    await deleteMarked();
    await expect(places()).resolves.toEqual({ heap: true, index: true, log: true });
  });

  test('are not overwritten by a vacuum, though nothing leads to them any more', async () => {
    await deleteMarked();
    await database.sql('vacuum (index_cleanup on) tokens');
    await expect(places()).resolves.toMatchObject({ heap: true, log: true });
    // The statistics of PostgreSQL 14 are late.
    await eventually(async () => (await erasure())?.unlinked === true);
    await expect(erasure()).resolves.toMatchObject({
      deleted: true,
      unreadable: true,
      unlinked: true,
      hoursUnlinked: 0,
    });
  });

  test('are gone from the table and its index after VACUUM FULL, and stay in the log', async () => {
    await deleteMarked();
    await database.sql('vacuum full tokens');
    await expect(places()).resolves.toEqual({ heap: false, index: false, log: true });
  });
});

describe('a deleted token is still readable', () => {
  test('for a session with an older snapshot, which is named', async () => {
    const reader = await database.snapshot();
    await reader.query(`set application_name = 'report'`);
    await deleteMarked();
    const { rows } = await reader.query('select hash from tokens where revoked');
    expect(rows).toEqual([{ hash: marker }]);
    const held = await erasure();
    expect(held).toMatchObject({ unreadable: false, unlinked: false });
    expect(held?.heldBackBy).toEqual([
      { kind: 'session', name: expect.stringMatching(/^\d+ report$/), seconds: expect.any(Number) },
    ]);
    await reader.query('commit');
    await expect(erasure()).resolves.toMatchObject({ unreadable: true });
  });

  test('for a session with an old transaction, for which no second look is taken', async () => {
    const reader = await database.connect();
    await reader.query('begin isolation level repeatable read');
    await reader.query('select pg_sleep(2.6)');
    await database.sql('select pg_current_xact_id()');
    const session = database.session();
    let looks = 0;
    const counted: Queryable = {
      reconnections: 0,
      query: (...query) => {
        looks += 1;
        return session.query(...query);
      },
    };

    const held = await lastingHolders(counted, systemClock, new AbortController().signal);

    expect(held).toMatchObject([{ kind: 'session' }]);
    expect(looks).toBe(1);
    await reader.query('commit');
    await session.close();
  });

  test.each([
    ['replication slot', { primary_slot_name: 'standby' }, 'standby'],
    ['replica', {}, expect.stringMatching(/^\d+ walreceiver$/)],
  ])('for a query on a replica that sends feedback over a %s, which is named', async (kind, settings, name) => {
    await database.sql(`select pg_create_physical_replication_slot('standby')`);
    const replica = await startReplica(database.server, {
      hot_standby_feedback: 'on',
      max_prepared_transactions: 5,
      ...settings,
    });
    const reader = new Client(replica.url(database.name));
    try {
      await reader.connect();
      await reader.query('begin isolation level repeatable read');
      await reader.query('select count(*) from tokens');
      await database.until(`
        select count(*) > 0 from (
          select backend_xmin from pg_stat_replication union all select xmin from pg_replication_slots
        ) as holder where backend_xmin is not null`);
      await deleteMarked();
      const { rows } = await reader.query('select hash from tokens where revoked');
      expect(rows).toEqual([{ hash: marker }]);
      const held = await erasure();
      expect(held).toMatchObject({ unreadable: false, heldBackBy: [{ kind, name }] });
    } finally {
      await reader.end();
      await replica.remove();
      await database.sql(`select pg_drop_replication_slot('standby')`);
    }
  });

  test('but not for a logical replication slot, which keeps only rows of the catalog', async () => {
    await database.sql(`select pg_create_logical_replication_slot('subscriber', 'pgoutput')`);
    try {
      await deleteMarked();
      await expect(erasure()).resolves.toMatchObject({ unreadable: true });
    } finally {
      await database.sql(`select pg_drop_replication_slot('subscriber')`);
    }
  });

  test('as long as a prepared transaction from before is not ended, which is named', async () => {
    const client = await database.connect();
    await client.query('begin');
    await client.query('update tokens set id = -1 where id = 1');
    await client.query(`prepare transaction 'forgotten'`);
    await deleteMarked();
    const held = await erasure();
    expect(held?.heldBackBy).toEqual([
      { kind: 'prepared transaction', name: 'forgotten', seconds: expect.any(Number) },
    ]);
    await client.query(`rollback prepared 'forgotten'`);
    await expect(erasure()).resolves.toMatchObject({ unreadable: true });
  });
});
