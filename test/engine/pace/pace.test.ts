import { Pace } from '../../../lambda/engine/pace/pace';
import { Purge, type PurgeOptions } from './simulation/purge';
import { Server } from './simulation/server';
import { Simulation } from './simulation/simulation';
import { TokenService } from './simulation/token-service';

const SECOND = 1_000;
/** Long enough for some 9,000 operations of the service. */
const WHILE = 30 * SECOND;
const OPERATIONS_A_SECOND = 300;

/** More than any of these purges gets done. */
const ENDLESS = { blocks: 10_000_000 };

/** The pace of the versions before. */
const HALF_OF_THE_TIME = () => new Pace(0.5);

/** A server with two processors, a token service and purges, in virtual time. */
class World {
  readonly simulation = new Simulation(7);
  readonly server = new Server(this.simulation, 2);
  readonly service: TokenService;

  constructor(service: { readonly writes?: boolean } = {}) {
    this.service = new TokenService(this.simulation, this.server, service);
  }

  purge(options: PurgeOptions = ENDLESS, pace: Pace = new Pace()): Purge {
    const purge = new Purge(this.simulation, this.server, pace, options);
    purge.start();
    return purge;
  }

  /** Lets something happen at a time. */
  at(ms: number, happen: () => void): void {
    this.simulation.act(ms - this.simulation.now(), happen);
  }

  run(untilMs: number): Promise<void> {
    return this.simulation.run(untilMs);
  }
}

/** A purge that no other session disturbs, after ten seconds. */
async function alone(options: PurgeOptions = ENDLESS, pace?: Pace): Promise<Purge> {
  const world = new World();
  const purge = world.purge(options, pace);
  await world.run(10 * SECOND);
  return purge;
}

/** A purge beside a service, after a while. */
async function beside(
  options: PurgeOptions = ENDLESS,
  { perSecond = OPERATIONS_A_SECOND, ...service }: { perSecond?: number; writes?: boolean } = {},
): Promise<Purge> {
  const world = new World(service);
  world.service.serve(perSecond);
  const purge = world.purge(options);
  await world.run(WHILE);
  return purge;
}

/** The p99 of the service beside a purge, as a multiple of what it is alone with the same arrivals. */
async function p99Ratio(
  pace: () => Pace,
  {
    options = ENDLESS,
    operationsPerSecond = OPERATIONS_A_SECOND,
    prepare,
  }: { options?: PurgeOptions; operationsPerSecond?: number; prepare?: (world: World) => void } = {},
): Promise<number> {
  const p99s: number[] = [];
  for (const withPurge of [false, true]) {
    const world = new World();
    world.service.serve(operationsPerSecond);
    prepare?.(world);
    if (withPurge) {
      world.at(SECOND, () => world.purge(options, pace()));
    }
    await world.run(WHILE);
    p99s.push(world.service.percentile(99, SECOND, WHILE));
  }
  const [without = Number.NaN, withPurge = Number.NaN] = p99s;
  return withPurge / without;
}

describe('while no other session is active', () => {
  test('works all the time, in batches of 10 ms', async () => {
    const purge = await alone();

    expect(purge.share(SECOND, 10 * SECOND)).toBeGreaterThan(0.9);
    expect(purge.longestMs(0, 10 * SECOND)).toBeLessThan(15);
    expect(purge.report).toEqual({ share: expect.closeTo(0.95, 1), reason: 'no other session was active' });
  });

  test('looks at others at the cost of less than 3 % of the speed', async () => {
    const rate = async (pace: Pace) => (await alone(ENDLESS, pace)).rowsPerSecond(SECOND, 10 * SECOND);

    expect((await rate(new Pace())) / (await rate(new Pace(1)))).toBeGreaterThan(0.97);
  });

  test('works on all connections at once', async () => {
    const purge = await alone({ ...ENDLESS, connections: 2 });

    expect(purge.share(SECOND, 10 * SECOND)).toBeGreaterThan(1.8);
  });

  test('does not mind a session that is idle in its transaction', async () => {
    const world = new World();
    for (const state of [
      { xid: '999', xmin: '999' },
      { xid: null, xmin: '998' },
    ]) {
      world.server.sessions.set(world.server.connect(), state);
    }
    const purge = world.purge();

    await world.run(10 * SECOND);

    expect(purge.share(SECOND, 10 * SECOND)).toBeGreaterThan(0.9);
  });
});

