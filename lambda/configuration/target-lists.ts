import * as z from 'zod';
import { DEFAULT_TARGETS, type TargetsInput, targetsSchema } from './targets';
import { parse, parseJson } from './validation';

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
  const lists = parseJson(LISTS_VARIABLE, json) as TargetLists;
  parse(targetListsSchema, lists, LISTS_VARIABLE);
  return lists;
}
