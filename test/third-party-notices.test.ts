import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Metafile } from 'esbuild';
import { bundledPackages, thirdPartyNotices } from '../bin/third-party-notices';

const root = mkdtempSync(join(tmpdir(), 'token-cleanup-notices-'));
afterAll(() => rmSync(root, { recursive: true }));

const MIT = 'Copyright Somebody\n\nPermission is hereby granted, free of charge.';

function install(path: string, manifest: object, files: Readonly<Record<string, string>> = {}): void {
  const folder = join(root, 'node_modules', path);
  for (const [name, text] of Object.entries({ 'package.json': JSON.stringify(manifest), ...files })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

/** What esbuild says of a bundle of these files, each with the bytes that are left of it. */
function bundleOf(inputs: Readonly<Record<string, number>>): Metafile {
  const entries = Object.entries(inputs).map(([path, bytesInOutput]) => [path, { bytesInOutput }]);
  return {
    inputs: {},
    outputs: { 'index.mjs': { bytes: 1, inputs: Object.fromEntries(entries), imports: [], exports: [] } },
  };
}

test('finds every package that something is left of, once, and the project itself not', () => {
  install('outer', { name: 'outer', version: '1.0.0', license: 'MIT' }, { LICENSE: MIT });
  install(
    'outer/node_modules/@scope/inner',
    { name: '@scope/inner', version: '2.0.0', license: 'MIT' },
    { licence: MIT },
  );
  install(
    'outer/node_modules/inner',
    { name: 'inner', version: '3.0.0', license: 'ISC' },
    { 'COPYING.md': 'ISC text' },
  );
  install('unused', { name: 'unused', version: '4.0.0' });
  const metafile = bundleOf({
    'lambda/handler.ts': 10,
    'node_modules/outer/index.js': 10,
    'node_modules/outer/lib/deep/more.js': 10,
    'node_modules/outer/node_modules/@scope/inner/index.js': 10,
    'node_modules/outer/node_modules/inner/index.js': 10,
    'node_modules/unused/index.js': 0,
  });

  expect(bundledPackages(metafile, root)).toEqual([
    { name: '@scope/inner', version: '2.0.0', license: 'MIT', text: MIT },
    { name: 'inner', version: '3.0.0', license: 'ISC', text: 'ISC text' },
    { name: 'outer', version: '1.0.0', license: 'MIT', text: MIT },
  ]);
});

test.each<[string, Record<string, string>, object, string]>([
  ['of its licence, and its notice', { LICENSE: 'Licence\r\n', 'NOTICE.txt': 'Notice' }, {}, 'Licence\n\nNotice'],
  ['of its README', { 'README.md': `# Pack\n\nText\n\n## License\n\n${MIT}\n\n## Thanks\n\nText` }, {}, MIT],
  [
    'of MIT-0, which packages need not hold',
    { 'README.md': '## License\n\nSee the LICENSE file.' },
    { license: 'MIT-0', author: { name: 'Somebody' } },
    'MIT No Attribution\n\nCopyright Somebody\n\nPermission is hereby granted, free of charge',
  ],
])('takes the words of a package %s', (_, files, manifest, text) => {
  install('pack', { name: 'pack', version: '1.0.0', license: 'MIT', ...manifest }, files);
  const [found] = bundledPackages(bundleOf({ 'node_modules/pack/index.js': 1 }), root);
  rmSync(join(root, 'node_modules', 'pack'), { recursive: true });

  expect(found?.text.slice(0, text.length)).toBe(text);
  expect(found?.text).not.toContain('Thanks');
});

test.each([
  [{}, 'the licence of odd 1.0.0 must stand in its package.json'],
  [{ license: 'MIT' }, 'the text of the licence MIT of odd 1.0.0 must be in the package, and is not found'],
])('refuses to go on with a package of %j and no more', (manifest, message) => {
  install('odd', { name: 'odd', version: '1.0.0', ...manifest }, { 'README.md': '## License\n\nMIT' });

  expect(() => bundledPackages(bundleOf({ 'node_modules/odd/index.js': 1 }), root)).toThrow(new Error(message));
});

test('writes the words of a licence once for all that have the same', () => {
  const [a, b, c] = [
    { name: 'a', version: '1.0.0', license: 'MIT', text: MIT },
    { name: 'b', version: '2.0.0', license: 'ISC', text: 'ISC text' },
    { name: 'c', version: '3.0.0', license: 'MIT', text: MIT },
  ];
  const line = '-'.repeat(80);

  expect(thirdPartyNotices([a, b, c])).toBe(
    `Code of these packages is part of the function.\n\n${line}\n\n` +
      `a 1.0.0 (MIT)\nc 3.0.0 (MIT)\n\n${MIT}\n\n${line}\n\nb 2.0.0 (ISC)\n\nISC text\n`,
  );
});
