import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { devNull } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import type { RunReport } from '../../lambda/run/report';
import type { RuntimeAnswer, RuntimeMessage } from './lambda-runtime';

export interface Invocation {
  /** The environment of the function, apart from the variables that Lambda's runtime sets. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** @default - none, as if the function was invoked without a payload */
  readonly event?: unknown;
  /**
   * The timeout that the function reads from its context. It is not enforced.
   *
   * @default 900_000, the longest that Lambda allows
   */
  readonly timeLimitMs?: number | undefined;
  /** Called with each line of the log. */
  readonly onLog?: (line: LogLine) => void;
  /** Signals the function to end, as Lambda does before it shuts down a runtime. */
  readonly interrupt?: AbortSignal;
}

/** A line of the log: a record of Powertools, metrics in the embedded metric format, or plain text as a `message` alone. */
export interface LogLine {
  readonly level?: string;
  readonly message?: string;
  readonly [key: string]: unknown;
}

export interface InvocationResult {
  /** The value that the handler returned. */
  readonly report: RunReport;
  readonly logs: readonly LogLine[];
}

/** The handler threw. */
export class FunctionError extends Error {
  override readonly name = 'FunctionError';

  constructor(
    readonly errorType: string,
    message: string,
    readonly logs: readonly LogLine[],
  ) {
    super(message);
  }
}

export const LAMBDA_TIME_LIMIT_MS = 900_000;

/**
 * Invokes the function of `lambda/handler.ts` once, in a process of its own as on Lambda, and captures its log.
 *
 * The function inherits only the variables that a program needs to start: a `DB_HOST`, a `PGHOST` or an `AWS_PROFILE` that
 * happens to be set in a shell must not decide where rows are deleted.
 *
 * @throws FunctionError if the handler throws
 * @throws Error with the output of the process if it ends without an answer
 */
export async function invoke(invocation: Invocation): Promise<InvocationResult> {
  const { environment, event, timeLimitMs = LAMBDA_TIME_LIMIT_MS, onLog, interrupt } = invocation;
  const runtime = fork(join(__dirname, 'lambda-runtime.ts'), {
    execArgv: ['--import', pathToFileURL(require.resolve('tsx')).href],
    env: { ...inherited(), ...RUNTIME_ENVIRONMENT, ...environment },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // A Ctrl-C reaches every process of the terminal's group. This one gets a message instead, once it listens.
    detached: true,
    ...{ windowsHide: true }, // a detached process opens a window on Windows; passed on to spawn, which the types lack
  });
  const send = (message: RuntimeMessage) => runtime.connected && runtime.send(message, () => {});
  const onInterrupt = () => send({ signal: 'SIGINT' });
  const kill = () => runtime.kill('SIGKILL');
  process.once('exit', kill);
  interrupt?.addEventListener('abort', onInterrupt);
  try {
    send({ event, timeLimitMs });
    if (interrupt?.aborted) {
      onInterrupt();
    }
    return await resultOf(runtime, onLog);
  } finally {
    process.off('exit', kill);
    interrupt?.removeEventListener('abort', onInterrupt);
  }
}

async function resultOf(runtime: ChildProcess, onLog?: (line: LogLine) => void): Promise<InvocationResult> {
  const logs: LogLine[] = [];
  let answer: RuntimeAnswer | undefined;
  runtime.on('message', (message: RuntimeAnswer) => {
    answer = message;
  });
  const onLine = (text: string) => {
    const line = parseLine(text);
    logs.push(line);
    onLog?.(line);
  };
  // Powertools writes warnings and errors to stderr. On Lambda both end up in the same log.
  const streams = [runtime.stdout, runtime.stderr].map((stream) =>
    once(createInterface({ input: stream as Readable }).on('line', onLine), 'close'),
  );
  const [[exitCode, signal]] = await Promise.all([once(runtime, 'close'), ...streams]);
  if (!answer) {
    const output = logs.map((line) => line.message ?? JSON.stringify(line)).join('\n');
    throw new Error(`the function ended without an answer (${signal ?? `exit code ${exitCode}`})\n${output}`);
  }
  if ('errorType' in answer) {
    throw new FunctionError(answer.errorType, answer.errorMessage, logs);
  }
  return { report: answer.report, logs };
}

/** Variables for the places of programs, of temporary files, and of the certificates of a company's network. */
const INHERITED = ['PATH', 'HOME', 'USERPROFILE', 'TMPDIR', 'TEMP', 'TMP', 'SystemRoot', 'NODE_EXTRA_CA_CERTS'];

function inherited(): Record<string, string | undefined> {
  return Object.fromEntries(INHERITED.map((name) => [name, process.env[name]]));
}

const RUNTIME_ENVIRONMENT: Readonly<Record<string, string>> = {
  TZ: 'UTC', // as Lambda has it
  POWERTOOLS_LOG_LEVEL: 'DEBUG', // with the lines of progress
  // Ignores the developer's own accounts and endpoints.
  AWS_CONFIG_FILE: devNull,
  AWS_SHARED_CREDENTIALS_FILE: devNull,
  // Silences a warning about the Node.js of this machine, which is not the function's.
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
};

function parseLine(text: string): LogLine {
  try {
    const line: unknown = JSON.parse(text);
    if (typeof line === 'object' && line !== null) {
      return line as LogLine;
    }
  } catch {
    // Such as a stack trace of Node.js.
  }
  return { message: text };
}
