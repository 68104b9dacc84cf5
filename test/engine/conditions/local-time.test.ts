import { leastOffsetMs, localTime } from '../../../lambda/engine/conditions/local-time';

const HOUR_MS = 3_600_000;

function at(moment: string | number, zone?: string): string {
  return localTime(new Date(moment), zone);
}

test('is the time that clocks in the zone show', () => {
  expect(at('2026-07-01T12:00:00.5Z')).toBe('2026-07-01 12:00:00.500');
  expect(at('2026-07-01T12:00:00Z', 'Europe/Berlin')).toBe('2026-07-01 14:00:00.000');
  expect(at('2026-07-01T12:00:00Z', 'America/St_Johns')).toBe('2026-07-01 09:30:00.000');
  expect(at('2026-12-31T12:00:00Z', 'Pacific/Kiritimati')).toBe('2027-01-01 02:00:00.000');
});

test.each([
  ['Europe/Berlin', '2026-10-25T01:00:00Z', 1],
  ['America/New_York', '2026-11-01T06:00:00Z', 1],
  ['America/St_Johns', '2026-11-01T04:30:00Z', 1],
  ['Australia/Lord_Howe', '2026-04-04T15:00:00Z', 0.5],
  ['Antarctica/Troll', '2026-10-25T01:00:00Z', 2],
  ['Africa/Casablanca', '2026-02-15T02:00:00Z', 1],
])('is never after a time that clocks in %s will show again', (zone, setBack, hours) => {
  const clock = new Intl.DateTimeFormat('sv', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' });
  const moments = Array.from({ length: 80 }, (_, index) => Date.parse(setBack) + (index - 40) * (HOUR_MS / 6));
  const shown = moments.map((moment) => clock.format(moment));
  // The clocks are set back in the middle, or else the rest shows nothing.
  expect(Date.parse(`${shown[39]}Z`) - Date.parse(`${shown[40]}Z`)).toBeCloseTo((hours - 1 / 6) * HOUR_MS);

  for (const [index, moment] of moments.entries()) {
    const claimed = at(moment, zone).slice(0, 19);
    const [earliest = ''] = shown.slice(index).sort();
    expect(claimed <= earliest).toBe(true);
    // Nor is it further back than that.
    expect(Date.parse(`${shown[index]}Z`) - Date.parse(`${claimed}Z`)).toBeLessThanOrEqual(hours * HOUR_MS);
  }
  expect(at(moments[79] ?? 0, zone).slice(0, 19)).toBe(shown[79]);
});

test('finds the smallest offset that a zone had', () => {
  const offsetHours = (zone?: string) => leastOffsetMs(new Date('2026-07-01'), zone) / HOUR_MS;
  expect(offsetHours()).toBe(0);
  expect(offsetHours('Europe/Berlin')).toBe(1);
  expect(offsetHours('America/St_Johns')).toBe(-3.5);
  expect(offsetHours('Africa/Casablanca')).toBe(0);
  expect(offsetHours('Pacific/Apia')).toBe(-11);
});
