import { setTimeout as delay } from 'node:timers/promises';
import { DEAD, type Trouble, useFaultyRuns } from '../../support/faulty-run';

/** Faults of the network between a run and the server. */

const faults = useFaultyRuns();

test.each<[string, () => Promise<unknown>]>([
  ['the network resets its connections', async () => faults.proxy.reset()],
  ['the network closes its connections', async () => faults.proxy.drop()],
  ['the network cuts its connections off and the server does not learn of it', async () => faults.proxy.cut()],
  [
    'the network cuts connections at a random byte, one after the other',
    async () => {
      let cuts = 5;
      faults.proxy.allowance = () => {
        cuts -= 1;
        return cuts < 0 ? undefined : 1 + Math.floor(Math.random() * 2_500);
      };
      faults.proxy.reset();
    },
  ],
  ['the network holds everything back for a while', () => faults.proxy.hold(500)],
  ['the network loses all that its connections send from then on', async () => faults.proxy.forget()],
  [
    'the server cannot be reached for a while',
    async () => {
      faults.proxy.refuse = Number.POSITIVE_INFINITY;
      faults.proxy.reset();
      await delay(500);
      faults.proxy.refuse = 0;
    },
  ],
])('comes to a good end when %s in mid-run', async (_, strike) => {
  await faults.expectGoodEnd(await faults.run({ strike }));
});

test('fails with a reason when nothing listens', async () => {
  await faults.proxy.stop();
  const report = await faults.run({ reconnectTimeoutMs: 1_000 });

  expect(report).toMatchObject({ status: 'failed', error: expect.stringMatching(/^connect ECONNREFUSED /) });
  await faults.expectNoHarm(report);
});

/** Nothing passes any more from when the run sends this text. */
function silentAt(text: string): Trouble {
  return { before: async () => faults.proxy.stallAt(text) };
}

const failed = (rowsDeleted: number) => ({
  status: 'failed',
  rowsDeleted,
  error: expect.stringContaining('the time was up before the database or Secrets Manager answered'),
});

test.each<[string, Trouble, object]>([
  ['it connects', { before: async () => faults.proxy.stall() }, failed(0)],
  ['it sets up its session', silentAt('idle_session_timeout'), failed(0)],
  ['it takes the lock of the run', silentAt('pg_try_advisory_lock'), failed(0)],
  ['it reads the clock', silentAt('clock_timestamp'), failed(0)],
  ['it looks at the table', silentAt('pg_inherits'), failed(0)],
  ['it measures the table', silentAt('pg_relation_size'), failed(0)],
  ['it deletes', silentAt('\0delete from only'), failed(0)],
  // The rows are gone, but whether for good it cannot know.
  ['it confirms what it deleted', silentAt('pg_logical_emit_message'), failed(0)],
  ['it looks at the table again', { strike: async () => faults.proxy.stallAt('"isReplaced"') }, failed(DEAD)],
  [
    'it counts',
    {
      // Such a trigger could revoke rows, so that they have to be counted.
      before: () => faults.trigger('null'),
      strike: async () => faults.proxy.stallAt(' as visited'),
    },
    failed(DEAD),
  ],
  [
    'it reads how far the deleted rows are gone',
    { strike: async () => faults.proxy.stallAt('pg_get_replication_slots') },
    {
      status: 'succeeded',
      rowsDeleted: DEAD,
      warnings: [expect.stringContaining('how far the deleted rows are gone could not be read')],
      targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
    },
  ],
])('returns in time when the server falls silent as %s', async (_, { before, strike }, expected) => {
  await before?.();
  const timeLeftMs = 1_600;
  const startedAt = performance.now();
  const report = await faults.run({ maxLoad: 1, request: { timeLeftMs }, ...(strike && { strike }) });

  expect(performance.now() - startedAt).toBeLessThan(timeLeftMs);
  expect(report).toMatchObject(expected);
  await faults.expectNoHarm(report);
});
