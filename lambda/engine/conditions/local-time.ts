/** Clocks are never set back by more than this at once. */
const LONGEST_STEP_BACK_MS = 4 * 3_600_000;

const QUARTER_MS = 900_000;

/**
 * The time that clocks in a zone show at a moment, as text without a zone. A time before it is certainly past: in the hours
 * before clocks are set back the result is an hour less, since they will show the repeated hour again.
 */
export function localTime(moment: Date, timeZone = 'UTC'): string {
  const offsets = samples(moment.getTime(), moment.getTime() + LONGEST_STEP_BACK_MS, QUARTER_MS).map((at) =>
    offsetMs(at, timeZone),
  );
  return withoutZone(new Date(moment.getTime() + Math.min(...offsets)));
}

// Shorter than any period of summer or winter time, of which the shortest is that of Ramadan in Morocco.
const SAMPLE_MS = 28 * 86_400_000;

/** The smallest offset from UTC that a zone had since 1970, in milliseconds. */
export function leastOffsetMs(until: Date, timeZone = 'UTC'): number {
  return Math.min(...samples(0, until.getTime(), SAMPLE_MS).map((at) => offsetMs(at, timeZone)));
}

function samples(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}

function offsetMs(at: number, timeZone: string): number {
  if (timeZone === 'UTC') {
    return 0;
  }
  const formatted = formatOf(timeZone).format(at);
  const [, sign, hours = 0, minutes = 0, seconds = 0] = /GMT(?:([+-])(\d+):(\d+)(?::(\d+))?)?$/.exec(formatted) ?? [];
  return (Number(hours) * 3_600_000 + Number(minutes) * 60_000 + Number(seconds) * 1_000) * (sign === '-' ? -1 : 1);
}

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const format = formats.get(timeZone) ?? new Intl.DateTimeFormat('en', { timeZone, timeZoneName: 'longOffset' });
  formats.set(timeZone, format);
  return format;
}

function withoutZone(date: Date): string {
  return date.toISOString().slice(0, -1).replace('T', ' ');
}
