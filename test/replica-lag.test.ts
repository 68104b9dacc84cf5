import { Client } from 'pg';
import type { EmbeddedPostgres } from '../bin/local/embedded-postgres';
import { useDatabase } from './support/database';
import { startReplica } from './support/replica';

const database = useDatabase({ wal_level: 'replica' });

let replica: EmbeddedPostgres;
let onReplica: Client;

beforeEach(async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz, filler text default repeat('x', 500));
    insert into refresh_tokens select id, true, null from generate_series(1, 2000) as id`);
  replica = await startReplica(database.server);
  onReplica = new Client(replica.url());
  await onReplica.connect();
});

afterEach(async () => {
  await onReplica.end();
  await replica.remove();
});

/** Makes the sweep take some seconds. */
async function dawdle(): Promise<void> {
  await database.sql(`
    create function dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(0.001); return old; end';
    create trigger dawdle before delete on refresh_tokens for each row execute function dawdle()`);
}

/** Waits until the replica has replayed all that the primary has written. */
async function untilReplayed(): Promise<void> {
  await database.until('select bool_and(replay_lsn = pg_current_wal_lsn()) from pg_stat_replication');
}

test('pauses while a replica is too far behind, says so, and goes on once it has caught up', async () => {
  await dawdle();
  await untilReplayed();
  await onReplica.query('select pg_wal_replay_pause()');
  let resumed: Promise<unknown> | undefined;
  const logger = {
    ...database.logger,
    warn: (message: string) => {
      database.logger.warn(message, {});
      if (message.includes('paused')) {
        resumed = onReplica.query('select pg_wal_replay_resume()');
      }
    },
  };

  const report = await database.service({ maxReplicaLagSeconds: 1, logger }).run();

  expect(resumed).toBeDefined();
  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 2_000,
    warnings: [
      expect.stringMatching(/^refresh_tokens: paused: a replica is \d+\.\d s behind$/),
      expect.stringMatching(/^refresh_tokens: resumed: replicas are \d+\.\d s behind$/),
    ],
  });
});

test('ends as partial when a replica stays too far behind', async () => {
  await dawdle();
  await untilReplayed();
  await onReplica.query('select pg_wal_replay_pause()');

  const report = await database.service({ maxReplicaLagSeconds: 1 }).run({ timeLeftMs: 6_000 });

  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'replica-lag' }] });
  expect(report.rowsDeleted).toBeGreaterThan(0);
  expect(report.rowsDeleted).toBeLessThan(2_000);
});

test('does not pause for a replica that keeps up', async () => {
  const report = await database.service({ maxReplicaLagSeconds: 5 }).run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2_000 });
  expect(report).not.toHaveProperty('warnings');
});

test('says once that the role may not see replicas, and goes on', async () => {
  await database.sql(`create role plain login password 'plain'; grant all on refresh_tokens to plain`);
  const connection = database.connection({ user: 'plain', password: 'plain' });

  const report = await database.service({ maxReplicaLagSeconds: 1, connection }).run();
  await database.sql('drop owned by plain; drop role plain');

  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 2_000,
    warnings: ['refresh_tokens: replicas cannot be seen, so their lag is not watched: grant pg_monitor to the role'],
  });
});
