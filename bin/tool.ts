import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Runs the program of an installed package with this Node.js, by its script: on Windows npm's programs are shell scripts. */
export function runTool(name: string, args: readonly string[], cwd: string): void {
  const manifest = require.resolve(`${name}/package.json`);
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  execFileSync(process.execPath, [join(dirname(manifest), typeof bin === 'string' ? bin : bin[name]), ...args], {
    cwd,
    stdio: 'inherit',
    // jsii still works on Node.js 20, and warns on every run that this will end.
    env: { ...process.env, JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '20' },
  });
}
