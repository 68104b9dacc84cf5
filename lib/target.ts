/**
 * A table with the rules that select its dead rows, or the preset of a known system. The keys are those of the JSON.
 * Written by hand, not derived from the schema, so that every language of the CDK has it. The schema validates it at synth.
 */
export interface CleanupTarget {
  /**
   * The schema of the table, or of the tables of the preset.
   *
   * @default - public, or the usual one of the preset
   */
  readonly schema?: string;

  /** @default - the tables of `preset`, which is then required */
  readonly table?: string;

  /**
   * Rules joined by OR. Each is an object that maps columns to tests, joined by AND, such as
   * `{ "revoked": true, "revoked_at": { "olderThan": "30d" } }`.
   *
   * @default - the rules of `preset`
   */
  readonly deleteWhen?: { [column: string]: unknown }[];

  /**
   * Tables whose foreign keys protect the rows that they refer to, whatever their ON DELETE.
   *
   * @default - none
   */
  readonly unlessReferredToBy?: string[];

  /**
   * The IANA time zone of timestamps without time zone.
   *
   * @default UTC
   */
  readonly timeZone?: string;

  /**
   * Whether a run vacuums the table after it has deleted rows, so that no index leads to them any more. The role needs the
   * privilege MAINTAIN; before PostgreSQL 17 it must own the table.
   *
   * @default false
   */
  readonly vacuum?: boolean;

  /**
   * Whether a run drops the partitions whose bound proves all of their rows dead, instead of deleting the rows. Requires the
   * function in lambda/erasure/README.md. Must not be combined with `unlessReferredToBy` or `timeZone`.
   *
   * @default false
   */
  readonly dropPartitions?: boolean;

  /**
   * The schemas that have the table, by patterns `like` and `except`, in which `*` stands for any characters.
   *
   * @default - `schema`
   */
  readonly schemas?: { [key: string]: string[] };

  /**
   * The name of a known system.
   *
   * @default - `table` and `deleteWhen`
   */
  readonly preset?: string;

  /**
   * The settings of the preset, such as a retention that is a setting of the system itself.
   *
   * @default - the defaults of the system
   */
  readonly presetSettings?: { [name: string]: unknown };
}

/** The order of the keys in the JSON. The order of the props depends on the language: jsii sorts them by name. */
const KEYS = [
  'preset',
  'schema',
  'schemas',
  'table',
  'deleteWhen',
  'unlessReferredToBy',
  'timeZone',
  'vacuum',
  'dropPartitions',
] as const satisfies readonly (keyof CleanupTarget)[];

/** The list as JSON for the function. Equal targets give equal JSON. */
export function targetsJson(targets: readonly CleanupTarget[]): string {
  return JSON.stringify(asWritten(targets));
}

/** Several lists, by name. */
export function targetListsJson(lists: { [name: string]: readonly CleanupTarget[] }): string {
  return JSON.stringify(Object.fromEntries(Object.entries(lists).map(([name, targets]) => [name, asWritten(targets)])));
}

function asWritten(targets: readonly CleanupTarget[]): object[] {
  return targets.map(({ presetSettings, ...target }) => ({
    ...Object.fromEntries(KEYS.map((key) => [key, target[key]])),
    ...target,
    ...presetSettings,
  }));
}
