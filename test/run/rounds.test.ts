import type { FunctionRequest } from '../../lambda/configuration/event';
import type { RunReport, TargetReport } from '../../lambda/run/report';
import { answerOf, isWhole, windowLeftMs } from '../../lambda/run/rounds';
import { runReport, targetReport } from '../support/reports';

const NOW = new Date('2026-11-25T04:00:00Z');
beforeEach(() => jest.useFakeTimers({ now: NOW, doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] }));
afterEach(() => jest.useRealTimers());

const WINDOW: FunctionRequest = {
  execution: 'arn:aws:states:eu-central-1:111122223333:execution:token-cleanup-prod_auth:1',
  until: '06:00',
  timeZone: 'Europe/Berlin',
  scheduledAt: '2026-11-25T02:00:00Z',
};

function target(part: Partial<TargetReport> = {}): TargetReport {
  return targetReport({ status: 'partial', stopReason: 'deadline', rowsDeleted: 7, ...part });
}

function report(part: Partial<RunReport> = {}): RunReport {
  return runReport({ status: 'partial', rowsDeleted: 7, durationMs: 100, targets: [target()], ...part });
}

const SUCCESS = { status: 'succeeded', stopReason: 'drained' } as const;

test('continues a run whose time was up, with the same request and the sum of the rounds', () => {
  const request = { ...WINDOW, tables: ['refresh_tokens'], maxLoad: 1 };
  const first = answerOf(report(), request);
  const rounds = { count: 1, rowsDeleted: 7, durationMs: 100, status: 'succeeded' };

  expect(first).toEqual({ ...report(), rounds, again: { ...request, rounds } });

  const last = answerOf(
    report({ status: 'succeeded', rowsDeleted: 3, targets: [target(SUCCESS)] }),
    first.again as never,
  );

  expect(last).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 3,
    rounds: { count: 2, rowsDeleted: 10, durationMs: 200, status: 'succeeded' },
  });
  expect(last).not.toHaveProperty('again');
});

test.each<[string, Partial<RunReport>, FunctionRequest?]>([
  ['that succeeded', { status: 'succeeded', targets: [target(SUCCESS)] }],
  ['that deleted nothing', { rowsDeleted: 0, targets: [target({ rowsDeleted: 0 })] }],
  [
    'that came no further than the database before',
    { rowsDeleted: 0, targets: [target({ rowsDeleted: 0 })], isCutShort: true, next: 'a' },
    { ...WINDOW, after: 'a' },
  ],
  ['whose rows were blocked', { targets: [target({ stopReason: 'blocked' })] }],
  ['that reached maxRows', { targets: [target({ stopReason: 'max-rows' })] }],
  ['that was interrupted', { targets: [target({ stopReason: 'interrupted' })] }],
  ['that was skipped', { status: 'skipped', rowsDeleted: 0, targets: [] }],
  ['without a time until which it may go on', {}, { execution: 'id' }],
  ['at the end of its window', {}, { ...WINDOW, until: '05:00', scheduledAt: '2026-11-25T03:59:00Z' }],
  ['less than a minute before that', {}, { ...WINDOW, until: '05:00', scheduledAt: '2026-11-25T03:00:00Z' }],
  ['that counts', { dryRun: true }],
])('does not continue a run %s', (title, part, request = WINDOW) => {
  jest.setSystemTime(title.startsWith('less') ? new Date('2026-11-25T03:59:01Z') : NOW);

  expect(answerOf(report(part), request)).not.toHaveProperty('again');
});

test.each<[string, Partial<RunReport>, FunctionRequest?]>([
  [
    'that left databases, even if it deleted nothing',
    { rowsDeleted: 0, targets: [], isCutShort: true, next: 'b' },
    { ...WINDOW, after: 'a' },
  ],
  ['that left databases, even if it counts', { dryRun: true, isCutShort: true, next: 'b' }],
  ['that deleted from the same database as before', { isCutShort: true, next: 'a' }, { ...WINDOW, after: 'a' }],
  ['that a replica held back', { targets: [target({ stopReason: 'replica-lag' })] }],
  ['that only dropped partitions', { rowsDeleted: 0, targets: [target({ partitionsDropped: [] })] }],
  ['of which a table failed', { status: 'failed', targets: [target(), target({ status: 'failed', error: 'no' })] }],
])('continues a run %s', (_, part, request = WINDOW) => {
  expect(answerOf(report(part), request).again).toMatchObject(
    request.after === 'a' && part.next === 'b' ? { after: 'b' } : WINDOW,
  );
});

