import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, get } from 'node:https';
import { devNull } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { freePort } from '../../bin/local/embedded-postgres';
import { eventually } from '../support/eventually';
import type { Keys } from '../support/rds-token';
import type { Certificate } from './certificate';
import { PythonEnvironment } from './python';

/** Not the account of AWS's own examples, by which the synth recognises a stage that is not filled in. */
export const ACCOUNT = '210987654321';
export const REGION = 'eu-central-1';

/** The answer of an API. */
// biome-ignore lint/suspicious/noExplicitAny: each API says something else; what a test reads from it, it compares
export type Description = Record<string, any>;

/** The configuration of clients of the emulator, for the constructors of the SDK. */
export interface ClientOptions {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly requestHandler: { readonly httpsAgent: Agent };
}

/** The root user, by whom an account begins: MiniStack takes the number of the account for the key of its root. */
const ROOT = { accessKeyId: ACCOUNT, secretAccessKey: 'root' };

/** A run on a server that is down ends with the time limit of the function. */
export const PATIENCE = { patienceMs: 240_000, intervalMs: 500 };

/** The APIs of AWS in a process of their own, with nothing in the account. */
export class Emulator {
  readonly url: string;
  readonly #python: string;
  readonly #process: ChildProcess;
  readonly #certificate: Certificate;
  readonly #agent: Agent;
  #log = '';

  private constructor(python: string, process: ChildProcess, url: string, certificate: Certificate) {
    this.#python = python;
    this.#process = process;
    this.url = url;
    this.#certificate = certificate;
    this.#agent = new Agent({ ca: certificate.cert, keepAlive: true });
    for (const stream of [process.stdout, process.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#log = (this.#log + chunk.toString()).slice(-20_000);
      });
    }
  }

  /** @param directory for its files, and those of the functions that it runs */
  static async start(directory: string, certificate: Certificate): Promise<Emulator> {
    const { python } = await PythonEnvironment.of('requirements.txt');
    const port = await freePort();
    const home = join(directory, 'emulator');
    mkdirSync(home);
    const child = spawn(python, [join(__dirname, 'emulator.py')], {
      cwd: home,
      // Functions inherit this environment, so there is nothing of this shell in it.
      env: {
        PATH: process.env.PATH,
        HOME: home,
        TMPDIR: home,
        GATEWAY_PORT: String(port),
        MINISTACK_HOST: '127.0.0.1',
        MINISTACK_REGION: REGION,
        AWS_ACCESS_KEY_ID: ROOT.accessKeyId,
        AWS_SECRET_ACCESS_KEY: ROOT.secretAccessKey,
        // IAM is enforced: a function may do what its role may. And so are policies that want TLS.
        AUTH: 'true',
        USE_SSL: '1',
        MINISTACK_SSL_CERT: certificate.certFile,
        MINISTACK_SSL_KEY: certificate.keyFile,
        ...trustOf(certificate),
        // Functions run as processes of this machine, and a Docker that it may have is left alone.
        LAMBDA_EXECUTOR: 'local',
        DOCKER_HOST: `unix://${join(home, 'no-docker')}`,
        SFTP_ENABLED: '0',
        IOT_MTLS_ENABLED: '0',
        AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    process.once('exit', () => child.kill('SIGKILL'));
    const emulator = new Emulator(python, child, `https://127.0.0.1:${port}`, certificate);
    try {
      await emulator.#ready();
      return emulator;
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Creates a client of the SDK that talks to the emulator as the account's root. */
  client<Client>(kind: new (options: ClientOptions) => Client): Client {
    return new kind({
      endpoint: this.url,
      region: REGION,
      credentials: ROOT,
      requestHandler: { httpsAgent: this.#agent },
    });
  }

  /** The environment of a program that is not made for emulators, such as the CDK's CLI. */
  get environment(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL: this.url,
      AWS_REGION: REGION,
      AWS_DEFAULT_REGION: REGION, // the SDK for Python knows only this one
      AWS_ACCESS_KEY_ID: ROOT.accessKeyId,
      AWS_SECRET_ACCESS_KEY: ROOT.secretAccessKey,
      AWS_CONFIG_FILE: devNull,
      AWS_SHARED_CREDENTIALS_FILE: devNull,
      AWS_EC2_METADATA_DISABLED: 'true',
      ...trustOf(this.#certificate),
    };
  }

  /** Runs a module of Python, such as those that come along with it. */
  async python(...args: readonly string[]): Promise<string> {
    const env = { PATH: process.env.PATH, AWS_CA_BUNDLE: this.#certificate.certFile, ...this.environment };
    return (await promisify(execFile)(this.#python, args, { env })).stdout;
  }

  /** The content of an address that it returned, which it serves without TLS. */
  async download(location: string): Promise<Buffer> {
    const request = get(location.replace(/^http:/, 'https:'), { agent: this.#agent });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return await buffer(response);
  }

  /** Asks through the SDK for Python, of which the emulator's environment holds every client. */
  async ask(service: string, operation: string, parameters: object = {}): Promise<Description> {
    return JSON.parse(await this.python(join(__dirname, 'ask.py'), service, operation, JSON.stringify(parameters)));
  }

  /** Waits for the end of an execution of a state machine. */
  async endOf(executionArn: string): Promise<Description> {
    const ended = async () => {
      const answer = await this.ask('stepfunctions', 'describe_execution', { executionArn });
      return answer.status !== 'RUNNING' && { ...answer, output: JSON.parse(answer.output || '{}') };
    };
    return await eventually(ended, { what: `the end of ${executionArn}`, ...PATIENCE });
  }

  /** The last lines that the emulator wrote. */
  get log(): string {
    return this.#log;
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      this.#process.stdin?.end();
      await ended;
    }
  }

  async #ready(): Promise<void> {
    await new Promise<void>((ready, failed) => {
      const fail = () => failed(new Error(`the emulator did not start:\n${this.#log}`));
      this.#process.once('error', fail);
      this.#process.once('exit', fail);
      for (const stream of [this.#process.stdout, this.#process.stderr]) {
        stream?.on('data', () => this.#log.includes('Running on https://') && ready());
      }
    });
  }
}

/** The keys that a function finds in its environment: MiniStack makes them from who it is, and lets no API tell them. */
export function keysOf(functionArn: string, roleArn: string): Keys {
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
  const digest = sha256(`${functionArn}:${roleArn}`);
  return {
    accessKeyId: `ASIA${digest.slice(0, 16).toUpperCase()}`,
    secretAccessKey: sha256(`secret:${digest}`),
    sessionToken: sha256(`token:${digest}`),
  };
}

/** Makes Node.js trust a certificate in addition to its own. */
function trustOf({ certFile }: Certificate): Record<string, string> {
  return { NODE_EXTRA_CA_CERTS: certFile };
}
