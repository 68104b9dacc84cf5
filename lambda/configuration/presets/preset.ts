import * as z from 'zod';
import { ageText, millisecondsOf } from '../rule';
import type { TargetInput } from '../target';
import { timeZone } from '../time-zone';

/** A system whose token tables are known, with its own rules for dead rows. */
export interface Preset {
  /** The name of the system. */
  readonly system: string;
  /** The part of the system that deletes these rows; absent if nothing does. */
  readonly cleaner?: string | undefined;
  /** The differences between the preset and the system's own cleaner, and the tables that it leaves alone, with reasons. */
  readonly caveat?: string | undefined;
  /** The schema that the system uses by default. */
  readonly schema: string;
  /** The keys that may be used with `preset` and `schema`. */
  readonly parameters: z.ZodRawShape;
  /** Every table, with the system's own settings, children before their parents. */
  readonly tables: readonly PresetTable[];
  /** The targets in the order in which they are swept. The schema is added to each. */
  readonly targets: (parameters: Readonly<Record<string, unknown>>) => readonly PresetTarget[];
}

export type PresetTarget = Omit<TargetInput, 'schema'>;

export interface PresetTable extends Omit<PresetTarget, 'timeZone'> {
  /** Further columns that distinguish it from other tables of its name. */
  readonly recognize: readonly string[];
  /** Whether it comes with a plug-in, a feature or a late version: swept only if `tables` lists it. */
  readonly optional?: boolean | undefined;
}

/** A setting of the system for the lifetime of rows. */
interface Retention {
  readonly about: string;
  /** The system's own default. Without one, rules of this setting count only if it is given. */
  readonly default?: string;
}

type Retentions = Readonly<Record<string, Retention>>;

type Settings<R extends Retentions> = {
  readonly [Name in keyof R]: R[Name] extends { readonly default: string } ? string : string | undefined;
};

interface Definition<R extends Retentions> {
  readonly system: string;
  readonly cleaner?: string;
  readonly caveat?: string;
  readonly schema?: string;
  /** Whether the system writes timestamps without time zone in a time zone that it is configured with. */
  readonly hasOwnZone?: boolean;
  readonly retention?: R;
  readonly tables: (settings: Settings<R>) => readonly PresetTable[];
}

/** Makes a preset from the particulars of a system. */
export function definePreset<const R extends Retentions>(definition: Definition<R>): Preset {
  const { system, cleaner, caveat, schema = 'public', hasOwnZone, retention = {} } = definition;
  const ages = Object.fromEntries(
    Object.entries<Retention>(retention).map(([name, { about, default: usual }]) => {
      const age = usual === undefined ? ageText.optional() : ageText.default(usual);
      return [name, age.describe(about)];
    }),
  );
  const tablesWith = (settings: unknown) => definition.tables(settings as Settings<R>);
  const tables = tablesWith(z.object(ages).parse({}));
  const names = tables.map(({ table }) => table);
  const listRule = `must be a list of tables of this preset: ${names.join(', ')}`;
  return {
    system,
    cleaner,
    caveat,
    schema,
    tables,
    parameters: {
      ...ages,
      ...(hasOwnZone && {
        timeZone: timeZone.optional().describe('the zone in which the system writes its timestamps, UTC by default'),
      }),
      tables: z
        .array(z.enum(names, listRule), listRule)
        .min(1, listRule)
        .optional()
        .describe('the tables to sweep; by default all that every installation has'),
    },
    targets: ({ tables: listed, timeZone: zone, ...settings }) =>
      tablesWith(settings)
        .filter(({ table, optional }) => (Array.isArray(listed) ? listed.includes(table) : !optional))
        .map(({ recognize, optional, ...target }) => ({
          ...target,
          ...(zone !== undefined && { timeZone: String(zone) }),
        })),
  };
}

/** The sum of ages such as `1440h` and `10m`. */
export function sumOf(...ages: readonly string[]): string {
  return `${ages.reduce((sum, age) => sum + millisecondsOf(age), 0) / 1_000}s`;
}
