import { abridged } from '../lambda/abridged-report';
import { joinAlike, MOST_LINES } from '../lambda/alike-lines';
import type { RunReport, TargetReport } from '../lambda/report';

function target(table: string, rest: Partial<TargetReport> = {}): TargetReport {
  return { table, status: 'succeeded', rowsDeleted: 0, batches: 0, longestBatchMs: 0, durationMs: 0, ...rest };
}

function report(targets: readonly TargetReport[]): RunReport {
  return { status: 'failed', stage: 'local', dryRun: false, rowsDeleted: 0, durationMs: 0, targets };
}

test('leaves a report of ordinary size as it is', () => {
  const whole = report([target('refresh_tokens')]);

  expect(abridged(whole)).toBe(whole);
});

test('keeps of thousands of tables those that failed, that have rows left and that lost rows, in their order', () => {
  const idle = Array.from({ length: 5_000 }, (_, index) => target(`tenant_${index}.sessions`, { pattern: 'sessions' }));
  const busy = [
    target('deleted.sessions', { rowsDeleted: 5 }),
    target('partial.sessions', { status: 'partial', rowsRemaining: 5 }),
    target('failed.sessions', { status: 'failed', error: 'x'.repeat(1_000) }),
  ];

  const short = abridged(report([...idle, ...busy]));

  expect(Buffer.byteLength(JSON.stringify(short))).toBeLessThan(256_000);
  expect(short.targets.slice(-3)).toEqual(busy);
  expect(short.targets.slice(0, -3)).toEqual(idle.slice(0, short.targets.length - 3));
  expect(short.targets.length + (short.targetsLeftOut ?? 0)).toBe(5_003);
});

test('shows a limited number of lines, and counts the others', () => {
  const lines = Array.from({ length: 5_000 }, (_, index) => ({ subject: `table_${index}`, text: `mistake ${index}` }));

  const joined = joinAlike(lines);

  expect(joined).toHaveLength(MOST_LINES + 1);
  expect(joined.at(0)).toBe('table_0: mistake 0');
  expect(joined.at(-1)).toBe('and 4900 more');
});
