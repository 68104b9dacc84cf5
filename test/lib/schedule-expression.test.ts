import AwsCronParser from 'aws-cron-parser';
import { CronExpressionParser } from 'cron-parser';
import fc from 'fast-check';
import { CrontabError } from '../../lib/schedule/crontab';
import { scheduleExpressions } from '../../lib/schedule/schedule-expression';
import { longestGapMs } from '../../lib/schedule/schedule-gaps';

const MS_PER_MINUTE = 60_000;
const MS_PER_HOUR = 60 * MS_PER_MINUTE;
const MS_PER_DAY = 24 * MS_PER_HOUR;

/** No three neighbours that a range could shorten, no even series: nothing says this crontab in fewer characters. */
const LONGEST_CRONTAB = [
  '0,2,4,5,7,8,10,11,13,14,16,17,19,20,22,23,25,26,28,29,31,32,34,35,37,38,40,41,43,44,46,47,49,50,52,53,55,56,58,59',
  '0,2,4,5,7,8,10,11,13,14,16,17,19,20,22,23',
  '1,3,4,6,7,9,10,12,13,15,16,18,19,21,22,24,25,27,28,30,31',
  '1,3,5,6,8,9,11,12',
  '*',
].join(' ');

describe('scheduleExpressions', () => {
  it.each([
    ['sorts a list and drops what is in it twice', '50,10,10,0-2,1 0 * * *', 'cron(0-2,10,50 0 * * ? *)'],
    ['writes three neighbours as a range and two as a list', '1,2,3,5,6 0 * * *', 'cron(1-3,5,6 0 * * ? *)'],
    ['sees a star in a list of all values', '0 0-11,12-23 * 1-12 *', 'cron(0 * * * ? *)'],
    ['counts steps of minutes and hours from 0', '*/15 */6 * * *', 'cron(0/15 0/6 * * ? *)'],
    ['counts steps of days and months from 1', '0 0 */10 */3 *', 'cron(0 0 1/10 1/3 ? *)'],
    ['lists the steps of a range that ends early', '1-30/5 0 * * *', 'cron(1,6,11,16,21,26 0 * * ? *)'],
    ['keeps the steps of a range that ends late enough', '5-58/10 0 * * *', 'cron(5/10 0 * * ? *)'],
    ['lets a step without a range run to the last value', '5/15 20/3 * * *', 'cron(5/15 20,23 * * ? *)'],
    ['takes only the first value of a step over the whole field', '*/60 */100 * * *', 'cron(0 0 * * ? *)'],
    ['keeps 29 February, which fires in leap years', '0 0 29 2 *', 'cron(0 0 29 2 ? *)'],
    ['names weekdays', '0 0 * * 1', 'cron(0 0 ? * MON *)'],
    ['reads 0 and 7 as one Sunday', '0 0 * * 0,7', 'cron(0 0 ? * SUN *)'],
    ['ends a range of weekdays on 7', '0 0 * * 5-7', 'cron(0 0 ? * SUN,FRI,SAT *)'],
    ['sees every day in 0-7', '0 0 * * 0-7', 'cron(0 0 * * ? *)'],
    ['sees every day in 1-7', '0 0 * * 1-7', 'cron(0 0 * * ? *)'],
    ['counts steps of weekdays from Sunday', '0 0 * * */2', 'cron(0 0 ? * SUN,TUE,THU,SAT *)'],
    ['lets a step of weekdays without a range run to 7', '0 0 * * 1/2', 'cron(0 0 ? * SUN,MON,WED,FRI *)'],
    ['reads @yearly', '@yearly', 'cron(0 0 1 1 ? *)'],
    ['reads @annually', '@annually', 'cron(0 0 1 1 ? *)'],
    ['reads @monthly', '@monthly', 'cron(0 0 1 * ? *)'],
    ['reads @weekly', '@weekly', 'cron(0 0 ? * SUN *)'],
    ['reads @daily', ' @daily\n', 'cron(0 0 * * ? *)'],
    ['reads @midnight', '@midnight', 'cron(0 0 * * ? *)'],
    ['reads @hourly', '@hourly', 'cron(0 * * * ? *)'],
    // cron-parser refuses these ranges, and the daemons refuse most of them, so there is nothing to compare with.
    ['wraps a range of weekday names over the end of the week', '0 0 * * fri-mon', 'cron(0 0 ? * SUN,MON,FRI,SAT *)'],
    ['wraps a range of weekday numbers over the end of the week', '0 0 * * 5-1', 'cron(0 0 ? * SUN,MON,FRI,SAT *)'],
    ['ends a range of weekdays on sun', '0 0 * * sat-sun', 'cron(0 0 ? * SUN,SAT *)'],
    ['ends a range of weekdays on 0', '0 0 * * 4-0', 'cron(0 0 ? * SUN,THU-SAT *)'],
    ['begins a range of weekdays with 7', '0 0 * * 7-2', 'cron(0 0 ? * SUN-TUE *)'],
    ['sees one Sunday in 7-0', '0 0 * * 7-0', 'cron(0 0 ? * SUN *)'],
    ['sees every day in mon-sun', '0 0 * * mon-sun', 'cron(0 0 * * ? *)'],
    ['steps through a range that wraps', '0 0 * * fri-tue/2', 'cron(0 0 ? * SUN,TUE,FRI *)'],
  ])('%s', (_, crontab, expression) => {
    expect(scheduleExpressions(crontab)).toEqual([expression]);
  });

  it.each([
    ['gives two schedules where both day fields pick days', '30 4 1,15 * 5', '1,15 * ?', '? * FRI'],
    ['keeps the month in both schedules', '30 4 13 jun-aug fri', '13 6-8 ?', '? 6-8 FRI'],
    ['takes a star that is not first for a list', '30 4 5,*/10 * 1', '1,5,11,21,31 * ?', '? * MON'],
    ['fires daily where one of two day fields lists all dates', '30 4 1-31 * 5', '* * ?'],
    ['fires daily where one of two day fields lists all weekdays', '30 4 15 * 0-6', '? * SUN-SAT'],
    ['keeps only the weekdays where no month has the date', '30 4 31 4,6 fri', '? 4,6 FRI'],
    // To cron-parser, which knows the bare star only, each of these fires daily.
    ['joins a star with a step of 1 by AND', '30 4 */1 * 5', '? * FRI'],
    ['joins a list that begins with a star by AND', '30 4 *,15 * 5', '? * FRI'],
    ['joins a stepped star and all weekdays by AND', '30 4 */10 * 0-6', '1/10 * ?'],
    ['joins all dates and a stepped star by AND', '30 4 1-31 * */3', '? * SUN,WED,SAT'],
  ])('%s', (_, crontab, ...days) => {
    expect(scheduleExpressions(crontab)).toEqual(days.map((each) => `cron(30 4 ${each} *)`));
  });

  it('keeps the longest expression within the 256 characters of EventBridge', () => {
    const [expression] = scheduleExpressions(LONGEST_CRONTAB);
    expect(expression).toBe(`cron(${LONGEST_CRONTAB.slice(0, -1)}? *)`);
    expect(expression).toHaveLength(240);
  });

  const fiveFields =
    'crontab must be five fields (minute, hour, day of month, month, day of week; no seconds, no year)';
  const bare = (name: string, got: string) =>
    `crontab must be five fields without ${name}(…) around them, such as "0 3 * * *", got "${got}"`;
  const nicknames = '@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly';
  const neverComes = (got: string) =>
    `day of month must exist in one of the months, or the crontab never fires, got ${got}`;
  const bothMatch = (got: string) =>
    'day of month and day of week must not both pick days where one begins with *: a crontab then fires on dates that ' +
    `match both, which EventBridge cannot express, got ${got}`;
  const weekday = 'day of week must be 0 to 7 or SUN to SAT';
  const month = 'month must be 1 to 12 or JAN to DEC';
  const shape = 'must be *, a value, a range, one of these with a step, or a list';
  it.each([
    ['an empty text', '', `${fiveFields}, got 0 in ""`],
    ['white space', ' \t', `${fiveFields}, got 0 in " \t"`],
    ['four fields', '0 3 * *', `${fiveFields}, got 4 in "0 3 * *"`],
    ['seconds', '0 0 3 * * *', `${fiveFields}, got 6 in "0 0 3 * * *"`],
    ['seconds and a year', '0 0 3 * * ? 2027', `${fiveFields}, got 7 in "0 0 3 * * ? 2027"`],
    ['an expression of EventBridge', 'cron(0 3 * * ? *)', bare('cron', 'cron(0 3 * * ? *)')],
    ['a rate of EventBridge', ' rate(1 day)', bare('rate', ' rate(1 day)')],
    ['a name that every object has', 'constructor', `${fiveFields}, got 1 in "constructor"`],
    ...['@reboot', '@every_minute', '@every 5m', '@Daily', '@daily 5', '@'].map((crontab) => [
      crontab,
      crontab,
      `crontab must be five fields or a name for five fields (${nicknames}), got "${crontab}"`,
    ]),
    ['a minute above 59', '60 * * * *', 'minute must be 0 to 59, got "60"'],
    ['a number that is no number', '9e9 * * * *', 'minute must be 0 to 59, got "9e9"'],
    ['a number beyond all numbers', `${'9'.repeat(400)} * * * *`, `minute must be 0 to 59, got "${'9'.repeat(400)}"`],
    ['an hour above 23', '0 24 * * *', 'hour must be 0 to 23, got "24"'],
    ['a day 0', '0 0 0 * *', 'day of month must be 1 to 31, got "0"'],
    ['a day above 31', '0 0 1-32 * *', 'day of month must be 1 to 31, got "1-32"'],
    ['a month 0', '0 0 1 0-6 *', `${month}, got "0-6"`],
    ['a month above 12', '0 0 1 13 *', `${month}, got "13"`],
    ['a month written out', '0 0 1 january *', `${month}, got "january"`],
    ['a weekday above 7', '0 0 * * 8', `${weekday}, got "8"`],
    ['a weekday in the month field', '0 0 1 mon *', `${month}, got "mon"`],
    ['a range that ends on an unknown name', '0 0 * * mon-frt', `${weekday}, got "mon-frt"`],
    ['a name in a field without names', 'sun 0 * * *', 'minute must be 0 to 59, got "sun"'],
    ['a negative number', '-5 * * * *', `minute ${shape}, got "-5"`],
    ['a fraction', '1.5 * * * *', `minute ${shape}, got "1.5"`],
    ['a range without an end', '5- * * * *', `minute ${shape}, got "5-"`],
    ['a range of three', '1-2-3 * * * *', `minute ${shape}, got "1-2-3"`],
    ['a star with an end', '*-5 * * * *', `minute ${shape}, got "*-5"`],
    ['two steps', '*/2/2 * * * *', `minute ${shape}, got "*/2/2"`],
    ['a step without a number', '*/ * * * *', `minute ${shape}, got "*/"`],
    ['a step by name', '0 0 * * */mon', `day of week ${shape}, got "*/mon"`],
    ['a list with a hole', '1,,2 * * * *', `minute ${shape}, got "" in "1,,2"`],
    ['a list that ends with a comma', '1, * * * *', `minute ${shape}, got "" in "1,"`],
    ['a step of 0', '*/0 * * * *', 'minute must have a step of at least 1, got "*/0"'],
    ['minutes that go down', '50-10 * * * *', 'minute must have ranges that go up, got "50-10"'],
    ['hours that go down', '0 22-2 * * *', 'hour must have ranges that go up, got "22-2"'],
    ['months that go down', '0 0 1 nov-feb *', 'month must have ranges that go up, got "nov-feb"'],
    ['a last day of the month', '0 0 L * *', 'day of month must not use L, which is not part of a crontab, got "L"'],
    ['a day before the last', '0 0 L-3 * *', 'day of month must not use L, which is not part of a crontab, got "L-3"'],
    ['a nearest weekday', '0 0 15W * *', 'day of month must not use W, which is not part of a crontab, got "15W"'],
    ['a last weekday', '0 0 LW * *', 'day of month must not use LW, which is not part of a crontab, got "LW"'],
    ['a last Friday', '0 0 * * 5L', 'day of week must not use L, which is not part of a crontab, got "5L"'],
    ['a third Friday', '0 0 * * 5#3', 'day of week must not use #, which is not part of a crontab, got "5#3"'],
    ['a question mark', '0 0 ? * 1', 'day of month must not use ?, which is not part of a crontab, got "?"'],
    ['a hash', 'H/15 * * * *', 'minute must not use H, which is not part of a crontab, got "H/15"'],
    ['a hash of a range', 'H(0-29) * * * *', 'minute must not use H, which is not part of a crontab, got "H(0-29)"'],
    ['a random value', '0~30 * * * *', 'minute must not use ~, which is not part of a crontab, got "0~30"'],
    ['30 February', '0 0 30 2 *', neverComes('"30" in month "2"')],
    ['31 April and June', '0 0 31 4,6 *', neverComes('"31" in month "4,6"')],
    ['30 and 31 February, by a range and a name', '0 0 30-31 feb *', neverComes('"30-31" in month "feb"')],
    ['dates of a step and a weekday', '0 0 */2 * 1', bothMatch('"*/2" and "1"')],
    ['a date and weekdays of a step', '0 0 1 * */2', bothMatch('"1" and "*/2"')],
    ['dates and weekdays of steps', '0 0 */2 * */2', bothMatch('"*/2" and "*/2"')],
    ['a list that begins with a step', '0 0 */2,31 * mon-fri', bothMatch('"*/2,31" and "mon-fri"')],
  ] as [string, string, string][])('refuses %s', (_, crontab, message) => {
    expect(() => scheduleExpressions(crontab)).toThrow(new CrontabError([message]));
  });

  it('lists all mistakes at once', () => {
    const mistakes = [
      'minute must be 0 to 59, got "60" in "0,60,5-1"',
      'minute must have ranges that go up, got "5-1" in "0,60,5-1"',
      'hour must be 0 to 23, got "24"',
      'day of month must not use L, which is not part of a crontab, got "L"',
      'month must be 1 to 12 or JAN to DEC, got "foo"',
      'day of week must have a step of at least 1, got "1-5/0"',
    ];
    expect(() => scheduleExpressions('0,60,5-1 24 L foo 1-5/0')).toThrow(
      expect.objectContaining({ name: 'CrontabError', message: mistakes.join('\n'), mistakes }),
    );
  });

  it('fires when the crontab does', () => {
    fc.assert(
      fc.property(crontabs(), fc.array(startDates, { minLength: 1, maxLength: 2 }), (crontab, starts) => {
        const reference = parseAsReference(crontab);
        if (!reference) {
          expect(() => scheduleExpressions(crontab)).toThrow(CrontabError);
          return;
        }
        const expressions = scheduleExpressions(crontab);
        for (const expression of expressions) {
          expect(expression).toMatch(
            /^cron\([\d,\-*/]+ [\d,\-*/]+ (\? [\d,\-*/]+ [A-Z,-]+|[\d,\-*/]+ [\d,\-*/]+ \?) \*\)$/,
          );
          expect(expression.length).toBeLessThanOrEqual(240);
        }
        for (const start of starts) {
          reference.reset(start);
          expect(eventBridgeFires(expressions, start, 20)).toEqual(
            Array.from({ length: 20 }, () => reference.next().toISOString()),
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('longestGapMs', () => {
  it.each([
    ['a minute', '* * * * *', MS_PER_MINUTE],
    ['the gap at the end of the hour', '7-50 * * * *', 17 * MS_PER_MINUTE],
    ['the gap within the day', '0,59 8,21 * * *', 12 * MS_PER_HOUR + MS_PER_MINUTE],
    ['the gap over midnight', '*/5 9-17 * * *', 15 * MS_PER_HOUR + 5 * MS_PER_MINUTE],
    ['a day', '0 3 * * *', MS_PER_DAY],
    ['the gap over the weekend', '0 9-17 * * mon-fri', 64 * MS_PER_HOUR],
    ['a week', '@weekly', 7 * MS_PER_DAY],
    ['a week where dates only add to it', '0 3 13 * 5', 7 * MS_PER_DAY],
    ['the longest month', '@monthly', 31 * MS_PER_DAY],
    ['the months that have no 31st', '0 0 31 * *', 61 * MS_PER_DAY],
    ['the longest year', '@yearly', 366 * MS_PER_DAY],
    ['a leap year from Monday, 25 January, to 1 January', '0 0 1 1 1', 342 * MS_PER_DAY],
    ['the eight years without 29 February around 2100', '0 0 29 2 *', (8 * 365 + 1) * MS_PER_DAY],
  ])('finds %s', (_, crontab, gapMs) => {
    expect(longestGapMs(crontab)).toBe(gapMs);
  });

  it('is the longest gap between the fires of the crontab', () => {
    // Weekdays, dates and leap years repeat after 28 years; the rest spans 2096 to 2104, the longest gap there is.
    const start = Date.UTC(2070, 11, 31);
    const end = Date.UTC(2106, 0, 1);
    // A month or two and few times a day keep the walk over 35 years short.
    const rareCrontabs = crontabs({
      minute: fc.constantFrom('0', '17', '5,40'),
      hour: fc.constantFrom('0', '23', '3,15'),
      month: fc.constantFrom('2', 'feb', '12', '4', 'feb-mar', '6,12', '1,2'),
    });
    fc.assert(
      fc.property(rareCrontabs, (crontab) => {
        const reference = parseAsReference(crontab);
        fc.pre(reference !== undefined);
        reference.reset(new Date(start));
        let gapMs = 0;
        for (let fire = reference.next().getTime(); fire < end; ) {
          const next = reference.next().getTime();
          gapMs = Math.max(gapMs, next - fire);
          fire = next;
        }
        expect(longestGapMs(crontab)).toBe(gapMs);
      }),
      { numRuns: 12 },
    );
  });
});

/**
 * What cron-parser makes of a crontab, or nothing where it sees that the crontab never fires. It takes no list that has
 * a value twice; such a crontab is passed over here, and has its place in the tables.
 */
function parseAsReference(crontab: string) {
  try {
    return CronExpressionParser.parse(crontab, { tz: 'UTC' });
  } catch (error) {
    fc.pre(!String(error).includes('duplicate values found'));
    expect(error).toEqual(new Error('Invalid explicit day of month definition'));
    return undefined;
  }
}

/**
 * The first fires of all schedules together, each time once.
 *
 * aws-cron-parser takes 31 April for 1 May, so it is asked month by month, and for the days that the month has.
 */
function eventBridgeFires(expressions: string[], start: Date, count: number): string[] {
  const fires = expressions.flatMap((expression) => {
    const cron = AwsCronParser.parse(expression.slice('cron('.length, -1));
    const found: string[] = [];
    for (let i = 0; found.length < count; i++) {
      const monthStart = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + i));
      const [year, month] = [monthStart.getUTCFullYear(), monthStart.getUTCMonth() + 1];
      const daysInMonth = new Date(Date.UTC(year, month, 0)).getUTCDate();
      const daysOfMonth = cron.daysOfMonth.filter((day) => Number(day) <= daysInMonth);
      if (!cron.months.includes(month) || daysOfMonth.length + cron.daysOfWeek.length === 0) continue;
      const inMonth = { ...cron, years: [year], months: [month], daysOfMonth };
      const from = new Date(Math.max(start.getTime(), monthStart.getTime() - 1));
      for (let fire = AwsCronParser.next(inMonth, from); fire; fire = AwsCronParser.next(inMonth, fire)) {
        found.push(fire.toISOString());
        if (found.length === count) break;
      }
    }
    return found;
  });
  return [...new Set(fires)].sort().slice(0, count);
}

const startDates = fc.oneof(
  fc
    .constantFrom('2000-02-28T23:59', '2024-02-29T00:00', '2026-04-30T23:59', '2027-12-31T23:59', '2096-02-29T12:00')
    .map((text) => new Date(`${text}Z`)),
  fc
    .integer({ min: Date.UTC(1999, 0) / MS_PER_MINUTE, max: Date.UTC(2090, 0) / MS_PER_MINUTE })
    .map((minutes) => new Date(minutes * MS_PER_MINUTE)),
);

/** Crontabs of every syntax on which cron-parser and the daemons agree; the others are in the tables. */
function crontabs(
  fields: Partial<Record<'minute' | 'hour' | 'month', fc.Arbitrary<string>>> = {},
): fc.Arbitrary<string> {
  const dayOfMonth = lists(1, 31);
  const dayOfWeek = lists(0, 7, ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']);
  const withoutStar = (list: fc.Arbitrary<string>) => list.filter((text) => !text.startsWith('*'));
  const days = fc.oneof(
    fc.tuple(dayOfMonth, fc.constant('*')),
    fc.tuple(fc.constant('*'), dayOfWeek),
    fc.tuple(withoutStar(dayOfMonth), withoutStar(dayOfWeek)),
  );
  const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
  return fc
    .tuple(
      fields.minute ?? lists(0, 59),
      fields.hour ?? lists(0, 23),
      days,
      fields.month ?? lists(1, 12, months),
      fc.constantFrom(' ', '  ', '\t'),
    )
    .map(([minute, hour, [date, weekday], month, space]) => [minute, hour, date, month, weekday].join(space));
}

/** Lists of values, ranges and steps; values from `min` on may go by their names. */
function lists(min: number, max: number, names: string[] = []): fc.Arbitrary<string> {
  const value = fc.integer({ min, max });
  const written = (number: number) => {
    const digits = [String(number), String(number).padStart(2, '0')];
    const name = names[number - min];
    return fc.constantFrom(
      ...digits,
      ...(name ? [name, name.toUpperCase(), `${name[0]?.toUpperCase()}${name.slice(1)}`] : []),
    );
  };
  const single = value.chain(written);
  const range = fc
    .tuple(value, value)
    .chain(([a, b]) => fc.tuple(written(Math.min(a, b)), written(Math.max(a, b))))
    .map((ends) => ends.join('-'));
  const step = fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: max + 2 }));
  const stepped = fc.tuple(fc.oneof(fc.constant('*'), single, range), step).map((parts) => parts.join('/'));
  const item = fc.oneof(fc.constant('*'), single, range, stepped);
  return fc.oneof(
    item,
    fc.array(item, { minLength: 2, maxLength: 3 }).map((items) => items.join(',')),
  );
}
