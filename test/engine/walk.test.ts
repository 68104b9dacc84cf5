import type { Clock } from '../../lambda/clock';
import type { Queryable } from '../../lambda/database/queryable';
import { deletion } from '../../lambda/engine/deletion';
import { Pace } from '../../lambda/engine/pace/pace';
import { Turns } from '../../lambda/engine/pace/turns';
import { BlockRange, blocksOf, type Piece, RowList } from '../../lambda/engine/pieces';
import { type Done, Walk, type WalkOptions } from '../../lambda/engine/walk';

/** What a statement aims at, so that the width of the ranges stays. */
const TARGET_MS = 10;
const RELATION = { oid: 1, quotedName: '"public"."tokens"' };

/** The number of a row's block; what is behind the point is its place in there. */
function positionOf(tid: string): number {
  const [block = 0, offset = 0] = tid.slice(1, -1).split(',').map(Number);
  return block + offset / 2_048;
}

/** A clock that jumps. */
class FakeClock implements Clock {
  ms = 0;
  readonly rests: number[] = [];
  now = () => this.ms;
  date = () => new Date(this.ms);
  sleep = async (ms: number) => {
    this.rests.push(ms);
    this.ms += ms;
  };
}

/** A heap in which each statement takes as long as `cost` says, and fails as `fail` says. */
class FakeHeap implements Queryable {
  reconnections = 0;
  readonly visits: { blocks: number; from: number; to: number; lockTimeoutMs: number | undefined }[] = [];

  constructor(
    private readonly cost: (fromBlock: number, toBlock: number) => number = () => TARGET_MS,
    private readonly fail: (from: number, to: number) => string | undefined = () => undefined,
    readonly clock = new FakeClock(),
  ) {}

  query: Queryable['query'] = async (_text, values = [], limits) => {
    const [from, to] = values.slice(-2).map((tid) => positionOf(tid as string)) as [number, number];
    this.visits.push({ from, to, blocks: to - from, lockTimeoutMs: limits?.lockTimeoutMs });
    this.clock.ms += this.cost(from, to);
    const code = this.fail(from, to);
    if (code) {
      throw Object.assign(new Error('fake'), { severity: 'ERROR', code });
    }
    return { rows: [], rowCount: 1 };
  };
}

function turnsOf(clock: Clock, share: number): Turns {
  return new Turns({ pace: new Pace(share), clock, look: async () => undefined });
}

function walkOf(
  sessions: Queryable[],
  what: number | readonly Piece[],
  { clock = (sessions[0] as FakeHeap).clock, ...options }: Partial<WalkOptions<never>> = {},
) {
  const done: Done<never>[] = [];
  const pieces = typeof what === 'number' ? [new BlockRange(RELATION, 0, what)] : what;
  const walk = new Walk<never>(
    {
      sessions,
      statement: (part) =>
        deletion(
          { condition: { text: 'true', values: [], times: [], others: [] }, protections: [], cascades: [] },
          part,
        ),
      turns: turnsOf(clock, 1),
      clock,
      until: new AbortController().signal,
      onStatement: (_, result) => result && done.push(result),
      ...options,
    },
    pieces,
  );
  return { walk, done };
}

function obstaclesOf({ obstacles }: Walk<never>) {
  return obstacles.map(({ piece, ...obstacle }) => ({ ...obstacle, isRow: piece.isRow }));
}

/** The pieces that were done, in the order of the table, must cover it without gap or overlap but for what is left out. */
function covered(done: Done<never>[]): number {
  const pieces = done
    .map(({ piece }) => piece.place('', 1).values.map((tid) => positionOf(tid as string)) as [number, number])
    .sort(([one], [other]) => one - other);
  pieces.reduce((end, [from, to]) => {
    expect(from).toBeGreaterThanOrEqual(end);
    return to;
  }, 0);
  return pieces.reduce((sum, [from, to]) => sum + to - from, 0);
}

