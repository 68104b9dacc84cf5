import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';

/** Chromium as a package of npm, which is compressed in it. Not a dependency, since only this test needs its 75 MB. */
const PACKAGE = '@sparticuz/chromium';
const VERSION = '153.0.0';

/** The parts of the package that are used here. */
interface Packaged {
  readonly args: string[];
  executablePath(): Promise<string>;
}

/** Opens headless Chromium. Its package is kept for the next time. Other machines need Chrome, since it is for Linux on x64. */
export async function openBrowser(): Promise<Browser> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return await chromium.launch({ channel: 'chrome' });
  }
  const directory = resolve('.venv', `chromium-${VERSION}`);
  if (!existsSync(directory)) {
    // Somewhere else first, so that a folder of this name is whole.
    const unfinished = `${directory}.${process.pid}`;
    mkdirSync(unfinished, { recursive: true });
    try {
      const install = ['install', '--prefix', unfinished, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund'];
      await promisify(execFile)('npm', [...install, `${PACKAGE}@${VERSION}`]);
      renameSync(unfinished, directory);
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
  }
  const entry = join(directory, 'node_modules', PACKAGE, 'build', 'index.js');
  const { default: packaged } = (await import(pathToFileURL(entry).href)) as { readonly default: Packaged };
  const temporary = process.env.TMPDIR;
  // It is unpacked into the folder for temporary files, whatever is there already.
  process.env.TMPDIR = directory;
  try {
    return await chromium.launch({ executablePath: await packaged.executablePath(), args: packaged.args });
  } finally {
    if (temporary === undefined) {
      delete process.env.TMPDIR;
    } else {
      process.env.TMPDIR = temporary;
    }
  }
}
