import { fleetReport } from '../../lambda/fleet/fleet-report';
import { type Memory, NO_MEMORY } from '../../lambda/fleet/memory';
import { serverResult } from '../../lambda/fleet/server-result';
import {
  type DatabaseResult,
  databaseResults,
  fitting,
  MOST_DATABASES,
  type ServerRound,
} from '../../lambda/fleet/server-round';
import { emitFleetReport } from '../../lambda/metrics';
import type { RunStatus, TargetReport } from '../../lambda/run/report';
import { targetReport } from '../support/reports';

const FIRST = '2027-01-29T03:00:00.000Z';
const SECOND = '2027-01-30T03:00:00.000Z';

function swept(database: string, counts: Partial<DatabaseResult> = {}): DatabaseResult {
  return { database, status: 'succeeded', isSwept: true, rowsDeleted: 1, rowsRemaining: 0, durationMs: 10, ...counts };
}

function round(server: string, databases: readonly DatabaseResult[], other: Partial<ServerRound> = {}): ServerRound {
  const counts = { rowsDeleted: 0, durationMs: 0 };
  return { server, round: 1, status: 'succeeded', stage: 'prod', dryRun: false, ...counts, databases, ...other };
}

const run = (startedAt = SECOND) => ({
  stage: 'prod',
  execution: 'arn:1',
  dryRun: false,
  isWhole: true,
  startedAt,
  durationMs: 5_000,
});

type Server = Parameters<typeof serverResult>;

/** Servers of one round: one that was swept, and those that were skipped. */
const SWEPT: Server = ['a', [round('a', [swept('a1')])]];
const skipped = (server: string): Server => [server, [round(server, [], { status: 'skipped' })]];

test('sums up servers that were swept, failed, were skipped and were not reached', () => {
  const broken = { status: 'failed', isSwept: false, rowsDeleted: 0, error: 'tokens: no such table' } as const;
  const { report, results } = fleetReport(
    run(),
    [
      serverResult('a', [round('a', [swept('a1', { rowsDeleted: 3 }), swept('a2', broken)])]),
      serverResult('b', [], 'connect ECONNREFUSED'),
      serverResult('c', [round('c', [], { status: 'skipped' })]),
      serverResult('d', []),
    ],
    NO_MEMORY,
  );

  expect(report).toEqual({
    status: 'failed',
    stage: 'prod',
    execution: 'arn:1',
    dryRun: false,
    isWhole: true,
    startedAt: SECOND,
    durationMs: 5_000,
    servers: { total: 4, swept: 1, failed: 1, skipped: 1, 'not-reached': 1 },
    databases: { total: 2, succeeded: 1, failed: 1 },
    rowsDeleted: 3,
    rowsRemaining: 0,
    databasesCutShort: 0,
    backlogGrows: true,
    oldestSweep: { server: 'a', database: 'a1', at: SECOND },
    failures: [
      { server: 'a', database: 'a2', error: 'tokens: no such table' },
      { server: 'b', error: 'connect ECONNREFUSED' },
    ],
    results,
  });
  expect(results).toEqual([
    { server: 'a', ...swept('a1', { rowsDeleted: 3 }) },
    { server: 'a', ...swept('a2', broken) },
  ]);
});

test.each<[RunStatus, string, Server[]]>([
  ['succeeded', 'every database of every server was swept', [SWEPT]],
  ['partial', 'rows remain', [['a', [round('a', [swept('a1', { status: 'partial', rowsRemaining: 2 })])]]]],
  [
    'partial',
    'databases were left',
    [['a', [round('a', [swept('a1')], { status: 'partial', isCutShort: true, next: 'a1' })]]],
  ],
  ['partial', 'some servers were skipped', [SWEPT, skipped('b')]],
  ['skipped', 'all servers were skipped', [skipped('a')]],
  ['failed', 'a server failed', [SWEPT, ['b', [], 'down']]],
])('has the status %s if %s', (status, _, servers) => {
  const results = servers.map((server) => serverResult(...server));

  expect(fleetReport(run(), results, NO_MEMORY).report.status).toBe(status);
});

test('fails if the run ended early, whatever its servers did', () => {
  const { report } = fleetReport(
    { ...run(), error: 'a quarter failed' },
    [serverResult('a', [round('a', [])])],
    NO_MEMORY,
  );

  expect(report).toMatchObject({ status: 'failed', error: 'a quarter failed' });
});