test('widens the ranges while they are fast, at most twofold, and narrows them at once if they are slow', async () => {
  // Up to block 10,000 there is nothing to do; from there on, much.
  const heap = new FakeHeap((from, to) => (to - from) * (from < 10_000 ? 0.001 : 0.5));
  const { walk, done } = walkOf([heap], 20_000);

  expect(await walk.run()).toBe('finished');

  const widths = heap.visits.map(({ blocks }) => blocks);
  expect(widths.slice(0, 7)).toEqual([64, 128, 256, 512, 1024, 2048, 4096]);
  const firstSlow = heap.visits.findIndex(({ from }) => from >= 10_000);
  expect(widths.slice(firstSlow + 1, -1).every((blocks) => blocks === TARGET_MS / 0.5)).toBe(true);
  expect(covered(done)).toBe(20_000);
});

test('rests between statements for the share of time that is not its own', async () => {
  const heap = new FakeHeap();

  await walkOf([heap], 640, { turns: turnsOf(heap.clock, 0.25) }).walk.run();

  expect(heap.clock.rests).toEqual(heap.visits.slice(1).map(() => 3 * TARGET_MS));
});

test('begins a walk backwards with the last blocks', async () => {
  const heap = new FakeHeap();

  const { walk, done } = walkOf([heap], 150, { backwards: true });
  await walk.run();

  expect(heap.visits.map(({ from, to }) => [from, to])).toEqual([
    [86, 150],
    [22, 86],
    [0, 22],
  ]);
  expect(covered(done)).toBe(150);
});

test('counts an outage neither as a long statement nor as work to rest from', async () => {
  const heap = new FakeHeap();
  const { query, clock } = heap;
  heap.query = async (...args) => {
    if (heap.visits.length === 2) {
      heap.reconnections += 1;
      clock.ms += 40_000;
    }
    return await query(...(args as Parameters<typeof query>));
  };
  const durations: number[] = [];

  await walkOf([heap], 256, {
    turns: turnsOf(clock, 0.5),
    onStatement: (ms) => durations.push(ms),
  }).walk.run();

  expect(durations.slice(0, 4)).toEqual([TARGET_MS, TARGET_MS, 200, TARGET_MS]); // at most what the server allows
  expect(clock.rests.filter((ms) => ms > 1)).toEqual(durations.slice(0, -1).filter((ms) => ms === TARGET_MS));
});

test('shares the ranges among the sessions, each block once', async () => {
  const clock = new FakeClock();
  const heaps = [1, 2, 3].map(() => new FakeHeap(undefined, undefined, clock));
  const { walk, done } = walkOf(heaps, 6_400);

  await walk.run();

  expect(heaps.every(({ visits }) => visits.length > 10)).toBe(true);
  expect(covered(done)).toBe(6_400);
});

test('halves a range down to the one row that is in the way, and waits for its lock only briefly', async () => {
  const row = 100 + 7 / 2_048;
  const heap = new FakeHeap(undefined, (from, to) => (from <= row && row < to ? '55P03' : undefined));
  const { walk, done } = walkOf([heap], 200);

  expect(await walk.run()).toBe('finished');

  expect(obstaclesOf(walk)).toEqual([{ reason: 'a lock of another transaction', isRow: true, passing: true }]);
  expect(covered(done)).toBe(200 - 1 / 2_048);
  const failed = heap.visits.filter(({ from, to }) => from <= row && row < to);
  expect(failed.map(({ lockTimeoutMs }) => lockTimeoutMs)).toEqual([25, ...failed.slice(1).map(() => 1)]);
  expect(failed.length).toBeLessThanOrEqual(19);
});

test('finds the one row of a list that is in the way, and visits each of the others once', async () => {
  const tids = Array.from({ length: 500 }, (_, index) => `(${index * 10},1)`);
  const done: string[] = [];
  let failures = 0;
  const session: Queryable = {
    reconnections: 0,
    query: async (text, values = []) => {
      if (!text.includes('any($1::pg_catalog.tid[])')) {
        return { rows: [], rowCount: 0 }; // whether the whole table is locked
      }
      const [visited] = values as [string[]];
      if (visited.includes('(3210,1)')) {
        failures += 1;
        throw Object.assign(new Error('fake'), { severity: 'ERROR', code: '55P03' });
      }
      done.push(...visited);
      return { rows: [], rowCount: visited.length };
    },
  };
  const { walk } = walkOf([session], [new RowList(RELATION, tids)], { clock: new FakeClock() });

  expect(await walk.run()).toBe('finished');

  expect(obstaclesOf(walk)).toEqual([{ reason: 'a lock of another transaction', isRow: true, passing: true }]);
  expect(done.sort()).toEqual(tids.filter((tid) => tid !== '(3210,1)').sort());
  expect(failures).toBeLessThanOrEqual(10);
});

