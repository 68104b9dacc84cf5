import * as z from 'zod';
import type { NamePattern } from './name-pattern';
import { type Preset, presets } from './presets';
import { columnsIn, type Rule } from './rule';
import { DEFAULT_SCHEMA, isPlacedTwice, PLACE_RULE, places, type TargetInput, targetSchema } from './target';
import { didYouMean, isObject, parse } from './validation';

export type { AgeTest, ColumnTest, ReferenceTest, Rule, ValueTest } from './rule';
export { columnsIn, isAge, isReference, testsIn } from './rule';

/** A table and the rules for its dead rows, joined by OR. */
export interface Target {
  /** Its name in events, results, metrics and logs: the table, with its schema if another target has the same table name. */
  readonly name: string;
  /** If {@link schemas} is set, the pattern itself, for messages. */
  readonly schema: string;
  /** The schemas to sweep: all that match and have the table. */
  readonly schemas?: NamePattern | undefined;
  /** The name of the configured target that matched the schema, if it names schemas by pattern. */
  readonly pattern?: string;
  readonly table: string;
  readonly deleteWhen: readonly Rule[];
  /** Tables whose foreign keys protect the rows to which they refer, regardless of ON DELETE. */
  readonly unlessReferredToBy?: readonly string[] | undefined;
  /**
   * The time zone of timestamps without time zone.
   *
   * @default UTC
   */
  readonly timeZone?: string | undefined;
  /**
   * Whether a run vacuums the table after it has deleted rows.
   *
   * @default false
   */
  readonly vacuum?: boolean | undefined;
  /**
   * Whether a run drops partitions whose bound proves all rows dead, instead of deleting the rows.
   *
   * @default false
   */
  readonly dropPartitions?: boolean | undefined;
}

/** The columns of the table itself that the rules of a target read. */
export function columnsOf({ deleteWhen }: Target): string[] {
  return [...new Set(deleteWhen.flatMap(columnsIn))];
}

/** A list of targets in JSON. */
export type TargetsInput = z.input<typeof targetsSchema>;

/** The rows that no service accepts any more: `revoked = true or expires_at < now()`. */
export const DEFAULT_TARGETS = [
  { schema: 'public', table: 'refresh_tokens', deleteWhen: [{ revoked: true }, { expires_at: { olderThan: '0s' } }] },
] as const satisfies TargetsInput;

const presetElement = z
  .discriminatedUnion(
    'preset',
    Object.entries(presets).map(([name, { parameters }]) =>
      z.strictObject({ preset: z.literal(name), ...places, ...parameters }),
    ) as unknown as [z.ZodObject<{ preset: z.ZodString } & typeof places, z.core.$loose>],
    { error: ({ input }) => presetRule((input as { preset?: unknown }).preset) },
  )
  .refine((element) => !isPlacedTwice(element), { path: ['schemas'], error: PLACE_RULE })
  .transform(({ preset: name, schema, schemas, ...given }): TargetInput[] => {
    const { schema: usual, targets } = presets[name] as Preset;
    const place = schemas ? { schemas } : { schema: schema ?? usual };
    return targets(given).map((target) => ({ ...place, ...target }));
  })
  .pipe(z.array(targetSchema));

function presetRule(name: unknown): string {
  const known = Object.keys(presets);
  return `must be one of ${known.join(', ')}${didYouMean(String(name), known)}`;
}

const element = z.union(
  [
    targetSchema
      .refine((target) => !isPlacedTwice(target), { path: ['schemas'], error: PLACE_RULE })
      .transform((target) => [target]),
    presetElement,
  ],
  'must be an object with "table" and "deleteWhen", or with "preset"',
);

/** The only schema of a list of targets, so that the function and the stack refuse the same mistakes. */
export const targetsSchema = z
  .array(element, 'must be a list of targets')
  .min(1, 'must name at least one table')
  .transform((elements) =>
    elements.map((targets) =>
      targets.map((target) => ({
        ...target,
        schema: target.schema ?? target.schemas?.like.join(', ') ?? DEFAULT_SCHEMA,
      })),
    ),
  )
  .superRefine((elements, context) => {
    const seen = new Set<string>();
    elements.forEach((targets, index) => {
      for (const { schema, schemas, table } of targets) {
        const id = JSON.stringify([schemas ?? schema, table]);
        if (seen.has(id)) {
          context.addIssue({ code: 'custom', path: [index], message: `repeats the table ${JSON.stringify(table)}` });
        }
        seen.add(id);
      }
    });
  })
  .transform((elements): Target[] => {
    const targets = elements.flat();
    return targets.map((target) => {
      const isAlone = targets.filter(({ table }) => table === target.table).length === 1;
      return { name: isAlone ? target.table : `${target.schema}.${target.table}`, ...target };
    });
  });

const targetsObject = z.strictObject({ $schema: z.string('must be a string').optional(), targets: targetsSchema });

/** The input of {@link parseTargets}: a list, or an object that refers an editor to the JSON Schema. */
export const targetsFile = z.union([targetsSchema, targetsObject]);

/**
 * Reads a list of targets, or an object with the list as `targets` and the address of the JSON Schema as `$schema`.
 *
 * @param name the name of the list in messages
 * @throws InvalidInputError with every mistake
 */
export function parseTargets(input: unknown, name = 'targets'): Target[] {
  return isObject(input) && Object.hasOwn(input, 'targets')
    ? parse(targetsObject, input, name).targets
    : parse(targetsSchema, input, name);
}
