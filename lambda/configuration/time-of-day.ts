import * as z from 'zod';

const RULE = 'must be a time of day such as 06:00';

/** A time of day on the clocks of some zone, such as `06:00`. */
export const timeOfDay = z.string(RULE).regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, RULE);

const MS_PER_MINUTE = 60_000;
const MINUTES_PER_DAY = 24 * 60;

/**
 * The next time that the clocks of a zone show a time of day: the first one if they show it twice, and as much later if
 * they skip it.
 *
 * @param from a moment; the result is after its minute
 */
export function nextTimeOfDay(from: Date, time: string, timeZone: string): Date {
  const minute = Math.floor(from.getTime() / MS_PER_MINUTE);
  const [hours = 0, minutes = 0] = time.split(':').map(Number);
  const wanted = hours * 60 + minutes;
  const waits = modulo(wanted - minuteOfDay(minute, timeZone), MINUTES_PER_DAY) || MINUTES_PER_DAY;
  // The clocks may change in between.
  const change = modulo(wanted - minuteOfDay(minute + waits, timeZone) + 720, MINUTES_PER_DAY) - 720;
  const corrected = minute + waits + change;
  const isSkipped = minuteOfDay(corrected, timeZone) !== wanted;
  return new Date((isSkipped ? minute + waits : corrected) * MS_PER_MINUTE);
}

/** @param minute since 1970, in UTC */
function minuteOfDay(minute: number, timeZone: string): number {
  const format = new Intl.DateTimeFormat('en', { timeZone, hour: 'numeric', minute: 'numeric', hourCycle: 'h23' });
  const parts = format.formatToParts(minute * MS_PER_MINUTE);
  const read = (type: string) => Number(parts.find((part) => part.type === type)?.value);
  return read('hour') * 60 + read('minute');
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
