/** Finds the longest times between the runs of a crontab, by the clocks of a time zone. */

import { parse, type Schedule } from './crontab';

const MS_PER_MINUTE = 60_000;
const MINUTES_PER_DAY = 24 * 60;
const MS_PER_DAY = MINUTES_PER_DAY * MS_PER_MINUTE;

/** 1 January 2000, and 400 years: a whole number of weeks, after which dates and weekdays repeat together. */
const CYCLE_START_DAY = Date.UTC(2000, 0, 1) / MS_PER_DAY;
const CYCLE_DAYS = 146_097;

/**
 * The longest time, in milliseconds, between two runs of a crontab in the 400-year cycle of the calendar: eight years for
 * 29 February, which 2100 skips. If the zone's clocks change, it is an upper bound, because a day may have 25 hours, and
 * because EventBridge leaves out a run that falls into the hour that clocks skip.
 *
 * @param timeZone a name of the IANA database
 * @throws {CrontabError} as {@link scheduleExpressions}
 * @throws {RangeError} if there is no such time zone
 */
export function longestGapMs(crontab: string, timeZone = 'UTC'): number {
  const schedule = parse(crontab);
  const times = schedule.hours.flatMap((hour) => schedule.minutes.map((minute) => hour * 60 + minute));
  const lastToFirst = Math.min(...times) - Math.max(...times);
  const gap = Math.max(widest(times), longestGapDays(schedule) * MINUTES_PER_DAY + lastToFirst);
  const leaps = clockLeaps(timeZone);
  const mayBeLeftOut = leaps.some(({ from, to }) => times.some((time) => from <= time && time < to));
  const longestLeap = Math.max(0, ...leaps.map(({ from, to }) => to - from));
  return ((mayBeLeftOut ? 2 * gap : gap) + longestLeap) * MS_PER_MINUTE;
}

/**
 * The longest time, in milliseconds, from a run of a crontab to the next time that clocks show a time of day: at most a
 * day, plus the hour that clocks may repeat.
 *
 * @param until such as `06:00`
 * @param timeZone a name of the IANA database
 * @throws {CrontabError} as {@link scheduleExpressions}
 */
export function longestWindowMs(crontab: string, until: string, timeZone: string): number {
  const [hour = 0, minute = 0] = until.split(':').map(Number);
  const schedule = parse(crontab);
  const windows = schedule.hours.flatMap((each) =>
    schedule.minutes.map((of) => {
      const minutes = hour * 60 + minute - (each * 60 + of);
      return minutes > 0 ? minutes : minutes + MINUTES_PER_DAY;
    }),
  );
  const longestLeap = Math.max(0, ...clockLeaps(timeZone).map(({ from, to }) => to - from));
  return (Math.max(...windows) + longestLeap) * MS_PER_MINUTE;
}

function longestGapDays(schedule: Schedule): number {
  const { months, daysOfMonth, daysOfWeek } = schedule;
  if (months.length === 12 && (daysOfMonth.length === 31 || daysOfWeek.length === 7)) {
    return 1;
  }
  // A year more than the cycle, to include the gap across its end.
  const days = Array.from({ length: CYCLE_DAYS + 366 }, (_, i) => CYCLE_START_DAY + i);
  return widest(days.filter((day) => firesOn(schedule, new Date(day * MS_PER_DAY))));
}

interface ClockLeap {
  readonly from: number;
  readonly to: number;
}

/** By time zone, since all databases of a stage have the same one. */
const knownLeaps = new Map<string, readonly ClockLeap[]>();

/** The minutes of the day that the clocks of a zone skip when they go forward. They repeat as many when they go back. */
function clockLeaps(timeZone: string): readonly ClockLeap[] {
  const leaps = knownLeaps.get(timeZone) ?? findClockLeaps(timeZone);
  knownLeaps.set(timeZone, leaps);
  return leaps;
}

function findClockLeaps(timeZone: string): ClockLeap[] {
  const format = new Intl.DateTimeFormat('en', { timeZone, dateStyle: 'short', timeStyle: 'short', hourCycle: 'h23' });
  /** The time on the zone's clocks at a minute of UTC, as a minute of UTC. */
  const wallClock = (minute: number) => {
    const parts = format.formatToParts(minute * MS_PER_MINUTE);
    const read = (type: string) => Number(parts.find((part) => part.type === type)?.value);
    const time = Date.UTC(2000 + read('year'), read('month') - 1, read('day'), read('hour'), read('minute'));
    return time / MS_PER_MINUTE;
  };
  const offset = (minute: number) => wallClock(minute) - minute;

  const leaps = new Map<string, ClockLeap>();
  // Fixed years, so that a stack is the same whenever it is synthesized.
  const end = Date.UTC(2036, 0, 1) / MS_PER_MINUTE;
  for (let day = Date.UTC(2026, 0, 1) / MS_PER_MINUTE; day < end; day += MINUTES_PER_DAY) {
    const shift = offset(day + MINUTES_PER_DAY) - offset(day);
    if (shift <= 0) continue;
    // Everywhere, clocks change on a quarter of an hour.
    let change = day;
    while (offset(change) === offset(day)) change += 15;
    const from = (change + offset(day)) % MINUTES_PER_DAY;
    leaps.set(`${from} ${shift}`, { from, to: from + shift });
  }
  return [...leaps.values()];
}

function firesOn({ months, daysOfMonth, daysOfWeek }: Schedule, date: Date): boolean {
  return (
    months.includes(date.getUTCMonth() + 1) &&
    (daysOfMonth.includes(date.getUTCDate()) || daysOfWeek.includes(date.getUTCDay()))
  );
}

function widest(ascending: readonly number[]): number {
  let [previous = 0] = ascending;
  let gap = 0;
  for (const value of ascending) {
    gap = Math.max(gap, value - previous);
    previous = value;
  }
  return gap;
}
