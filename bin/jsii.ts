import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BUNDLES } from './bundle';
import { runTool } from './tool';

/**
 * `npm run build:jsii`, after `npm run build`: prepares the constructs for the other languages of the CDK. It makes
 *
 * - `dist/jsii`, the constructs as a package of their own, from which packages of other languages are generated. jsii
 *   brings its own TypeScript, and requires all dependencies inside of the package. In the package for npm that would cost
 *   its users a second copy of zod and of the driver;
 * - `.jsii`, the description of the API, which is also in the package for npm, where Construct Hub reads it. From it
 *   `npm run build:api` writes `lib/API.md` for people.
 */

const PROJECT = dirname(__dirname);
const DIST = join(PROJECT, 'dist');
const PACKAGE = join(DIST, 'jsii');

/** The packages that the constructs load. Their code becomes part of the package. */
const BUNDLED = ['cronstrue', 'zod'];
const PEERS = ['aws-cdk-lib', 'constructs'];

/** What the constructs import and deploy. It is compiled already: checking the types of zod again takes long. */
const COMPILED = [...BUNDLES, 'lambda'];

const TSCONFIG = {
  compilerOptions: {
    target: 'es2022',
    lib: ['es2023'],
    module: 'node20',
    declaration: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    types: ['node'],
  },
  files: ['lib/index.ts'],
};

rmSync(PACKAGE, { recursive: true, force: true });
mkdirSync(PACKAGE);
for (const file of COMPILED) {
  cpSync(join(DIST, file), join(PACKAGE, file), { recursive: true });
}
cpSync(join(PROJECT, 'lib'), join(PACKAGE, 'lib'), { recursive: true });
for (const file of ['README.md', 'LICENSE']) {
  copyFileSync(join(PROJECT, file), join(PACKAGE, file));
}
for (const name of BUNDLED) {
  cpSync(join(PROJECT, 'node_modules', name), join(PACKAGE, 'node_modules', name), { recursive: true });
}
writeFileSync(join(PACKAGE, 'package.json'), JSON.stringify(manifest(), undefined, 2));
writeFileSync(join(PACKAGE, 'tsconfig.json'), JSON.stringify(TSCONFIG, undefined, 2));

// In Python the prop `except` is called `except_`, as such names are in every library of the CDK.
const flags = ['--validate-tsconfig', 'minimal', '--fail-on-warnings', '--silence-warnings', 'reserved-word'];
runTool('jsii', ['--tsconfig', 'tsconfig.json', ...flags], PACKAGE);
copyFileSync(join(PACKAGE, '.jsii'), join(PROJECT, '.jsii'));

function manifest(): object {
  const project = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
  const { name, author, dependencies, peerDependencies } = project;
  const peers = Object.entries<string>(pick(peerDependencies, PEERS));
  return {
    ...pick(project, ['name', 'version', 'description', 'keywords', 'homepage', 'repository', 'license']),
    author: { name: author },
    main: 'lib/index.js',
    types: 'lib/index.d.ts',
    files: ['.jsii', ...BUNDLES, 'lambda', 'lib/**/*.js', 'lib/**/*.d.ts'],
    dependencies: pick(dependencies, BUNDLED),
    bundledDependencies: BUNDLED,
    peerDependencies: Object.fromEntries(peers),
    // jsii recommends to compile with these versions, and warns otherwise. The tests of the package install them.
    devDependencies: Object.fromEntries(peers.map(([peer, range]) => [peer, range.replace('^', '')])),
    jsii: { outdir: 'languages', targets: { python: { distName: name, module: name.replaceAll('-', '_') } } },
  };
}

function pick<Value>(fields: Readonly<Record<string, Value>>, names: readonly string[]) {
  return Object.fromEntries(names.map((name) => [name, fields[name] as Value]));
}
