import { abridged, LONGEST_ANSWER, LONGEST_STATE } from '../../lambda/run/abridged-report';
import { joinAlike, MOST_LINES } from '../../lambda/run/alike-lines';
import type { TargetReport } from '../../lambda/run/report';
import { runReport, targetReport } from '../support/reports';

function target(table: string, rest: Partial<TargetReport> = {}): TargetReport {
  return targetReport({ table, rowsRemaining: 0, ...rest });
}

test('leaves a report of ordinary size as it is', () => {
  const whole = runReport({ targets: [target('refresh_tokens')] });

  expect(abridged(whole, LONGEST_STATE)).toBe(whole);
});

test('keeps of thousands of tables those that failed, that have rows left and that lost rows, in their order', () => {
  const idle = Array.from({ length: 5_000 }, (_, index) => target(`tenant_${index}.sessions`, { pattern: 'sessions' }));
  const busy = [
    target('deleted.sessions', { rowsDeleted: 5 }),
    target('counted.sessions', { rowsRemaining: 5 }),
    target('partial.sessions', { status: 'partial', rowsRemaining: 5 }),
    target('failed.sessions', { status: 'failed', error: 'x'.repeat(1_000) }),
  ];

  const short = abridged(runReport({ targets: [...idle, ...busy] }), LONGEST_STATE);

  expect(Buffer.byteLength(JSON.stringify(short))).toBeLessThan(256_000);
  expect(short.targets.slice(-4)).toEqual(busy);
  expect(short.targets.slice(0, -4)).toEqual(idle.slice(0, short.targets.length - 4));
  expect(short.targets.length + (short.targetsLeftOut ?? 0)).toBe(5_004);
});

test.each([
  [25_000, 0],
  [50_000, expect.any(Number)],
])('keeps within the answer of Lambda: leaves out of %d tables %p', (tables, leftOut) => {
  const targets = Array.from({ length: tables }, (_, index) => target(`tenant_${index}.sessions`));

  const short = abridged(runReport({ targets }), LONGEST_ANSWER);

  expect(Buffer.byteLength(JSON.stringify(short))).toBeLessThan(6_000_000);
  expect(short.targetsLeftOut ?? 0).toEqual(leftOut);
  expect(short.targets.length + (short.targetsLeftOut ?? 0)).toBe(tables);
});

test('shows a limited number of lines, and counts the others', () => {
  const lines = Array.from({ length: 5_000 }, (_, index) => ({ subject: `table_${index}`, text: `mistake ${index}` }));

  const joined = joinAlike(lines);

  expect(joined).toHaveLength(MOST_LINES + 1);
  expect(joined.at(0)).toBe('table_0: mistake 0');
  expect(joined.at(-1)).toBe('and 4900 more');
});