test('narrows a range that is cancelled for taking too long', async () => {
  const tooLong = (blocks: number) => blocks * 10 > 200;
  const heap = new FakeHeap(
    (from, to) => Math.min(200, (to - from) * 10),
    (from, to) => (tooLong(to - from) ? '57014' : undefined),
  );
  const { walk, done } = walkOf([heap], 500);

  expect(await walk.run()).toBe('finished');

  expect(walk.obstacles).toEqual([]);
  expect(covered(done)).toBe(500);
  expect(heap.visits.filter(({ blocks }) => tooLong(blocks))).toHaveLength(1);
});

test('gives up on a table whose rows take too long one by one', async () => {
  const heap = new FakeHeap(
    () => 200,
    (from, to) => (to > from ? '57014' : undefined),
  );
  const { walk } = walkOf([heap], 500);

  expect(await walk.run()).toBe('blocked');

  expect(obstaclesOf(walk)).toEqual(
    Array(20).fill({ reason: 'a row that takes longer than 200 ms', isRow: true, passing: false }),
  );
});

test('waits while the whole table is locked instead of searching it, and gives up after a minute', async () => {
  const clock = new FakeClock();
  let lockedUntilMs = 30_000;
  const heap = new FakeHeap(
    () => 1,
    () => (clock.ms < lockedUntilMs ? '55P03' : undefined),
    clock,
  );
  const patient = walkOf([heap], 200);

  expect(await patient.walk.run()).toBe('finished');
  expect(patient.walk.obstacles).toEqual([]);
  expect(covered(patient.done)).toBe(200);

  lockedUntilMs = Number.POSITIVE_INFINITY;
  const startedMs = clock.ms;
  const { walk, done } = walkOf([heap], 200);
  expect(await walk.run()).toBe('blocked');
  expect(walk.isTableLocked).toBe(true);
  expect(walk.obstacles).toEqual([]);
  expect(done).toEqual([]);
  expect(clock.ms - startedMs).toBeGreaterThan(60_000);
  expect(clock.ms - startedMs).toBeLessThan(62_000);
});

test('undoes some hundred statements at most, then leaves ranges as a whole, and at last the rest', async () => {
  // Every block has a protected row; the empty range that asks about the table itself has none.
  const heap = new FakeHeap(
    () => 1,
    (from, to) => {
      const inFirstBlock = Math.floor(from) + 3 / 2_048;
      const next = inFirstBlock >= from ? inFirstBlock : inFirstBlock + 1;
      return next < to ? '23503' : undefined;
    },
  );
  const { walk, done } = walkOf([heap], 60_000);

  expect(await walk.run()).toBe('blocked');

  const rows = walk.obstacles.filter(({ piece }) => piece.isRow);
  expect(rows.length).toBeGreaterThan(30);
  expect(walk.obstacles.length).toBeGreaterThan(rows.length);
  expect(heap.visits.length - done.length - walk.obstacles.length).toBeLessThanOrEqual(1_000);
  const left = blocksOf([...walk.obstacles.map(({ piece }) => piece), ...walk.unvisited]);
  expect(covered(done) + left).toBeCloseTo(60_000);
});

test('ends all sessions when one meets an error that no row has caused', async () => {
  const clock = new FakeClock();
  const good = new FakeHeap(undefined, undefined, clock);
  const bad = new FakeHeap(undefined, () => '42501', clock);
  const { walk, done } = walkOf([good, bad], 100_000);

  await expect(walk.run()).rejects.toMatchObject({ code: '42501' });

  expect(done.length).toBeLessThan(5);
});

test('begins nothing once it is asked to stop', async () => {
  const stop = new AbortController();
  const heap = new FakeHeap(() => {
    stop.abort();
    return 20;
  });

  expect(await walkOf([heap], 1_000, { until: stop.signal }).walk.run()).toBe('stopped');

  expect(heap.visits).toHaveLength(1);
});
