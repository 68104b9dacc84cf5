import * as z from 'zod';
import { DEFAULT_TARGETS, type TargetsInput, targetsSchema } from './targets';
import { InvalidInputError, mistakesIn } from './validation';

/** The variable of a fleet's function that has the lists of targets, as a JSON object of names and lists. */
export const LISTS_VARIABLE = 'FLEET_TARGETS';

/** The list of a server whose line in the manifest names none. */
export const DEFAULT_LIST = 'default';

/** Lists of targets by name. */
export type TargetLists = Readonly<Record<string, TargetsInput>>;

const NAME_RULE = 'must have a name of lower-case words joined by hyphens';

export const targetListsSchema = z
  .record(
    z.string().regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, NAME_RULE),
    targetsSchema,
    'must be an object of names and lists',
  )
  .refine((lists) => Object.keys(lists).length > 0, 'must have at least one list');

/**
 * Reads the lists of a fleet.
 *
 * @throws InvalidInputError with every mistake
 */
export function readTargetLists(json = JSON.stringify({ [DEFAULT_LIST]: DEFAULT_TARGETS })): TargetLists {
  let lists: unknown;
  try {
    lists = JSON.parse(json);
  } catch {
    throw new InvalidInputError([`${LISTS_VARIABLE} must be JSON, got ${JSON.stringify(json)}`]);
  }
  const { error } = targetListsSchema.safeParse(lists);
  if (error) {
    throw new InvalidInputError(mistakesIn(error, LISTS_VARIABLE, lists, { schema: targetListsSchema }));
  }
  return lists as TargetLists;
}
