/**
 * Control characters, and characters that change the direction of text. A name with them could move the cursor, change
 * what a terminal shows, or pretend to be another line.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Replaces unprintable characters by escapes as in JSON. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** The same, except that a line break stays one. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** JSON as `JSON.stringify` writes it, and nothing unprintable in it but line breaks. */
export function printableJson(value: unknown, indent = 0): string {
  return printableLines(JSON.stringify(value, null, indent));
}

/** Names and texts of a result, in which only errors have more than one line. */
export function printableValue<T>(value: T, key = ''): T {
  const convert = (part: unknown, name: string): unknown => {
    if (typeof part === 'string') {
      return name === 'error' ? printableLines(part) : printable(part);
    }
    if (Array.isArray(part)) {
      return part.map((each) => convert(each, name));
    }
    return typeof part === 'object' && part !== null
      ? Object.fromEntries(Object.entries(part).map(([each, inner]) => [printable(each), convert(inner, each)]))
      : part;
  };
  return convert(value, key) as T;
}

function escaped(character: string): string {
  const json = JSON.stringify(character).slice(1, -1);
  return json === character ? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}` : json;
}