test('joins the rounds of a server: a database that one did not finish counts once, as it was left', () => {
  const result = serverResult('a', [
    round('a', [swept('a2', { rowsDeleted: 1 })], { round: 2 }),
    round('a', [swept('a1'), swept('a2', { status: 'partial', isSwept: false, rowsDeleted: 5 })], {
      isCutShort: true,
      next: 'a1',
    }),
  ]);

  expect(result).toMatchObject({ outcome: 'swept', isComplete: true });
  expect(result.databases).toEqual([swept('a1'), swept('a2', { rowsDeleted: 6, durationMs: 20 })]);
});

test('keeps what the first rounds of a server did if a later one failed', () => {
  expect(
    serverResult('a', [round('a', [swept('a1')], { isCutShort: true, next: 'a1' })], 'the function timed out'),
  ).toEqual({
    server: 'a',
    outcome: 'failed',
    isComplete: false,
    databases: [swept('a1')],
    error: 'the function timed out',
  });
});

describe('the memory', () => {
  const before: Memory = {
    servers: {
      a: { since: FIRST, sweptAt: { a1: FIRST, a2: FIRST, gone: FIRST } },
      gone: { since: FIRST, sweptAt: { x: FIRST } },
    },
    rowsRemaining: 4,
  };
  const after = (...servers: Server[]) =>
    fleetReport(
      run(),
      servers.map((server) => serverResult(...server)),
      before,
    );

  test('dates a database that was swept to its end anew, and no other', () => {
    const cut = { status: 'partial', isSwept: false } as const;
    const { memory, report } = after(['a', [round('a', [swept('a1'), swept('a2', cut), swept('new', cut)])]]);

    expect(memory.servers).toEqual({ a: { since: FIRST, sweptAt: { a1: SECOND, a2: FIRST, new: SECOND } } });
    expect(report.oldestSweep).toEqual({ server: 'a', database: 'a2', at: FIRST });
  });

  test.each<[string, Server]>([
    ['failed', ['a', [], 'down']],
    ['was skipped', skipped('a')],
    ['was not reached', ['a', []]],
    ['was left in the middle', ['a', [round('a', [swept('a1')], { isCutShort: true, next: 'a1', status: 'partial' })]]],
    ['was left in its first database', ['a', [round('a', [swept('a1')], { isCutShort: true, status: 'partial' })]]],
    [
      'was skipped after a round',
      [
        'a',
        [round('a', [swept('a1')], { isCutShort: true, next: 'a1' }), round('a', [], { round: 2, status: 'skipped' })],
      ],
    ],
  ])('keeps the databases of a server that %s', (_, server) => {
    expect(Object.keys(after(server).memory.servers.a?.sweptAt ?? {})).toEqual(['a1', 'a2', 'gone']);
  });

  test('dates a server whose databases nobody knows from its first run', () => {
    const first = fleetReport(run(FIRST), [serverResult('b', [], 'down')], NO_MEMORY);
    const second = fleetReport(run(SECOND), [serverResult('b', [], 'down')], first.memory);

    expect(second.report.oldestSweep).toEqual({ server: 'b', at: FIRST });
  });

  test.each([
    ['a dry run', { dryRun: true }],
    ['a run of some tables', { isWhole: false }],
  ])('does not change after %s, which sweeps no database to its end', (_, kind) => {
    const servers = [serverResult('a', [round('a', [swept('a1', { rowsRemaining: 9 }), swept('new')])])];
    const { memory, report } = fleetReport({ ...run(), ...kind }, servers, before);

    expect(memory).toBe(before);
    expect(report).toMatchObject({ rowsRemaining: 9, backlogGrows: false, oldestSweep: { at: FIRST } });
  });

  test('does not change after a run whose manifest was refused', () => {
    expect(fleetReport({ ...run(), error: 'line 1' }, [], before).memory).toBe(before);
  });

  test.each([
    [5, true],
    [4, false],
    [3, false],
  ])('finds with %d dead rows left after 4 that the backlog grows: %p', (rowsRemaining, grows) => {
    const { report } = after(['a', [round('a', [swept('a1', { rowsRemaining })])]]);

    expect(report.backlogGrows).toBe(grows);
  });
});