test('calls the end as bad as the worst of the databases that it does not come to again', () => {
  const tenant = (database: string, status: 'succeeded' | 'partial' | 'failed') =>
    target({ database, status, ...(status === 'succeeded' && SUCCESS) });
  const first = report({
    status: 'failed',
    error: 'tenant_b: refresh_tokens: the table does not exist',
    targets: [tenant('tenant_a', 'succeeded'), tenant('tenant_b', 'failed'), tenant('tenant_c', 'partial')],
    isCutShort: true,
    next: 'tenant_b',
  });
  const second = answerOf(first, WINDOW).again;
  const last = answerOf(report({ ...SUCCESS, targets: [tenant('tenant_c', 'succeeded')] }), second as never);

  expect(second).toMatchObject({ after: 'tenant_b', rounds: { status: 'failed', error: first.error } });
  expect(last).toMatchObject({ status: 'failed', rounds: { count: 2, status: 'failed', error: first.error } });
  expect(isWhole(second as never)).toBe(false);
});

test('takes only rounds from the first database on for a run of all databases', () => {
  const done = report({ ...SUCCESS, targets: [target({ ...SUCCESS, database: 'b' })], isCutShort: true, next: 'b' });
  const [fromTheFirst, fromAnother] = [WINDOW, { ...WINDOW, after: 'a' }].map(
    (request) => answerOf(done, request).again,
  );

  expect(
    [WINDOW, fromTheFirst, { ...WINDOW, after: 'a' }, fromAnother].map((request) => isWhole(request as never)),
  ).toEqual([true, true, false, false]);
});

test('keeps the error of an answer, of which a state machine holds little, short', () => {
  const { error, rounds } = answerOf(report({ status: 'failed', error: 'x'.repeat(1_000_000) }), WINDOW);

  expect([error?.length, rounds.error?.length]).toEqual([10_000, 10_000]);
});

test('is partial if a later round was skipped, and skipped only if the first one was', () => {
  const skipped = report({ status: 'skipped', rowsDeleted: 0, targets: [] });
  const { again } = answerOf(report(), WINDOW);

  expect(answerOf(skipped, again as never)).toMatchObject({ status: 'partial', rounds: { count: 2, rowsDeleted: 7 } });
  expect(answerOf(skipped, WINDOW)).toMatchObject({ status: 'skipped', rounds: { count: 1 } });
});

describe('with a limit of rows', () => {
  const answer = (part: Partial<RunReport>, request = WINDOW) => answerOf(report(part), request, { hasMaxRows: true });

  test('comes to no table again, since it would delete as many rows once more', () => {
    const reached = target({ stopReason: 'max-rows' });

    expect(answer({ targets: [reached, target()] })).toMatchObject({ status: 'partial', rounds: { count: 1 } });
    expect(answer({ targets: [reached, target()] })).not.toHaveProperty('again');
  });

  test('goes on behind the database that the time limit cut short, and remains partial', () => {
    const [done, cut] = [target({ ...SUCCESS, database: 'a' }), target({ database: 'b' })];
    const { again } = answer({ targets: [done, cut], isCutShort: true, next: 'a' });

    expect(again).toMatchObject({ after: 'b', rounds: { status: 'partial' } });
    expect(answer({ ...SUCCESS, targets: [{ ...done, database: 'c' }] }, again as never)).toMatchObject({
      status: 'partial',
      rounds: { count: 2, status: 'partial' },
    });
  });

  test('ends if not even one database was begun', () => {
    expect(answer({ rowsDeleted: 0, targets: [], isCutShort: true })).not.toHaveProperty('again');
  });
});

test.each<[string, FunctionRequest, boolean]>([
  ['without a time until which it may', { execution: 'id' }, true],
  ['within its window', WINDOW, true],
  ['at the end of its window', { ...WINDOW, until: '05:00', scheduledAt: '2026-11-25T03:59:00Z' }, false],
])('an execution on a server of a fleet %s', (_, request, goesOn) => {
  const answer = answerOf(report({ isCutShort: true, next: 'a' }), request, { isEndless: true });

  expect('again' in answer).toBe(goesOn);
});

test.each<[string, FunctionRequest, number]>([
  ['the time of day after the schedule fired', WINDOW, 3_600_000],
  ['a time of day that is over', { ...WINDOW, until: '04:30' }, -1_800_000],
  ['the next time of day if it does not know of a schedule', { until: '04:30' }, 1_800_000],
  ['no time of day', {}, Number.POSITIVE_INFINITY],
])('may run until %s', (_, request, expected) => {
  expect(windowLeftMs(request)).toBe(expected);
});
