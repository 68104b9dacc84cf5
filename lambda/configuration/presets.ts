import { APPLICATIONS } from './presets/applications';
import { FRAMEWORKS } from './presets/frameworks';
import { IDENTITY } from './presets/identity';
import { JAVASCRIPT } from './presets/javascript';
import { PHP } from './presets/php';
import type { Preset } from './presets/preset';
import { PYTHON } from './presets/python';
import { RUBY } from './presets/ruby';

export type { Preset } from './presets/preset';

/** The known systems by the name of their preset. */
export const presets: Readonly<Record<string, Preset>> = {
  ...IDENTITY,
  ...FRAMEWORKS,
  ...PYTHON,
  ...RUBY,
  ...PHP,
  ...JAVASCRIPT,
  ...APPLICATIONS,
};

/** The system that a table belongs to, by its name and the columns that distinguish it; undefined if none is known. */
export function systemOf(table: string, columns: readonly string[]): string | undefined {
  return Object.values(presets).find(({ tables }) =>
    tables.some((known) => known.table === table && known.recognize.every((column) => columns.includes(column))),
  )?.system;
}