describe('beside a token service', () => {
  test.each([
    ['', OPERATIONS_A_SECOND],
    [', near saturation', 2_900],
  ])('keeps its p99 within 1.2 times the p99 without a run%s', async (_, operationsPerSecond) => {
    expect(await p99Ratio(() => new Pace(), { operationsPerSecond })).toBeLessThan(1.2);
  });

  test.each([
    ['half of the time', HALF_OF_THE_TIME, 5],
    ['10 % of the time', () => new Pace(0.1), 2.5],
  ])('shows that batches of 10 ms in %s do not', async (_, pace, ratio) => {
    expect(await p99Ratio(pace)).toBeGreaterThan(ratio);
  });

  test('works at most 5 % of the time, in batches of 1 to 2 ms, and deletes 10,000 rows a second', async () => {
    const purge = await beside();

    expect(purge.share(SECOND, WHILE)).toBeLessThanOrEqual(0.05);
    expect(purge.longestMs(SECOND, WHILE)).toBeLessThan(2);
    expect(purge.rowsPerSecond(SECOND, WHILE)).toBeGreaterThan(10_000);
    expect(purge.report).toEqual({ share: 0.05, reason: 'other sessions were active' });
  });

  test('lets its connections share the 5 %, and each has its turn', async () => {
    const purge = await beside({ ...ENDLESS, connections: 4 });

    expect(purge.share(SECOND, WHILE)).toBeLessThanOrEqual(0.05);
    const turns = purge.turnsOfEach(SECOND, WHILE);
    expect(turns).toHaveLength(4);
    expect(Math.max(...turns) / Math.min(...turns)).toBeLessThan(1.1);
  });

  test('yields to a service that begins, before its next batch', async () => {
    const world = new World();
    const purge = world.purge({ ...ENDLESS, connections: 2 });
    world.at(10 * SECOND, () => world.service.serve(OPERATIONS_A_SECOND));

    await world.run(20 * SECOND);

    expect(purge.share(5 * SECOND, 10 * SECOND)).toBeGreaterThan(1.8);
    expect(purge.longestMs(10 * SECOND + 60, 20 * SECOND)).toBeLessThan(2);
    expect(purge.share(10 * SECOND + 60, 20 * SECOND)).toBeLessThanOrEqual(0.05);
  });

  test('returns to full speed 5 s after a service ended, and not before', async () => {
    const world = new World();
    world.service.serve(OPERATIONS_A_SECOND);
    const purge = world.purge();
    world.at(10 * SECOND, () => world.service.serve(0));

    await world.run(20 * SECOND);

    expect(purge.share(10 * SECOND, 14.9 * SECOND)).toBeLessThanOrEqual(0.05);
    expect(purge.share(16 * SECOND, 20 * SECOND)).toBeGreaterThan(0.9);
    expect(purge.report?.reason).toMatch(/^7\d % of the time: other sessions .*; 2\d % of the time: no other session /);
  });

  test.each([
    ['that only reads', { writes: false, perSecond: 200 }],
    ['of which an operation comes twice a second', { perSecond: 2 }],
  ])('sees a service %s', async (_, service) => {
    const purge = await beside(ENDLESS, service);

    expect(purge.share(10 * SECOND, WHILE)).toBeLessThan(0.2);
  });

  test('is hardly felt while a checkpoint makes the log device four times as slow', async () => {
    const prepare = (world: World) => {
      for (let ms = 5 * SECOND; ms < WHILE; ms += 20 * SECOND) {
        world.at(ms, () => Object.assign(world.server, { logSlowness: 4 }));
        world.at(ms + 10 * SECOND, () => Object.assign(world.server, { logSlowness: 1 }));
      }
    };

    expect(await p99Ratio(() => new Pace(), { prepare })).toBeLessThan(1.6);
    expect(await p99Ratio(HALF_OF_THE_TIME, { prepare })).toBeGreaterThan(100);
  });

  test('narrows its batches if blocks come from the disk', async () => {
    const purge = await beside({ ...ENDLESS, readMs: (block) => (block < 2_000 ? 0 : 2) });

    const coldFrom = purge.batches.find(({ first }) => first >= 2_000)?.begunAt ?? Number.NaN;
    expect(purge.longestMs(coldFrom, coldFrom + SECOND)).toBeLessThan(20);
    expect(purge.longestMs(coldFrom + SECOND, WHILE)).toBeLessThan(3);
    expect(purge.share(SECOND, WHILE)).toBeLessThanOrEqual(0.055);
  });

  test.each([4, 10, 20])(
    'deletes rows beside %s processes that occupy all processors, since waiting for a processor is not work',
    async (processes) => {
      const prepare = (world: World) => world.server.saturate(processes);
      const world = new World();
      prepare(world);
      world.service.serve(20);
      const purge = world.purge();

      await world.run(WHILE);

      expect(purge.rowsPerSecond(SECOND, WHILE)).toBeGreaterThan(1_000);
      expect(await p99Ratio(() => new Pace(), { prepare, operationsPerSecond: 20 })).toBeLessThan(1.2);
    },
  );

  test('takes a batch that waited for a lock neither for too wide nor for work', async () => {
    const waiting = await beside({ ...ENDLESS, lockWaitMs: (batch) => (batch % 20 === 0 ? 20 : 0) });
    const undisturbed = await beside();

    expect(waiting.rowsPerSecond(SECOND, WHILE) / undisturbed.rowsPerSecond(SECOND, WHILE)).toBeGreaterThan(0.85);
  });

  test('begins a batch at least every two seconds, however long they take', async () => {
    const purge = await beside({ ...ENDLESS, readMs: () => 190 });

    expect(purge.longestRestMs(SECOND, WHILE)).toBeLessThan(2_010);
  });

  test('leaves no more log unflushed than a volume writes in little over 1 ms, even if the service seldom commits', async () => {
    const world = new World();
    world.service.serve(2);
    const purge = world.purge();
    const unflushed: number[] = [];
    const watch = () => {
      unflushed.push(world.server.insertedBytes - world.server.flushedBytes);
      world.simulation.after(1, watch);
    };
    world.at(SECOND, () => world.service.serve(20));
    world.at(2 * SECOND, watch);

    await world.run(WHILE);

    expect(purge.share(2 * SECOND, WHILE)).toBeGreaterThan(0.03);
    expect(Math.max(...unflushed)).toBeLessThan(250_000);
  });
});

