import * as z from 'zod';

/** Invalid input. The message lists every mistake, one a line, each with the name, the rule and the value. */
export class InvalidInputError extends Error {
  override readonly name = 'InvalidInputError';

  constructor(readonly mistakes: readonly string[]) {
    super(mistakes.join('\n'));
  }
}

/**
 * Validates input.
 *
 * @param name the name of the input in messages; without one, its fields stand alone
 * @throws InvalidInputError with every mistake
 */
export function parse<Schema extends z.ZodType>(schema: Schema, input: unknown, name = ''): z.output<Schema> {
  const { data, error } = schema.safeParse(input);
  if (error) {
    throw new InvalidInputError(mistakesIn(error, name, input, { schema }));
  }
  return data as z.output<Schema>;
}

/** @throws InvalidInputError if a variable holds no JSON */
export function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // The parser's message has the place, by its number or by the text around it.
    const mistake = (error as Error).message.replace(/\s+/g, ' ');
    throw new InvalidInputError([`${name} must be JSON, got ${shortened(text)}: ${mistake}`]);
  }
}

/**
 * Takes all steps, even if some of them refuse their input.
 *
 * @throws InvalidInputError with the mistakes of all steps
 */
export function together<Results extends unknown[]>(...steps: { [I in keyof Results]: () => Results[I] }): Results {
  const mistakes: string[] = [];
  const results = steps.map((step) => {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof InvalidInputError)) {
        throw error;
      }
      mistakes.push(...error.mistakes);
      return undefined;
    }
  });
  refuse(mistakes);
  return results as Results;
}

/** @throws InvalidInputError if there are mistakes */
export function refuse(mistakes: readonly string[]): void {
  if (mistakes.length > 0) {
    throw new InvalidInputError(mistakes);
  }
}

/**
 * Puts each issue of a schema into a sentence: `CLEANUP_MAX_LOAD must be above 0 and at most 1, got "2"`.
 *
 * @param root the name of the input; the path inside it follows, as in `CLEANUP_TARGETS[0].table`
 * @param value the invalid input
 * @param options `schema` suggests a key for a misspelled one; `confidential` keeps values out of messages
 */
export function mistakesIn(
  error: z.core.$ZodError,
  root: string,
  value: unknown,
  { schema, confidential = false }: { readonly schema?: z.ZodType; readonly confidential?: boolean },
): string[] {
  const suggestion = (key: string, path: readonly PropertyKey[]) =>
    schema ? didYouMean(key, keysAt(schema, path)) : '';
  const whyUnknown = (key: string, path: readonly PropertyKey[], unknown: readonly string[]) => {
    if (schema && keysAt(schema, path).includes(key)) {
      const others = Object.keys(valueAt(value, path) as object).filter((other) => !unknown.includes(other));
      return `must not be used with ${others.join(', ')}`;
    }
    return `is not a known key${suggestion(key, path)}`;
  };
  const gotAt = (got: unknown) => (confidential ? '' : `, got ${shortened(got)}`);

  function wording(issue: z.core.$ZodIssue, path: readonly PropertyKey[]): string[] {
    const name = nameOf(root, path);
    const subject = name && `${name} `;
    const got = valueAt(value, path);
    switch (issue.code) {
      case 'unrecognized_keys':
        return issue.keys.map((key) => `${nameOf(name, [key])} ${whyUnknown(key, path, issue.keys)}`);
      case 'invalid_key':
        return issue.issues.map(({ message }) => `${subject}${message}`);
      case 'invalid_union': {
        const meant = meantAlternative(issue.errors, got);
        if (meant) {
          return meant.flatMap((inner) => wording(inner, [...path, ...inner.path]));
        }
        const hints = isObject(got) ? Object.keys(got).map((key) => suggestion(key, path)) : [];
        return [`${subject}${issue.message}${gotAt(got)}${hints.join('')}`];
      }
    }
    if (got === undefined) {
      // A rule that states when the field is required keeps its message.
      return [`${subject}${issue.message.startsWith('is required') ? issue.message : 'is required'}`];
    }
    return [`${subject}${issue.message}${gotAt(got)}`];
  }

  return error.issues.flatMap((issue) => wording(issue, issue.path));
}

/** The alternative of a union that has most of the object's keys; none if no alternative has any. */
function meantAlternative(alternatives: z.core.$ZodIssue[][], got: unknown): z.core.$ZodIssue[] | undefined {
  if (!isObject(got)) {
    return undefined;
  }
  const known = alternatives.map((issues) => {
    const atRoot = issues.filter(({ path }) => path.length === 0);
    const unknown = atRoot.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []));
    const isOther = issues.some(
      (issue) =>
        (issue.path.length === 0 && issue.code.startsWith('invalid_')) ||
        ('discriminator' in issue && !Object.hasOwn(got, String(issue.discriminator))),
    );
    return isOther ? 0 : Object.keys(got).length - unknown.length;
  });
  const most = Math.max(...known);
  return most > 0 ? alternatives[known.indexOf(most)] : undefined;
}

/** The keys that an object at this path may have. */
function keysAt(schema: unknown, path: readonly PropertyKey[]): string[] {
  const [key, ...rest] = path;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) {
    return keysAt(schema.unwrap(), path);
  }
  if (schema instanceof z.ZodPipe) {
    return [schema.in, schema.out].flatMap((part) => keysAt(part, path));
  }
  if (schema instanceof z.ZodUnion) {
    return schema.options.flatMap((option) => keysAt(option, path));
  }
  if (schema instanceof z.ZodObject) {
    return key === undefined ? Object.keys(schema.shape) : keysAt(schema.shape[String(key)], rest);
  }
  if (key !== undefined && schema instanceof z.ZodRecord) {
    return keysAt(schema.valueType, rest);
  }
  return key !== undefined && schema instanceof z.ZodArray ? keysAt(schema.element, rest) : [];
}

/** A suggestion in parentheses if a word looks like a misspelling of one of the candidates, otherwise nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const distances = candidates.map((candidate) => editDistance(word.toLowerCase(), candidate.toLowerCase()));
  const least = Math.min(...distances);
  // If more than a third differs, it is another word.
  return least <= Math.max(1, word.length / 3) ? ` (did you mean ${candidates[distances.indexOf(least)]}?)` : '';
}

/** Maps spellings such as `expiresAt` and `expires_at` to the same text. */
export function alike(name: string): string {
  return name.toLowerCase().replaceAll('_', '');
}

/** The number of letters to add, remove, replace, or swap with the next one. */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const row = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const swapped =
        letter === b[j - 1] && other === a[i - 1] ? (beforePrevious[j - 1] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      const replaced = (previous[j] ?? 0) + Number(letter !== other);
      row.push(Math.min(replaced, (previous[j + 1] ?? 0) + 1, (row[j] ?? 0) + 1, swapped));
    }
    [beforePrevious, previous] = [previous, row];
  }
  return previous.at(-1) ?? 0;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
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

// A whole configuration file, pasted into one variable, would bury the message.
const LONGEST_VALUE = 120;

function shortened(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}
