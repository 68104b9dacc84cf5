import type * as z from 'zod';

/** Input that cannot be used. The message lists every mistake, one a line, each with its name, its rule and the value. */
export class InvalidInputError extends Error {
  override readonly name = 'InvalidInputError';

  constructor(readonly mistakes: readonly string[]) {
    super(mistakes.join('\n'));
  }
}

/**
 * Words what a schema found, a sentence a mistake: `CLEANUP_MAX_LOAD must be above 0 and at most 1, got "2"`.
 *
 * @param root what the input is called; the path inside of it follows, as in `CLEANUP_TARGETS[0].table`
 * @param value the input that was refused
 * @param confidential whether the value must not be repeated, as with a secret
 */
export function mistakesIn(error: z.core.$ZodError, root: string, value: unknown, confidential = false): string[] {
  return error.issues.flatMap((issue) => {
    const name = nameOf(root, issue.path);
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => `${nameOf(name, [key])} is not a known key`);
    }
    if (issue.code === 'invalid_key') {
      return issue.issues.map(({ message }) => `${name} ${message}`);
    }
    const got = valueAt(value, issue.path);
    if (got === undefined) {
      // Where the rule says when it is required, that is kept.
      return [`${name} ${issue.message.startsWith('is required') ? issue.message : 'is required'}`];
    }
    return [confidential ? `${name} ${issue.message}` : `${name} ${issue.message}, got ${shortened(got)}`];
  });
}

function nameOf(root: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>((name, key) => {
    if (typeof key === 'number') {
      return `${name}[${key}]`;
    }
    return name ? `${name}.${String(key)}` : String(key);
  }, root);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((part, key) => (part as Record<PropertyKey, unknown> | undefined)?.[key], value);
}

// A whole configuration file pasted into one variable would bury the message.
const LONGEST_VALUE = 120;

function shortened(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}
