/** Reads a five-field crontab. */

export interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** The names of the values from `min` on, in upper or lower case. */
  readonly names: readonly string[];
}

/** The times of a crontab: these minutes of these hours, on the days of these months that are in either list of days. */
export interface Schedule {
  readonly minutes: number[];
  readonly hours: number[];
  readonly months: number[];
  readonly daysOfMonth: number[];
  /** 0 is Sunday. */
  readonly daysOfWeek: number[];
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
export const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

export const MINUTE: Field = { name: 'minute', min: 0, max: 59, names: [] };
export const HOUR: Field = { name: 'hour', min: 0, max: 23, names: [] };
export const DAY_OF_MONTH: Field = { name: 'day of month', min: 1, max: 31, names: [] };
export const MONTH: Field = { name: 'month', min: 1, max: 12, names: MONTHS };
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

/** The mistakes in a crontab. The caller adds its origin. */
export class CrontabError extends Error {
  override readonly name = 'CrontabError';

  constructor(readonly mistakes: readonly string[]) {
    super(mistakes.join('\n'));
  }
}

export function parse(crontab: string): Schedule {
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
 * Joins the two day fields as cronie, Debian and BSD do: a date must match either of them, or both if one begins with a
 * star, even a star with a step. cron-parser differs: only a bare star counts.
 */
function joinDays({ daysOfMonth, daysOfWeek }: Schedule, dayOfMonth: string, dayOfWeek: string) {
  const everyDate = daysOfMonth.length === 31;
  const everyWeekday = daysOfWeek.length === 7;
  const both = dayOfMonth.startsWith('*') || dayOfWeek.startsWith('*');
  if (both ? everyWeekday : everyDate) return { daysOfMonth, daysOfWeek: [] };
  if (both ? everyDate : everyWeekday) return { daysOfMonth: [], daysOfWeek };
  if (both) {
    throw new CrontabError([
      `day of month and day of week must not both pick days where one begins with *: a crontab then fires on dates that match both, which EventBridge cannot express, got "${dayOfMonth}" and "${dayOfWeek}"`,
    ]);
  }
  return { daysOfMonth, daysOfWeek };
}

/** The values of a field, ascending. Adds what is wrong with it to the mistakes. */
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
  // Letters that are part of a name, as in `JUL` or `WED`, are not an extension.
  const extension = /[?#~]|(?<![a-z])(?:lw?|w|h)(?![a-z])/i.exec(item)?.[0];
  if (extension) return `must not use ${extension}, which is not part of a crontab`;
  const match = /^(?:\*|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/.exec(item);
  if (!match) return 'must be *, a value, a range, one of these with a step, or a list';

  const [, first, last, step] = match;
  // An unknown name gives a value below the range of the field.
  const read = (text: string) => (/^\d+$/.test(text) ? Number(text) : names.indexOf(text.toUpperCase()) + min);
  const from = first === undefined ? min : read(first);
  // `5/15` is `5-59/15`, as FreeBSD, cron-parser and EventBridge read it; other daemons refuse it.
  const to = last !== undefined ? read(last) : first === undefined || step !== undefined ? max : from;
  if (Math.min(from, to) < min || Math.max(from, to) > max) {
    return `must be ${min} to ${max}${names.length > 0 ? ` or ${names[0]} to ${names.at(-1)}` : ''}`;
  }
  if (Number(step) === 0) return 'must have a step of at least 1';
  // Weeks wrap around, so `fri-mon` has only one meaning. cronie wraps only ranges that end on Sunday.
  if (from > to && field !== DAY_OF_WEEK) return 'must have ranges that go up';

  const values: number[] = [];
  for (let value = from; value <= (from > to ? to + 7 : to); value += Number(step ?? 1)) {
    values.push(field === DAY_OF_WEEK ? value % 7 : value);
  }
  return values;
}
