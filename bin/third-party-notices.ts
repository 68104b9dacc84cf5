import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Metafile } from 'esbuild';
import { groupedBy } from '../lambda/run/totals';

/** A package whose code is part of a bundle. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** The SPDX identifier from its package.json. */
  readonly license: string;
  /** The full text of the licence, and of the notices that must accompany it. */
  readonly text: string;
}

/**
 * Lists the packages whose code is part of a bundle, by name. Packages that esbuild dropped as unused are not listed.
 *
 * @param root the folder that the paths of the metafile are relative to
 * @throws Error if the licence of a package, or its text, is missing: such a package must not be redistributed
 */
export function bundledPackages({ outputs }: Metafile, root: string): BundledPackage[] {
  const inputs = Object.values(outputs).flatMap((output) => Object.entries(output.inputs));
  const files = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => resolve(root, path));
  // The innermost package of a path. A path without one is the project's own source.
  const folders = files.flatMap((file) => /^.*[/\\]node_modules[/\\](?:@[^/\\]+[/\\])?[^/\\]+/.exec(file) ?? []);
  return [...new Set(folders)]
    .map(readPackage)
    .sort((a, b) => a.name.localeCompare(b.name, 'en') || a.version.localeCompare(b.version, 'en'));
}

/** Formats the notices: packages with the same licence text share one section. */
export function thirdPartyNotices(packages: readonly BundledPackage[]): string {
  const sections = [...groupedBy(packages, ({ text }) => text)].map(([text, group]) => {
    const names = group.map(({ name, version, license }) => `${name} ${version} (${license})`);
    return `${names.join('\n')}\n\n${text}\n`;
  });
  return ['Code of these packages is part of the function.\n', ...sections].join(`\n${'-'.repeat(80)}\n\n`);
}

function readPackage(folder: string): BundledPackage {
  const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (typeof license !== 'string') {
    throw new Error(`the licence of ${name} ${version} must stand in its package.json`);
  }
  const text = textFromFiles(folder) ?? textFromReadme(folder) ?? textOfStandard(license, author?.name ?? author);
  if (text === undefined) {
    throw new Error(
      `the text of the licence ${license} of ${name} ${version} must be in the package, and is not found`,
    );
  }
  return { name, version, license, text: text.replaceAll('\r\n', '\n').trim() };
}

function textFromFiles(folder: string): string | undefined {
  const files = readdirSync(folder).filter((file) => /^(?:licen[cs]e|copying|notice)\b/i.test(file));
  const texts = files.map((file) => readFileSync(join(folder, file), 'utf8').trim());
  return texts.length > 0 ? texts.join('\n\n') : undefined;
}

/** Some packages have the text only in their README, under its own heading. */
function textFromReadme(folder: string): string | undefined {
  const file = join(folder, 'README.md');
  const readme = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const section = readme.split(/^#+ */m).find((part) => /^licen[cs]e\s*\n/i.test(part));
  return section?.includes('Permission is hereby granted') ? section.replace(/^.*\n/, '') : undefined;
}

/** MIT-0 requires no notice, so packages omit its text. */
function textOfStandard(license: string, author: string): string | undefined {
  return license === 'MIT-0' ? `MIT No Attribution\n\nCopyright ${author}\n\n${MIT_0}` : undefined;
}

const MIT_0 = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
