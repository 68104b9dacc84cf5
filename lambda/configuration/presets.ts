import { APPLICATIONS } from './presets/applications';
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
  ...PYTHON,
  ...RUBY,
  ...PHP,
  ...JAVASCRIPT,
  ...APPLICATIONS,
};
