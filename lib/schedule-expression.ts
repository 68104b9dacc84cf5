/** Says a five-field crontab in the cron expressions of EventBridge Scheduler. */

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** What the values from `min` on may be called, in either case. */
  readonly names: readonly string[];
}

/** When a crontab fires: at these minutes of these hours, on the dates of these months that either list of days holds. */
interface Schedule {
  readonly minutes: number[];
  readonly hours: number[];
  readonly months: number[];
  readonly daysOfMonth: number[];
  /** 0 is Sunday. */
  readonly daysOfWeek: number[];
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

const MINUTE: Field = { name: 'minute', min: 0, max: 59, names: [] };
const HOUR: Field = { name: 'hour', min: 0, max: 23, names: [] };
const DAY_OF_MONTH: Field = { name: 'day of month', min: 1, max: 31, names: [] };
const MONTH: Field = { name: 'month', min: 1, max: 12, names: MONTHS };
const DAY_OF_WEEK: Field = { name: 'day of week', min: 0, max: 7, names: WEEKDAYS };

const NICKNAMES = new Map([
  ['@yearly', '0 0 1 1 *'],
  ['@annually', '0 0 1 1 *'],
  ['@monthly', '0 0 1 * *'],
  ['@weekly', '0 0 * * 0'],
  ['@daily', '0 0 * * *'],
  ['@midnight', '0 0 * * *'],
  ['@hourly', '0 * * * *'],
]);

const MS_PER_MINUTE = 60_000;
const MINUTES_PER_DAY = 24 * 60;
const MS_PER_DAY = MINUTES_PER_DAY * MS_PER_MINUTE;

/** 1 January 2000, and 400 years: a whole number of weeks, after which dates and weekdays repeat together. */
const CYCLE_START_DAY = Date.UTC(2000, 0, 1) / MS_PER_DAY;
const CYCLE_DAYS = 146_097;

/** All that is wrong with a crontab. The caller knows, and says, where the crontab came from. */
export class CrontabError extends Error {
  override readonly name = 'CrontabError';

