/** The constructs in Python beside those in TypeScript. Run by `npm run test:packages`, which needs Python. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { transformSync } from '@swc/core';
import { PythonEnvironment } from '../deploy/python';
import { readmeCode } from '../support/readme';

const run = promisify(execFile);

// The CDK for Python is installed, and the wheel is made.
jest.setTimeout(600_000);

const root = mkdtempSync(join(tmpdir(), 'token-cleanup-python-'));
afterAll(() => rmSync(root, { recursive: true }));

/** The package for npm, unpacked. */
const npmPackage = join(root, 'package');

/** The folder into which Python's side of the CDK unpacks the packages for Node.js that wheels hold. */
const cache = join(root, 'cache');

/** What Python's side of the CDK needs besides. */
let environment: NodeJS.ProcessEnv;
let python: string;

beforeAll(async () => {
  ({ python } = await PythonEnvironment.of('../packages/requirements.txt'));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', root]);
  const [tarball = ''] = readdirSync(root);
  await run('tar', ['-xzf', join(root, tarball), '-C', root]);
  const { stdout } = await run('npm', ['run', '--silent', 'build:wheel', '--', python]);
  const wheel = stdout.trim().split('\n').at(-1) ?? '';
  const packages = join(root, 'packages');
  // Beside the other packages, which are kept for the next time.
  await run(python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', packages, wheel]);
  environment = {
    ...process.env,
    PYTHONPATH: packages,
    JSII_RUNTIME_PACKAGE_CACHE_ROOT: cache,
    JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '20',
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
  };
});

/** Runs an app in a folder of its own, and reads the files that the CDK deploys. */
async function synthesize(name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const outdir = join(root, name, 'out');
  await run(command, args, { cwd: join(root, name), env: { ...env, CDK_OUTDIR: outdir } });
  const files = readdirSync(outdir, { recursive: true, encoding: 'utf8' });
  const deployed = files.filter((file) => /^Auth\.(template|assets)\.json$|^asset\..*\.\w+$/.test(file));
  return Object.fromEntries(deployed.sort().map((file) => [file, readFileSync(join(outdir, file), 'utf8')]));
}

async function synthesizePython(name: string, code: string) {
  mkdirSync(join(root, name));
  writeFileSync(join(root, name, 'app.py'), code);
  return await synthesize(name, python, ['app.py'], environment);
}

/** The same release of the CDK as in Python: another one may write another template. */
async function synthesizeTypeScript(name: string, code: string) {
  const modules = join(root, name, 'node_modules');
  cpSync(npmPackage, join(modules, 'token-cleanup'), { recursive: true });
  const link = (target: string, dependency: string) => {
    mkdirSync(dirname(join(modules, dependency)), { recursive: true });
    symlinkSync(target, join(modules, dependency), 'junction');
  };
  for (const [dependency, target] of unpackedByPython()) {
    link(target, dependency);
  }
  for (const dependency of ['cronstrue', 'zod']) {
    link(resolve('node_modules', dependency), dependency);
  }
  const options = { jsc: { parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } } as const;
  writeFileSync(join(root, name, 'app.js'), transformSync(code, options).code);
  // Links stay what they are, so that packages find each other beside them.
  return await synthesize(name, process.execPath, ['--preserve-symlinks', 'app.js'], process.env);
}

/** The names and the folders of the packages that the CDK for Python consists of. */
function unpackedByPython(): [string, string][] {
  const manifests = readdirSync(cache, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /^(?:@[^/\\]+[/\\])?[^/\\@]+[/\\][^/\\]+[/\\][^/\\]+[/\\]package\.json$/.test(file),
  );
  return manifests.flatMap((file) => {
    const { name } = JSON.parse(readFileSync(join(cache, file), 'utf8'));
    return name === 'token-cleanup' ? [] : [[name, dirname(join(cache, file))] as [string, string]];
  });
}

/** The examples of lib/README.md in both languages. */
const EXAMPLES = [
  { name: 'a secret', typeScript: '## In a CDK app of your own', inPython: '### In Python' },
  { name: 'a cluster', typeScript: '### With a database of the CDK', inPython: '### With a database of the CDK' },
];

test('Python apps synthesize byte by byte what those in TypeScript synthesize', async () => {
  const fromPython = await Promise.all(
    EXAMPLES.map(({ name, inPython }) => synthesizePython(`${name} in Python`, readmeCode('python', inPython))),
  );
  const fromTypeScript = await Promise.all(
    EXAMPLES.map(({ name, typeScript }) => synthesizeTypeScript(name, readmeCode('ts', typeScript))),
  );

  expect(fromPython).toEqual(fromTypeScript);
  for (const files of fromPython) {
    expect(Object.keys(files)).toEqual(expect.arrayContaining(['Auth.assets.json', 'Auth.template.json']));
    const handler = Object.entries(files).find(([file]) => file.endsWith('index.mjs'))?.[1];
    expect(handler).toBe(readFileSync(join(npmPackage, 'dist', 'function', 'index.mjs'), 'utf8'));
  }
});

test('a Python app gets all mistakes in one error', async () => {
  const { stdout } = await run(python, [resolve('test/packages/mistakes.py')], { env: environment });

  expect(stdout).toContain('CLEANUP_CONCURRENCY must be a whole number from 1 to 16, got "17"');
  expect(stdout).toContain('CLEANUP_TARGETS[0].deleteWhen[0] must name at least one column');
});

test('the package for npm holds the description of the API for Construct Hub', () => {
  const assembly = JSON.parse(readFileSync(join(npmPackage, '.jsii'), 'utf8'));
  const { name, version, keywords } = JSON.parse(readFileSync(join(npmPackage, 'package.json'), 'utf8'));

  expect(assembly).toMatchObject({ name, version, targets: { python: { module: 'token_cleanup' } } });
  expect(Object.keys(assembly.types)).toEqual(
    expect.arrayContaining([
      'token-cleanup.Monitoring',
      'token-cleanup.TokenCleanup',
      'token-cleanup.TokenCleanupProps',
    ]),
  );
  expect(keywords).toContain('aws-cdk');
});

test('lib/API.md describes this API (otherwise: npm run build && npm run build:jsii && npm run build:api)', async () => {
  const file = join(root, 'API.md');
  await run('npx', ['jsii-docgen', '--output', file]);

  expect(readFileSync('lib/API.md', 'utf8')).toBe(readFileSync(file, 'utf8'));
});
