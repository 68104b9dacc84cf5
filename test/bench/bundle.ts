import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { SecretsEndpoint } from '../../bin/local/secrets-endpoint';
import type { SweepProgress } from '../../lambda/engine/pass';
import type { RunReport } from '../../lambda/run/report';

export interface BundledRun {
  readonly report: RunReport;
  /** The most memory that the process held, Node.js and all. */
  readonly peakBytes: number;
  /** How far it was at what time. */
  readonly progress: readonly Progress[];
}

export interface Progress extends SweepProgress {
  readonly atMs: number;
}

/** The function as the stack deploys it, in a folder of its own, run by plain Node.js. */
export class Bundle {
  readonly #directory = mkdtempSync(join(tmpdir(), 'token-cleanup-bench-'));
  readonly #code: string;
  readonly #running = new Set<() => void>();

  private constructor() {
    process.once('exit', () => this.remove());
    this.#code = join(this.#directory, 'code');
  }

  /** Has the CDK app bundle it, so that what is measured is what is deployed. */
  static async make(): Promise<Bundle> {
    const bundle = new Bundle();
    const { context } = JSON.parse(readFileSync(resolve('cdk.json'), 'utf8')) as { context: object };
    const env = { PATH: process.env.PATH, HOME: process.env.HOME };
    await promisify(execFile)(process.execPath, ['--import', tsx(), 'bin/app.ts'], {
      env: { ...env, CDK_OUTDIR: bundle.#code, CDK_CONTEXT_JSON: JSON.stringify(context) },
    });
    writeFileSync(join(bundle.#directory, 'empty.mjs'), '');
    writeFileSync(join(bundle.#directory, 'invoke.mjs'), INVOKE);
    writeFileSync(join(bundle.#directory, 'import.mjs'), IMPORT);
    return bundle;
  }

  remove(): void {
    for (const kill of this.#running) {
      kill();
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get bytes(): number {
    return readFileSync(this.#entry).length;
  }

  get zippedBytes(): number {
    // An archive adds its directory to what is compressed: three headers, two of which hold the name.
    return deflateRawSync(readFileSync(this.#entry), { level: 9 }).length + 30 + 46 + 22 + 2 * 'index.mjs'.length;
  }

  /** The time that a fresh process takes to import the function; without it, to import an empty module. */
  async importMs(what: 'function' | 'nothing'): Promise<number> {
    const file = what === 'function' ? this.#entry : join(this.#directory, 'empty.mjs');
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(this.#directory, 'import.mjs'), pathToFileURL(file).href],
      { env: ENVIRONMENT },
    );
    return Number(stdout);
  }

  /** Invokes the function once, in a process of its own, on the database that the URL leads to. */
  async invoke(event: object, url: string, signal?: AbortSignal): Promise<BundledRun> {
    const { hostname: host, port, pathname, username, password } = new URL(url);
    const secrets = await SecretsEndpoint.start();
    secrets.put(SECRET_ARN, JSON.stringify({ username, password, host, port, dbname: pathname.slice(1) }));
    try {
      return await this.#invoke(
        event,
        { ...ENVIRONMENT, ...secrets.environment, DB_SECRET_ARN: SECRET_ARN, DB_SSL_MODE: 'disable' },
        signal,
      );
    } finally {
      await secrets.stop();
    }
  }

  async #invoke(event: object, env: NodeJS.ProcessEnv, signal?: AbortSignal): Promise<BundledRun> {
    const child = fork(join(this.#directory, 'invoke.mjs'), [pathToFileURL(this.#entry).href, JSON.stringify(event)], {
      execArgv: [],
      env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const kill = () => child.kill('SIGKILL');
    const interrupt = () => child.kill('SIGINT');
    this.#running.add(kill);
    signal?.addEventListener('abort', interrupt);
    const progress: Progress[] = [];
    createInterface({ input: child.stdout as Readable }).on('line', (line) => {
      const record = line.startsWith('{') ? JSON.parse(line) : {};
      if (record.progress) {
        progress.push({ ...record.progress, atMs: Date.parse(record.timestamp) });
      }
    });
    let complaints = '';
    child.stderr?.on('data', (chunk) => {
      complaints += chunk;
    });
    let answer: Omit<BundledRun, 'progress'> | undefined;
    child.on('message', (message) => {
      answer = message as typeof answer;
    });
    await once(child, 'close');
    signal?.removeEventListener('abort', interrupt);
    this.#running.delete(kill);
    if (!answer) {
      throw new Error(`the function did not answer\n${complaints}`);
    }
    return { ...answer, progress };
  }

  get #entry(): string {
    const asset = readdirSync(this.#code).find((name) => /^asset\.[0-9a-f]+$/.test(name));
    if (!asset) {
      throw new Error('the stack holds no bundle');
    }
    return join(this.#code, asset, 'index.mjs');
  }
}

/** Nothing of this shell decides what the function does. */
const ENVIRONMENT = {
  PATH: process.env.PATH,
  TZ: 'UTC',
  // On Lambda's own Node.js there is nothing to warn of.
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  POWERTOOLS_LOG_LEVEL: 'DEBUG', // with the lines of progress
};

const SECRET_ARN = 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:bench-000000';

const IMPORT = `
  const startedAt = performance.now();
  await import(process.argv[2]);
  process.stdout.write(String(performance.now() - startedAt));`;

// maxRSS is in kilobytes on every system. The time that is left is more than any measurement takes.
const INVOKE = `
  const { handler } = await import(process.argv[2]);
  const report = await handler(JSON.parse(process.argv[3]), { getRemainingTimeInMillis: () => 36e5 });
  process.send({ report, peakBytes: process.resourceUsage().maxRSS * 1024 }, () => process.exit());`;

function tsx(): string {
  return pathToFileURL(require.resolve('tsx')).href;
}