  constructor(readonly mistakes: readonly string[]) {
    super(mistakes.join('\n'));
  }
}

/**
 * The schedules that together fire when the crontab does, such as `cron(0 3 * * ? *)`.
 *
 * There are two where both day fields pick days: a crontab then fires when either matches, and EventBridge takes only
 * one of them. On a date that matches both, both schedules fire in the same minute: one needless run.
 *
 * No expression is longer than 240 characters, whatever the crontab; EventBridge takes 256.
 *
 * @throws {CrontabError} where the text is no crontab, never fires, or means what EventBridge cannot say
 */
export function scheduleExpressions(crontab: string): string[] {
  const { minutes, hours, daysOfMonth, months, daysOfWeek } = parse(crontab);
  const time = `${compact(minutes, MINUTE)} ${compact(hours, HOUR)}`;
  const month = compact(months, MONTH);
  const expressions: string[] = [];
  if (daysOfMonth.length > 0) expressions.push(`cron(${time} ${compact(daysOfMonth, DAY_OF_MONTH)} ${month} ? *)`);
  // Names, because EventBridge counts from Sunday as 1.
  if (daysOfWeek.length > 0) expressions.push(`cron(${time} ? ${month} ${list(daysOfWeek, WEEKDAYS)} *)`);
  return expressions;
}

/**
 * The longest time, in milliseconds, that passes between two fires, as the crontab runs through the 400 years of the
 * calendar: eight years for 29 February, which 2100 skips. Where the zone's clocks change it is an upper bound, because
 * a day may have 25 hours, and because EventBridge leaves out a fire that falls into the hour that clocks skip.
 *
 * @param timeZone a name of the IANA database
 * @throws {CrontabError} as {@link scheduleExpressions}
 * @throws {RangeError} where there is no such time zone
 */
export function longestGapMs(crontab: string, timeZone = 'UTC'): number {
  const schedule = parse(crontab);
  const times = schedule.hours.flatMap((hour) => schedule.minutes.map((minute) => hour * 60 + minute));
  const lastToFirst = Math.min(...times) - Math.max(...times);
  // A year more than the cycle, so that the gap across its end counts too.
  const days = Array.from({ length: CYCLE_DAYS + 366 }, (_, i) => CYCLE_START_DAY + i).filter((day) =>
    firesOn(schedule, new Date(day * MS_PER_DAY)),
  );
  const gap = Math.max(widest(times), widest(days) * MINUTES_PER_DAY + lastToFirst);
  const leaps = clockLeaps(timeZone);
  const mayBeLeftOut = leaps.some(({ from, to }) => times.some((time) => from <= time && time < to));
  const longestLeap = Math.max(0, ...leaps.map(({ from, to }) => to - from));
  return ((mayBeLeftOut ? 2 * gap : gap) + longestLeap) * MS_PER_MINUTE;
}

/**
 * The longest time, in milliseconds, from a fire of a crontab to the next time that clocks show a time of day: at most a
 * day, and the hour that clocks may repeat.
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

/** The minutes of the day that the clocks of a zone skip as they go forward; as many are repeated when they go back. */
function clockLeaps(timeZone: string): { readonly from: number; readonly to: number }[] {
  const format = new Intl.DateTimeFormat('en', { timeZone, dateStyle: 'short', timeStyle: 'short', hourCycle: 'h23' });
  /** What the zone's clocks show at a minute of UTC, as a minute of UTC. */
  const wallClock = (minute: number) => {
    const parts = format.formatToParts(minute * MS_PER_MINUTE);
    const read = (type: string) => Number(parts.find((part) => part.type === type)?.value);
    const time = Date.UTC(2000 + read('year'), read('month') - 1, read('day'), read('hour'), read('minute'));
    return time / MS_PER_MINUTE;
  };
  const offset = (minute: number) => wallClock(minute) - minute;

  const leaps = new Map<string, { from: number; to: number }>();
  // Years that are written down, so that a stack comes out the same whenever it is synthesized.
  const end = Date.UTC(2036, 0, 1) / MS_PER_MINUTE;
  for (let day = Date.UTC(2026, 0, 1) / MS_PER_MINUTE; day < end; day += MINUTES_PER_DAY) {
    const shift = offset(day + MINUTES_PER_DAY) - offset(day);
    if (shift <= 0) continue;
    // Clocks change on a quarter of an hour everywhere.
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

function parse(crontab: string): Schedule {
  const fields = (NICKNAMES.get(crontab.trim()) ?? crontab).split(/\s+/).filter(Boolean);
  const [minute = '', hour = '', dayOfMonth = '', month = '', dayOfWeek = ''] = fields;
  if (minute.startsWith('@')) {
    const nicknames = [...NICKNAMES.keys()].join(', ');
    throw new CrontabError([`crontab must be five fields or a name for five fields (${nicknames}), got "${crontab}"`]);
  }
  const [, expression] = /^(cron|rate|at)\(/i.exec(crontab.trim()) ?? [];
  if (expression) {
    throw new CrontabError([
      `crontab must be five fields without ${expression}(…) around them, such as "0 3 * * *", got "${crontab}"`,
    ]);
  }
  if (fields.length !== 5) {
    throw new CrontabError([
      `crontab must be five fields (minute, hour, day of month, month, day of week; no seconds, no year), got ${fields.length} in "${crontab}"`,
    ]);
  }

  const mistakes: string[] = [];
  const schedule = {
    minutes: expand(minute, MINUTE, mistakes),
    hours: expand(hour, HOUR, mistakes),
    daysOfMonth: expand(dayOfMonth, DAY_OF_MONTH, mistakes),
    months: expand(month, MONTH, mistakes),
    daysOfWeek: expand(dayOfWeek, DAY_OF_WEEK, mistakes),
  };
  if (mistakes.length > 0) throw new CrontabError(mistakes);

  const { daysOfMonth, daysOfWeek } = joinDays(schedule, dayOfMonth, dayOfWeek);
  const longestMonth = Math.max(...schedule.months.map((number) => new Date(Date.UTC(2000, number, 0)).getUTCDate()));
  const datesExist = daysOfMonth.some((day) => day <= longestMonth);
  if (!datesExist && daysOfWeek.length === 0) {
    throw new CrontabError([
      `day of month must exist in one of the months, or the crontab never fires, got "${dayOfMonth}" in month "${month}"`,
    ]);
  }
  return { ...schedule, daysOfMonth: datesExist ? daysOfMonth : [], daysOfWeek };
}

/**
 * Joins the two day fields as cronie, Debian and BSD do: a date must match either of them, but both where one begins
 * with a star, even one with a step. cron-parser differs there: to it only a bare star is a star.
 */
function joinDays(
  { daysOfMonth, daysOfWeek }: Schedule,
  dayOfMonth: string,
  dayOfWeek: string,
): Pick<Schedule, 'daysOfMonth' | 'daysOfWeek'> {
  const everyDate = daysOfMonth.length === 31;
  const everyWeekday = daysOfWeek.length === 7;
  const datesOnly = { daysOfMonth, daysOfWeek: [] };
  const weekdaysOnly = { daysOfMonth: [], daysOfWeek };
  if (dayOfMonth.startsWith('*') || dayOfWeek.startsWith('*')) {
    if (everyWeekday) return datesOnly;
    if (everyDate) return weekdaysOnly;
    throw new CrontabError([
      `day of month and day of week must not both pick days where one begins with *: a crontab then fires on dates that match both, which EventBridge cannot say, got "${dayOfMonth}" and "${dayOfWeek}"`,
    ]);
  }
  if (everyDate) return datesOnly;
  if (everyWeekday) return weekdaysOnly;
  return { daysOfMonth, daysOfWeek };
}

/** The values that a field means, ascending. What is wrong with it joins the mistakes. */
function expand(text: string, field: Field, mistakes: string[]): number[] {
  const values = text.split(',').flatMap((item) => {
    const result = expandItem(item, field);
    if (typeof result !== 'string') return result;
    mistakes.push(`${field.name} ${result}, got "${item}"${item === text ? '' : ` in "${text}"`}`);
    return [];
  });
  return [...new Set(values)].sort((a, b) => a - b);
}

/** The values of one item of a list, or the rule that it breaks. */
function expandItem(item: string, field: Field): number[] | string {
  const { min, max, names } = field;
  // Letters that are part of a name, as in `JUL` or `WED`, are no extension.
  const extension = /[?#~]|(?<![a-z])(?:lw?|w|h)(?![a-z])/i.exec(item)?.[0];
  if (extension) return `must not use ${extension}, which is not part of a crontab`;
  const match = /^(?:\*|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/.exec(item);
  if (!match) return 'must be *, a value, a range, one of these with a step, or a list';

  const [, first, last, step] = match;
  // A name that is none of the field's gives a value below its range.
  const read = (text: string) => (/^\d+$/.test(text) ? Number(text) : names.indexOf(text.toUpperCase()) + min);
  const from = first === undefined ? min : read(first);
  // `5/15` is `5-59/15`, as FreeBSD, cron-parser and EventBridge read it; other daemons refuse it.
  const to = last !== undefined ? read(last) : first === undefined || step !== undefined ? max : from;
  if (Math.min(from, to) < min || Math.max(from, to) > max) {
    return `must be ${min} to ${max}${names.length > 0 ? ` or ${names[0]} to ${names.at(-1)}` : ''}`;
  }
  if (Number(step) === 0) return 'must have a step of at least 1';
  // A week has no first day, so `fri-mon` can mean one thing only. cronie wraps just `sat-sun` and its like.
  if (from > to && field !== DAY_OF_WEEK) return 'must have ranges that go up';

  const values: number[] = [];
  for (let value = from; value <= (from > to ? to + 7 : to); value += Number(step ?? 1)) {
    values.push(field === DAY_OF_WEEK ? value % 7 : value);
  }
  return values;
}

/** All values as a star, an even series as its start and step, others as a list. */
function compact(values: readonly number[], { min, max }: Field): string {
  if (values.length === max - min + 1) return '*';
  const [first = 0, second = 0] = values;
  const step = second - first;
  const isSeries = values.length > 2 && step > 1 && values.every((value, i) => value === first + i * step);
  // With its start, as AWS documents it: nobody has to know whether `*/2` counts from 0 or from 1.
  if (isSeries && first + values.length * step > max) return `${first}/${step}`;
  return list(values);
}

/** A list in which three or more neighbours are a range. */
function list(values: readonly number[], names: readonly string[] = []): string {
  const runs: number[][] = [];
  for (const value of values) {
    const run = runs.at(-1);
    if (run && run.at(-1) === value - 1) run.push(value);
    else runs.push([value]);
  }
  return runs
    .map((run) => run.map((value) => names[value] ?? value))
    .map((run) => (run.length > 2 ? `${run[0]}-${run.at(-1)}` : run.join(',')))
    .join(',');
}
