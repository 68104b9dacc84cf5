import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { CRONTAB_VARIABLE } from '../../lib/stage/stage-config';
import type { StageConfig } from '../../lib/stage/stage-schema';
import type { Emulator } from './emulator';

/** The files that `npm ci` and `cdk deploy` read. A clone has more, but must not need more. */
const FILES = ['bin', 'lambda', 'lib', 'cdk.json', 'package.json', 'package-lock.json', 'tsconfig.json'];

export interface Deployment {
  /** `REFRESH_TOKEN_CLEANUP_CRON` in the environment of the CLI; not set when undefined. */
  readonly crontab?: string;
}

/** A clone of this project whose owner has filled in the stages of `cdk.json`. */
export class Project {
  readonly directory: string;
  readonly #emulator: Emulator;

  constructor(directory: string, emulator: Emulator) {
    this.directory = join(directory, 'token-cleanup');
    this.#emulator = emulator;
    mkdirSync(this.directory);
    for (const file of FILES) {
      cpSync(resolve(file), join(this.directory, file), { recursive: true });
    }
    // Those that `npm ci` has installed here; another installation of the same would take as long as all of the rest.
    symlinkSync(resolve('node_modules'), join(this.directory, 'node_modules'), 'dir');
  }

  /** The stages as the project holds them in `cdk.json`. */
  get stages(): Readonly<Record<string, StageConfig>> {
    return this.#cdkJson.context.stages;
  }

  fillIn(stages: Readonly<Record<string, StageConfig>>): void {
    const { context, ...rest } = this.#cdkJson;
    writeFileSync(
      join(this.directory, 'cdk.json'),
      JSON.stringify({ ...rest, context: { ...context, stages } }, undefined, 2),
    );
  }

  /** `npx cdk deploy`, and what it said. */
  async deploy(stage: string, { crontab }: Deployment = {}): Promise<string> {
    return await this.cdk(
      ['deploy', '-c', `stage=${stage}`, '--require-approval', 'never', '--progress', 'events'],
      crontab === undefined ? {} : { [CRONTAB_VARIABLE]: crontab },
    );
  }

  async destroy(stage: string): Promise<string> {
    return await this.cdk(['destroy', '-c', `stage=${stage}`, '--force']);
  }

  /** @throws Error with what the CLI said, when it fails */
  async cdk(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<string> {
    const child = spawn('npx', ['cdk', ...args, '--no-notices'], {
      cwd: this.directory,
      // Nothing of this shell, above all no AWS_PROFILE that leads to a real account.
      env: {
        PATH: process.env.PATH,
        HOME: this.directory,
        CI: 'true',
        CDK_DISABLE_CLI_TELEMETRY: 'true',
        AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
        ...this.#emulator.environment,
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // In a group of its own, so that all that it starts can be ended with it.
      detached: true,
    });
    const kill = () => child.pid && process.kill(-child.pid, 'SIGKILL');
    process.once('exit', kill);
    try {
      const [stdout, stderr, [exitCode]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'close'),
      ]);
      if (exitCode !== 0) {
        throw new Error(`npx cdk ${args.join(' ')} failed:\n${stdout}${stderr}\n${this.#emulator.log}`);
      }
      return stdout + stderr;
    } finally {
      process.off('exit', kill);
    }
  }

  get #cdkJson() {
    return JSON.parse(readFileSync(join(this.directory, 'cdk.json'), 'utf8')) as {
      readonly context: { readonly stages: Readonly<Record<string, StageConfig>> };
    };
  }
}
