import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runTool } from './tool';

/**
 * `npm run build:wheel`, after `npm run build:jsii`: makes the package for Python in `dist/wheel`, and prints its path.
 *
 * An argument names the Python to use. It must have the packages of test/packages/requirements.txt, or setuptools and wheel.
 */

const DIST = join(dirname(__dirname), 'dist');
const PACKAGE = join(DIST, 'jsii');
const WHEEL = join(DIST, 'wheel');

const [python = process.platform === 'win32' ? 'python' : 'python3'] = process.argv.slice(2);

rmSync(WHEEL, { recursive: true, force: true });
runTool('jsii-pacmak', ['--code-only', '--targets', 'python', '--no-npmignore'], PACKAGE);
const pip = ['-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir', WHEEL];
execFileSync(python, [...pip, join(PACKAGE, 'languages', 'python')], { stdio: 'inherit' });
console.log(join(WHEEL, ...readdirSync(WHEEL)));
