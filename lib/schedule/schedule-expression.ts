/** Converts a five-field crontab to the cron expressions of EventBridge Scheduler. */

import { DAY_OF_MONTH, type Field, HOUR, MINUTE, MONTH, parse, WEEKDAYS } from './crontab';

/**
 * The schedules that together fire when the crontab does, such as `cron(0 3 * * ? *)`.
 *
 * There are two if both day fields pick days: a crontab then fires when either matches, and EventBridge accepts only one
 * of them. On a date that matches both, both schedules fire in the same minute, which costs one needless run.
 *
 * No crontab gives an expression of more than 240 characters; EventBridge accepts 256.
 *
 * @throws {CrontabError} if the text is not a crontab, never fires, or has no equivalent in EventBridge
 */
export function scheduleExpressions(crontab: string): string[] {
  const { minutes, hours, daysOfMonth, months, daysOfWeek } = parse(crontab);
  const time = `${compact(minutes, MINUTE)} ${compact(hours, HOUR)}`;
  const month = compact(months, MONTH);
  const expressions: string[] = [];
  if (daysOfMonth.length > 0) expressions.push(`cron(${time} ${compact(daysOfMonth, DAY_OF_MONTH)} ${month} ? *)`);
  // As names, because EventBridge counts Sunday as 1.
  if (daysOfWeek.length > 0) expressions.push(`cron(${time} ? ${month} ${list(daysOfWeek, WEEKDAYS)} *)`);
  return expressions;
}

/** All values as a star, a series with a constant step as its start and step, others as a list. */
function compact(values: readonly number[], { min, max }: Field): string {
  if (values.length === max - min + 1) return '*';
  const [first = 0, second = 0] = values;
  const step = second - first;
  const isSeries = values.length > 2 && step > 1 && values.every((value, i) => value === first + i * step);
  // With a start, as AWS documents it, since `*/2` could count from 0 or from 1.
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