test('works half as much beside others while dead tuples pile up, and at full speed alone', async () => {
  const options = { ...ENDLESS, deadTuplesPileUp: true };
  const disturbed = await beside(options);

  expect((await alone(options)).share(SECOND, 10 * SECOND)).toBeGreaterThan(0.9);
  expect(disturbed.share(SECOND, WHILE)).toBeLessThanOrEqual(0.025);
  expect(disturbed.report?.reason).toContain('autovacuum did not keep up');
});

test('two purges on one cluster share it evenly, and the one that is left alone speeds up', async () => {
  const world = new World();
  const first = world.purge({ blocks: 20_000 });
  await world.run(0.5 * SECOND);
  const second = world.purge();

  await world.run(WHILE);
  for (const purge of [first, second]) {
    expect(purge.share(2 * SECOND, WHILE)).toBeLessThanOrEqual(0.05);
    expect(purge.share(2 * SECOND, WHILE)).toBeGreaterThan(0.035);
  }
  expect(second.longestRestMs(2 * SECOND, WHILE)).toBeLessThan(250);

  await world.run(90 * SECOND);
  const { doneAt } = first;
  expect(second.share(doneAt, doneAt + 4.9 * SECOND)).toBeLessThanOrEqual(0.05);
  expect(second.share(doneAt + 6 * SECOND, doneAt + 10 * SECOND)).toBeGreaterThan(0.9);
});

test('treats a server that refuses to show its state as busy', async () => {
  const world = new World();
  const purge = world.purge({ ...ENDLESS, canLook: false });

  await world.run(WHILE);

  expect(purge.share(0, WHILE)).toBeLessThanOrEqual(0.05);
  expect(purge.share(0, WHILE)).toBeGreaterThan(0.03);
  expect(purge.report?.reason).toBe('other sessions were active');
});

describe('with a deadline', () => {
  const purgeOf = async (blocks: number, deadlineMs: number) => {
    const world = new World();
    world.service.serve(OPERATIONS_A_SECOND);
    const purge = world.purge({ blocks, deadlineMs });
    await world.run(deadlineMs + SECOND);
    return { world, purge };
  };

  test('keeps to 5 % if that is enough', async () => {
    const { purge } = await purgeOf(20_000, 60 * SECOND);

    expect(purge.visited).toBe(20_000);
    expect(purge.report).toEqual({ share: 0.05, reason: 'other sessions were active' });
  });

  test('works as much more as it takes to be done in time, and at a p99 that is still better than half of the time', async () => {
    const { world, purge } = await purgeOf(60_000, 60 * SECOND);
    const p99 = world.service.percentile(99, SECOND, 60 * SECOND);
    const half = new World();
    half.service.serve(OPERATIONS_A_SECOND);
    half.purge(ENDLESS, HALF_OF_THE_TIME());
    await half.run(60 * SECOND);

    expect(purge.visited).toBe(60_000);
    expect(purge.share(0.2 * SECOND, SECOND)).toBeLessThan(0.06);
    expect(purge.report?.share).toBeLessThan(0.25);
    expect(purge.report?.reason).toContain('the deadline demanded more than 5 % of the time');
    expect(p99).toBeLessThan(0.3 * half.service.percentile(99, SECOND, 60 * SECOND));
  });

  test.each([100_000, 200_000, 300_000])('is done in time with %i blocks in two minutes', async (blocks) => {
    const { purge } = await purgeOf(blocks, 120 * SECOND);

    expect(purge.visited).toBe(blocks);
  });

  test('never works more than half of the time, and rises to that step by step', async () => {
    const { purge } = await purgeOf(ENDLESS.blocks, 30 * SECOND);

    const shares = [0.5, 1.5, 2.5, 3.5, 10].map((at) => purge.share(at * SECOND, (at + 0.5) * SECOND));
    expect(shares.every((share, index) => index === 0 || share > (shares[index - 1] ?? 0))).toBe(true);
    expect(shares.at(-1)).toBeLessThanOrEqual(0.5);
  });
});
