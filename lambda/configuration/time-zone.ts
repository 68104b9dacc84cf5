import * as z from 'zod';
import { didYouMean } from './validation';

/** A time zone by its name in the IANA database, such as `Europe/Berlin`. */
export const timeZone = z.string('must be a string').refine(isTimeZone, { error: ({ input }) => rule(input) });

function isTimeZone(name: string): boolean {
  try {
    const known = new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
    // Intl also accepts offsets and any case, which EventBridge and PostgreSQL read differently. If it resolves a name to
    // another one, the name was an alias.
    return /^[A-Z]/.test(name) && (known === name || known.toLowerCase() !== name.toLowerCase());
  } catch {
    return false;
  }
}

function rule(name: unknown): string {
  return `must be a time zone of the IANA database${didYouMean(String(name), Intl.supportedValuesOf('timeZone'))}`;
}
