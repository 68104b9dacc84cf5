import * as z from 'zod';

/** Patterns of names, in which `*` stands for any characters. */
export type NamePattern = z.output<typeof namePattern>;

const patterns = z
  .array(z.string('must be a pattern such as "tenant_*"').min(1, 'must not be empty'), 'must be a list of patterns')
  .min(1, 'must hold at least one pattern');

export const namePattern = z.strictObject(
  {
    like: patterns.describe('The names to include; * stands for any characters'),
    except: patterns.describe('The names among those to leave out').optional(),
  },
  'must be an object such as { "like": ["tenant_*"], "except": ["tenant_demo"] }',
);

/** Whether a name matches a pattern. */
export function matchesPattern({ like, except = [] }: NamePattern, name: string): boolean {
  return like.some((pattern) => matches(pattern, name)) && !except.some((pattern) => matches(pattern, name));
}

function matches(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) {
    return name === first;
  }
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) {
    return false;
  }
  // Each part as early as possible, without a regular expression that a pattern could make slow.
  let from = first.length;
  return (
    rest.every((part) => {
      const at = name.indexOf(part, from);
      from = at + part.length;
      return at >= 0;
    }) && from <= name.length - last.length
  );
}