test('leaves out results, and then failures, that would be too long for an event', () => {
  const many = Array.from({ length: 3_000 }, (_, i) => swept(`tenant_${i}`));
  const failed = many.map(({ database }) => swept(database, { status: 'failed', error: 'x'.repeat(500) }));
  const reportOf = (databases: readonly DatabaseResult[]) =>
    fleetReport(run(), [serverResult('a', [round('a', databases)])], NO_MEMORY).report;

  expect(reportOf(many)).not.toHaveProperty('results');
  expect(reportOf(many.slice(0, 100)).results).toHaveLength(100);
  const report = reportOf(failed);
  expect(JSON.stringify(report).length).toBeLessThanOrEqual(200_000);
  expect(report.failures.length + (report.failuresLeftOut ?? 0)).toBe(3_000);
  expect(report.failures.length).toBeGreaterThan(300);
});

test('sums up the tables of each database of a round', () => {
  const drained = { stopReason: 'drained', rowsRemaining: 0 } as const;
  const table = (database: string, other: Partial<TargetReport> = drained): TargetReport =>
    targetReport({ database, table: 'tokens', rowsDeleted: 2, durationMs: 5, ...other });
  const { database: _, ...ofNoDatabase } = table('d');

  expect(
    databaseResults([
      table('a'),
      table('a', { status: 'partial', stopReason: 'blocked', rowsRemaining: 1 }),
      table('b'),
      table('b', { status: 'failed', rowsDeleted: 0, error: 'no privilege' }),
      table('c', { status: 'partial', stopReason: 'deadline', rowsRemaining: 0 }),
      ofNoDatabase,
    ]),
  ).toEqual([
    { database: 'a', status: 'partial', isSwept: true, rowsDeleted: 4, rowsRemaining: 1, durationMs: 10 },
    { database: 'b', status: 'failed', isSwept: false, rowsDeleted: 2, durationMs: 10, error: 'tokens: no privilege' },
    { database: 'c', status: 'partial', isSwept: false, rowsDeleted: 2, rowsRemaining: 0, durationMs: 5 },
  ]);
});

test('keeps of the errors of a round what a state machine can hold, in any script', () => {
  const error = '表"tokens"不存在\n'.repeat(1_000);
  const failed = Array.from({ length: MOST_DATABASES }, (_, i) => swept(`tenant_${i}`, { status: 'failed', error }));
  const whole = round('a', failed, { error: error.slice(0, 10_000), warnings: Array(100).fill('x'.repeat(200)) });

  const short = fitting(whole);

  expect(Buffer.byteLength(JSON.stringify(short))).toBeLessThanOrEqual(200_000);
  expect(short.databases.map(({ error: _, ...result }) => result)).toEqual(failed.map(({ error: _, ...rest }) => rest));
  expect(short.databases.every((result) => result.error && error.startsWith(result.error))).toBe(true);
  expect(fitting(round('a', [swept('a', { error: 'no' }), swept('b')])).databases).toEqual([
    swept('a', { error: 'no' }),
    swept('b'),
  ]);
});

test('emits of a run of some tables only what it did, so that it ends no alarm about the whole fleet', () => {
  const emitted = (kind: Partial<ReturnType<typeof run>>) => {
    const names: Record<string, number> = {};
    const metrics = {
      addDimensions: () => {},
      addMetric: (name: string, _: string, value: number) => {
        names[name] = value;
      },
      publishStoredMetrics: () => {},
    };
    emitFleetReport(
      metrics,
      fleetReport({ ...run(), ...kind }, [serverResult('a', [round('a', [swept('a1')])])], NO_MEMORY).report,
    );
    return names;
  };
  const did = { Partial: 0, Failed: 0, Skipped: 0, ServersFailed: 0, DatabasesFailed: 0, RowsDeleted: 1 };
  const fleet = { Databases: 1, DatabasesCutShort: 0, RowsRemaining: 0, BacklogGrows: 0, Duration: 5_000 };

  expect(emitted({ isWhole: false })).toEqual({ ...did, Succeeded: 0 });
  expect(emitted({})).toEqual({ ...did, Succeeded: 1, ...fleet, OldestSweepHours: expect.any(Number) });
  expect(emitted({ dryRun: true })).toEqual({});
});
