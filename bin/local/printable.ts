/** Results without unprintable characters, see {@link printable}. */

import { isObject } from '../../lambda/configuration/validation';
import { printable } from '../../lambda/database/database-error';

/** Text in which only line breaks stay as they are. */
export function printableLines(text: string): string {
  return text
    .split('\n')
    .map((line) => printable(line))
    .join('\n');
}

/** JSON as `JSON.stringify` writes it, and nothing unprintable in it but line breaks. */
export function printableJson(value: unknown, indent = 0): string {
  return printableLines(JSON.stringify(value, null, indent));
}

/** Names and texts of a result, in which only errors have more than one line. */
export function printableValue<T>(value: T, key = ''): T {
  const convert = (): unknown => {
    if (typeof value === 'string') {
      return key === 'error' ? printableLines(value) : printable(value);
    }
    if (Array.isArray(value)) {
      return value.map((each) => printableValue(each, key));
    }
    return isObject(value)
      ? Object.fromEntries(Object.entries(value).map(([name, part]) => [printable(name), printableValue(part, name)]))
      : value;
  };
  return convert() as T;
}
