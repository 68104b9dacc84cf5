import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BUNDLES, bundle } from './bundle';

/**
 * `npm run build`: makes the content of the published package in `dist`: the compiled sources, and the functions as they
 * are deployed, so that users of the construct need no bundler.
 */

const PROJECT = dirname(__dirname);
const DIST = join(PROJECT, 'dist');

// Files of an earlier build would be published too.
rmSync(DIST, { recursive: true, force: true });
rmSync(join(PROJECT, '.jsii'), { force: true });
const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: PROJECT, stdio: 'inherit' });
for (const name of BUNDLES) {
  bundle(name, join(DIST, name));
}
