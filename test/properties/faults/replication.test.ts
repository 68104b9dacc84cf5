import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { EmbeddedPostgres } from '../../../bin/local/embedded-postgres';
import { systemClock } from '../../../lambda/clock';
import { kindOf } from '../../../lambda/database/database-error';
import { ReplicaLagBrake } from '../../../lambda/engine/replica-lag';
import { eventually } from '../../support/eventually';
import { DEAD, useFaultyRuns } from '../../support/faulty-run';
import { conninfo, startReplica } from '../../support/replica';
import { TcpProxy } from '../../support/tcp-proxy';

/** Faults of replication: replicas that are promoted, and those that lag. */

const faults = useFaultyRuns();
const { database } = faults;

test('does not fail if the brake is the first to meet a replica that is not promoted yet: the DELETE waits for it', async () => {
  const replica = await startReplica(database.server);
  const { signal } = new AbortController();
  const session = database.session({ ...database.connection({ port: replica.port }), reconnectTimeoutMs: 0 });
  const answer = new ReplicaLagBrake(1, systemClock, () => {}).release(session, signal);
  const kind = await answer.then(() => 'none', kindOf);
  await session.close();
  await replica.remove();

  expect(kind).toBe('none');
});

test('comes to a good end when a replica is promoted behind the same address', async () => {
  const replication = await replicated();
  const report = await faults.run({ strike: () => failOver(replication) });
  await replication.primary.remove();

  await faults.expectGoodEnd(report);
});

test('comes to a good end when the replica is promoted that it is being held back for', async () => {
  await faults.slowDown();
  const replication = await replicated();
  await database.sql('grant pg_monitor to purger');
  const onReplica = new Client(replication.replica.url());
  await onReplica.connect();
  const report = await faults.run({
    maxLoad: 0.5,
    maxReplicaLagSeconds: 1,
    strike: async () => {
      await onReplica.query('select pg_wal_replay_pause()');
      await eventually(() => database.logs.some(({ message }) => message.includes('paused: a replica is ')));
      await onReplica.end();
      await failOver(replication);
    },
  });
  await replication.primary.remove();
  await database.sql('revoke pg_monitor from purger');

  expect(report).toMatchObject({
    status: 'succeeded',
    warnings: [expect.stringContaining('paused'), expect.stringContaining('resumed')],
    targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
  });
  await faults.expectNoHarm(report);
});

test('deletes again the rows that a fail-over to a lagging replica brings back, and counts what remains', async () => {
  await faults.slowDown();
  const replication = await replicated({ synchronous: false });
  let broughtBack = 0;
  const report = await faults.run({
    maxLoad: 0.5,
    strike: async () => {
      replication.wire.stall();
      // What is deleted from here on is on the disk of the primary, and never reaches the replica.
      const deadOnReplica = await faults.countDead();
      await eventually(async () => (await faults.countDead()) < deadOnReplica - DEAD / 4);
      const deadOnPrimary = await faults.countDead();
      await failOver(replication);
      broughtBack = (await faults.countDead()) - deadOnPrimary;
    },
  });
  await replication.primary.remove();

  expect(broughtBack).toBeGreaterThan(0);
  // What died twice may be counted twice: the primary was sure that it was gone.
  await faults.expectGoodEnd(report, DEAD + broughtBack);
});

interface Replication {
  readonly primary: EmbeddedPostgres;
  readonly replica: EmbeddedPostgres;
  /** What the primary sends to the replica comes over it. */
  readonly wire: TcpProxy;
}

/** Gives the server a replica that can take its place. */
async function replicated({ synchronous = true } = {}): Promise<Replication> {
  const primary = database.server;
  const wire = await TcpProxy.start(primary.host, primary.port);
  const replica = await startReplica(primary, { primary_conninfo: conninfo(primary, wire.port) });
  if (synchronous) {
    // A replica that lags would bring back rows of which the primary was sure that they are gone.
    await database.sql(`alter system set synchronous_standby_names = '*'`);
    await database.sql('select pg_reload_conf()');
  }
  await database.until(`select count(*) = 1 from pg_stat_replication where sync_state = $1`, [
    synchronous ? 'sync' : 'async',
  ]);
  return { primary, replica, wire };
}

/** From here on the replica is the server of this file. */
async function failOver({ primary, replica, wire }: Replication): Promise<void> {
  faults.proxy.target = replica;
  await primary.stop('SIGKILL');
  await wire.stop();
  await delay(500);
  await database.disconnect();
  database.server = replica;
  await database.sql('select pg_promote()');
}
