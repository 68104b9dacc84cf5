import { Client } from 'pg';
import type { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { REFRESH_TOKENS, useDatabase } from '../support/database';
import { startReplica } from '../support/replica';

const database = useDatabase({ wal_level: 'replica' });

let replica: EmbeddedPostgres;
let onReplica: Client;

/** Gives the server a streaming replica, which goes with the test. */
async function replicate(settings = {}): Promise<void> {
  replica = await startReplica(database.server, settings);
  onReplica = new Client(replica.url(database.name));
  await onReplica.connect();
}

beforeEach(async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz, filler text default repeat('x', 500));
    insert into refresh_tokens select id, true, null from generate_series(1, 2000) as id`);
});

afterEach(async () => {
  await onReplica.end();
  await replica.remove();
});

/** Waits until the replica has replayed all that the primary has written. */
async function untilReplayed(): Promise<void> {
  await database.until('select bool_and(replay_lsn = pg_current_wal_lsn()) from pg_stat_replication');
}

test('pauses while a replica is too far behind, warns, and resumes once it has caught up', async () => {
  await database.slowDown('refresh_tokens', 0.001);
  await replicate();
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
      expect.stringMatching(/^paused: a replica is \d+\.\d s behind$/),
      expect.stringMatching(/^resumed: replicas are \d+\.\d s behind$/),
    ],
  });
});

test('deletes one batch more than the limit allows while a replica stands still, and is partial', async () => {
  await database.slowDown('refresh_tokens', 0.001);
  await database.sql(`
    create table batches (at timestamptz);
    create function note() returns trigger language plpgsql as
    'begin insert into batches values (clock_timestamp()); return null; end';
    create trigger note after delete on refresh_tokens execute function note()`);
  await replicate();
  await untilReplayed();
  await onReplica.query('select pg_wal_replay_pause()');

  const report = await database.service({ maxReplicaLagSeconds: 1 }).run({ timeLeftMs: 5_000 });

  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'replica-lag' }] });
  expect(report.rowsDeleted).toBeLessThan(2_000);
  const batches = await database.sql<{ ms: number }>(
    'select extract(epoch from at)::float8 * 1000 as ms from batches order by at',
  );
  // The replica lags from the first batch on, which is seen before the second. The last may begin while the lag is still
  // within the limit; so the one before it had ended by then, however slow this machine is.
  expect(batches.length).toBeGreaterThan(3);
  expect((batches.at(-2)?.ms ?? 0) - (batches[1]?.ms ?? 0)).toBeLessThan(1_000);
});

test('deletes in bursts beside a replica that replays everything late, and reports the pauses', async () => {
  await database.sql('delete from refresh_tokens where id > 400');
  await database.slowDown('refresh_tokens', 0.001);
  // It reports as little as possible, so that the server keeps showing the last lag after it has caught up.
  await replicate({ recovery_min_apply_delay: '1500ms', wal_receiver_status_interval: 0 });

  const report = await database.service({ maxReplicaLagSeconds: 1 }).run({ timeLeftMs: 40_000 });

  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 400,
    targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
  });
  const warnings = report.warnings ?? [];
  expect(warnings.length).toBeGreaterThanOrEqual(2);
  for (const [index, warning] of warnings.entries()) {
    expect(warning).toMatch(index % 2 === 0 ? /^paused: / : /^resumed: /);
  }
  await untilReplayed();
  expect((await onReplica.query('select from refresh_tokens')).rowCount).toBe(0);
});

test('does not pause for a replica that keeps up', async () => {
  await replicate();

  const report = await database.service({ maxReplicaLagSeconds: 5 }).run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2_000 });
  expect(report).not.toHaveProperty('warnings');
});

test('warns once that the role may not see replicas, and continues', async () => {
  await replicate();
  await database.sql('create table password_resets (used boolean)');
  const connection = await database.createRole('plain', 'all on refresh_tokens, password_resets');
  const targets = [...REFRESH_TOKENS, { table: 'password_resets', deleteWhen: [{ used: true }] }];

  const report = await database.service({ maxReplicaLagSeconds: 1, connection, targets }).run();

  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 2_000,
    warnings: ['the replicas are not visible, so their lag is not checked: grant pg_monitor to the role'],
  });
});
