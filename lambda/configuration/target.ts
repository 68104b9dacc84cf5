import * as z from 'zod';
import { namePattern } from './name-pattern';
import { identifier, ruleSchema } from './rule';
import { timeZone } from './time-zone';

/** A table and its rules in JSON. */
export type TargetInput = z.input<typeof targetSchema>;

/** The schema of tables whose target names none. */
export const DEFAULT_SCHEMA = 'public';

/** The schemas of a table, or of the tables of a preset. */
export const places = {
  schema: identifier.describe(`The schema, ${DEFAULT_SCHEMA} by default or that of the preset`).optional(),
  schemas: namePattern.describe('All schemas that match and have the table, in place of one').optional(),
};

/** Whether both a schema and a pattern of schemas are given. */
export function isPlacedTwice({ schema, schemas }: { schema?: string | undefined; schemas?: unknown }): boolean {
  return schema !== undefined && schemas !== undefined;
}

export const PLACE_RULE = 'must not be used with "schema"';

export const targetSchema = z
  .strictObject({
    ...places,
    table: identifier.describe('The table to delete from'),
    deleteWhen: z
      .array(ruleSchema, 'must be a list of rules')
      .min(1, 'must hold at least one rule, or it would match every row')
      .describe('Rules, joined by OR: a row that meets one of them is deleted'),
    unlessReferredToBy: z
      .array(identifier, 'must be a list of tables')
      .min(1, 'must name at least one table')
      .describe('Tables whose foreign keys protect the rows that they refer to, whatever their ON DELETE')
      .optional(),
    timeZone: timeZone.describe('The time zone of timestamps without time zone, UTC by default').optional(),
    vacuum: z
      .boolean('must be true or false')
      .describe('Whether a run vacuums the table after it has deleted rows')
      .optional(),
    dropPartitions: z
      .boolean('must be true or false')
      .describe('Whether a run drops partitions whose bound proves all rows dead, instead of deleting the rows')
      .optional(),
  })
  .refine(({ dropPartitions, unlessReferredToBy, timeZone }) => !dropPartitions || !(unlessReferredToBy || timeZone), {
    path: ['dropPartitions'],
    message: 'must not be combined with "unlessReferredToBy" or "timeZone": a bound proves neither',
  });
