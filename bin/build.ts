import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bundleFunction } from '../lib/function-code';

/**
 * `npm run build`: makes what the package publishes, in `dist`. Beside the compiled sources that is the function as it is
 * deployed from here, so that who uses the construct needs no bundler.
 */

const PROJECT = dirname(__dirname);
const DIST = join(PROJECT, 'dist');

// What an earlier build left would be published too.
rmSync(DIST, { recursive: true, force: true });
const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: PROJECT, stdio: 'inherit' });
bundleFunction(join(DIST, 'function'));
