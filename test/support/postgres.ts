import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { EmbeddedPostgres, type EmbeddedPostgresOptions, packageName } from '../../bin/local/embedded-postgres';

const run = promisify(execFile);

/** The releases besides the newest one, which is a dependency. */
const RELEASES: Readonly<Record<string, string>> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
};
const NEWEST = 18;
const CACHE = resolve('node_modules/.cache/token-cleanup-postgres');

/** The major version that the tests run on: `TEST_POSTGRES=14 npm test` picks one, the default is the installed one. */
export const POSTGRES_VERSION = readVersion(process.env.TEST_POSTGRES);

/** The data directory that servers start with, since a copy takes a tenth of the time of `initdb`; and the binaries. */
const TEMPLATE = 'TEST_POSTGRES_TEMPLATE';
const BINARIES = 'TEST_POSTGRES_BINARIES';

/** Starts a server of the tested version. */
export function startPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const packageDirectory = process.env[BINARIES] ?? directoryOf(POSTGRES_VERSION);
  const template = process.env[TEMPLATE];
  return EmbeddedPostgres.start({
    ...inMemory(),
    ...(template && { initialize: async (directory) => void (await run('cp', ['-Rp', template, directory])) }),
    ...options,
    ...(packageDirectory && { packageDirectory }),
  });
}

/** Runs a statement in a database of a server. */
export async function queryIn(server: EmbeddedPostgres, database: string, text: string): Promise<unknown[]> {
  const client = new Client(server.url(database));
  await client.connect();
  try {
    return (await client.query(text)).rows.map((row) => Object.values(row)[0]);
  } finally {
    await client.end();
  }
}

/** Each database is 300 files, and some disks take half a second to create them. */
function inMemory(): { readonly folder?: string } {
  const folder = '/dev/shm';
  if (!existsSync(folder)) {
    return {};
  }
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize > ROOM ? { folder } : {};
}

/** All servers that run at the same time take less than 3 GB. */
const ROOM = 4e9;

/** Jest calls this before the first test. */
export default async function prepare(): Promise<void> {
  await installPostgres();
  // Removed when this process exits.
  const server = await startPostgres();
  await server.stop();
  process.env[TEMPLATE] = server.dataDirectory;
  process.env[BINARIES] = server.packageDirectory;
}

/**
 * Downloads the binaries of the tested version, once. As dependencies, four more versions would add 120 MB to every
 * `npm ci`, and a package for each platform to the lock file.
 */
async function installPostgres(): Promise<void> {
  const directory = directoryOf(POSTGRES_VERSION);
  if (!directory || existsSync(directory)) {
    return;
  }
  mkdirSync(CACHE, { recursive: true });
  // Two runs of the tests may download at the same time; the folder appears when it is complete.
  const download = mkdtempSync(join(CACHE, 'download-'));
  try {
    const release = `${packageName()}@${RELEASES[POSTGRES_VERSION]}`;
    const flags = ['--ignore-scripts', '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
    // A project of its own, so that npm does not install it into this one.
    await run('npm', ['install', '--prefix', download, ...flags, release]);
    renameSync(download, join(CACHE, String(POSTGRES_VERSION)));
  } catch (error) {
    if (!existsSync(directory)) {
      throw error;
    }
  } finally {
    rmSync(download, { recursive: true, force: true });
  }
}

/** @throws Error where no binaries of the version are known */
function readVersion(version = String(NEWEST)): number {
  const versions = [...Object.keys(RELEASES), String(NEWEST)];
  if (!versions.includes(version)) {
    throw new Error(`TEST_POSTGRES must be one of ${versions.join(', ')}, got ${JSON.stringify(version)}`);
  }
  return Number(version);
}

function directoryOf(version: number): string | undefined {
  return version === NEWEST ? undefined : join(CACHE, String(version), 'node_modules', packageName());
}
