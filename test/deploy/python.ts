import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The version that the emulator of AWS, Django and the CDK require. */
const OLDEST = [3, 10] as const;

/** The packages of requirements, in an environment of their own that is kept for the next time. */
export class PythonEnvironment {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Installs what a file of requirements names, unless that was done before by the same Python.
   *
   * @param requirements a path from this folder
   *
   * @throws Error that names the requirement that this machine lacks
   */
  static async of(requirements: string): Promise<PythonEnvironment> {
    const file = join(__dirname, requirements);
    const { python, version } = await findPython();
    const hash = createHash('sha256').update(version).update(readFileSync(file)).digest('hex').slice(0, 12);
    const directory = resolve('.venv', hash);
    if (!existsSync(directory)) {
      // Created elsewhere and renamed, so that a folder of this name is complete. Its programs contain their old path, so they
      // are not used.
      const unfinished = `${directory}.${process.pid}`;
      try {
        await explained('python3 -m venv', run(python, ['-m', 'venv', unfinished]), VENV_HINT);
        const pip = [join(unfinished, BIN), '-m', 'pip', 'install', ...QUICKLY] as const;
        await explained(`pip install -r ${requirements}`, run(pip[0], [...pip.slice(1), '-r', file]), PIP_HINT);
        renameSync(unfinished, directory);
      } finally {
        rmSync(unfinished, { recursive: true, force: true });
      }
    }
    return new PythonEnvironment(directory);
  }

  get python(): string {
    return join(this.#directory, BIN);
  }
}

const BIN = process.platform === 'win32' ? 'Scripts\\python.exe' : 'bin/python';
/** Without compiling all modules: Python does that when it first loads one, and most are never loaded. */
const QUICKLY = ['--quiet', '--disable-pip-version-check', '--no-compile'] as const;
const VENV_HINT = 'Some systems have the module in a package of its own, such as python3-venv.';
const PIP_HINT = 'A package index has to be within reach the first time.';

async function findPython(): Promise<{ readonly python: string; readonly version: string }> {
  const found: string[] = [];
  for (const python of ['python3', 'python']) {
    try {
      const { stdout } = await run(python, ['-c', 'import sys; print(*sys.version_info[:3], sys.executable)']);
      const version = stdout.trim();
      const [major = 0, minor = 0] = version.split(' ').map(Number);
      if (major === OLDEST[0] && minor >= OLDEST[1]) {
        return { python, version };
      }
      found.push(`${python} is ${version.split(' ').slice(0, 3).join('.')}`);
    } catch {
      found.push(`${python} does not run`);
    }
  }
  throw new Error(
    `Python ${OLDEST.join('.')} or newer must be on the PATH, for the emulator of AWS, Django or the CDK: ${found.join(', ')}`,
  );
}

async function explained(what: string, done: Promise<unknown>, hint: string): Promise<void> {
  try {
    await done;
  } catch (error) {
    const { stderr, stdout } = error as { stderr?: string; stdout?: string };
    throw new Error(`${what} failed: ${(stderr || stdout || String(error)).trim()}\n${hint}`, { cause: error });
  }
}
