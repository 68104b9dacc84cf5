import * as fc from 'fast-check';
import { nextTimeOfDay, timeOfDay } from '../../lambda/configuration/time-of-day';

test.each([
  ['later the same day', '2026-11-25T03:00:00Z', '06:00', 'UTC', '2026-11-25T06:00:00Z'],
  ['past midnight', '2026-11-25T22:00:00Z', '06:00', 'UTC', '2026-11-26T06:00:00Z'],
  [
    'past midnight of the zone, the same day in UTC',
    '2026-07-01T03:00:00Z',
    '00:30',
    'Asia/Tokyo',
    '2026-07-01T15:30:00Z',
  ],
  ['a whole day later if it is that time now', '2026-11-25T06:00:30Z', '06:00', 'UTC', '2026-11-26T06:00:00Z'],
  ['within a minute', '2026-11-25T05:59:59Z', '06:00', 'UTC', '2026-11-25T06:00:00Z'],
  ['in a zone with half an hour', '2026-11-25T22:00:00Z', '06:00', 'Asia/Kolkata', '2026-11-26T00:30:00Z'],
  ['in the night in which clocks go forward', '2027-03-28T00:30:00Z', '06:00', 'Europe/Berlin', '2027-03-28T04:00:00Z'],
  ['in the night in which clocks go back', '2026-10-24T22:00:00Z', '06:00', 'Europe/Berlin', '2026-10-25T05:00:00Z'],
  ['as much later as it is skipped', '2027-03-27T23:00:00Z', '02:30', 'Europe/Berlin', '2027-03-28T01:30:00Z'],
  ['the first of two', '2026-10-24T22:00:00Z', '02:30', 'Europe/Berlin', '2026-10-25T00:30:00Z'],
])('finds the next time of day: %s', (_, from, time, timeZone, expected) => {
  expect(nextTimeOfDay(new Date(from), time, timeZone)).toEqual(new Date(expected));
});

test('finds a moment within 25 hours whose clocks show the time, unless they skip it', () => {
  const zones = [
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'America/St_Johns',
    'Africa/Casablanca',
    'UTC',
  ];
  const clock = (date: Date, timeZone: string) =>
    new Intl.DateTimeFormat('de', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(date);
  fc.assert(
    fc.property(
      fc.date({ min: new Date('2026-01-01'), max: new Date('2030-01-01'), noInvalidDate: true }),
      fc.integer({ min: 0, max: 23 }),
      fc.constantFrom('00', '15', '30', '59'),
      fc.constantFrom(...zones),
      (from, hour, minute, timeZone) => {
        const time = `${String(hour).padStart(2, '0')}:${minute}`;
        const found = nextTimeOfDay(from, time, timeZone);
        const hours = (found.getTime() - from.getTime()) / 3_600_000;

        expect(hours).toBeGreaterThan(0);
        expect(hours).toBeLessThanOrEqual(25);
        const isSkipped = clock(found, timeZone) !== time;
        if (isSkipped) {
          // Then no moment of that day shows it.
          const minutes = Array.from({ length: 240 }, (_, i) => new Date(found.getTime() + (i - 120) * 60_000));
          expect(minutes.map((each) => clock(each, timeZone))).not.toContain(time);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test.each(['6:00', '24:00', '06:60', '0600', '06:00:00', ''])('refuses %p as a time of day', (text) => {
  expect(timeOfDay.safeParse(text).error?.issues[0]?.message).toBe('must be a time of day such as 06:00');
});
