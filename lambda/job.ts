/** One invocation: reads the environment and the event, runs the job, and reports failures. */

import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { type Config, type Environment, isEnabled, type Login, readConfig } from './configuration/environment';
import { type FunctionRequest, readRequest } from './configuration/event';
import type { ConnectionOptions, CredentialSource } from './database/session';
import { IamCredentials } from './iam-credentials';
import { runOptions } from './run/options';
import { logReport, notRunReport, type RunLogger, type RunReport, SWITCHED_OFF } from './run/report';
import { isWhole, SHORTEST_ROUND_MS, windowLeftMs } from './run/rounds';
import { REQUEST_TIMEOUTS, SecretCredentials } from './secret-credentials';
import { TokenCleanupService } from './token-cleanup-service';

/** The failure of a run, for the state machine that invoked it. */
export class RunFailed extends Error {
  override readonly name = 'RunFailed';
}

/** How an entry point of Lambda runs the job. */
interface Invocation {
  /** @throws InvalidInputError if there is none, which is reported */
  readonly environment: () => Environment;
  readonly timeLeftMs: number;
  /** The databases of a run at the most. Its report names the last one as `next` if there are more. */
  readonly mostDatabases?: number;
  readonly logger: RunLogger;
  readonly stage: string;
}

interface Handled {
  readonly report: RunReport;
  /** Empty if the event was not read. */
  readonly request: FunctionRequest;
  /** Whether the run was to sweep all that is configured, or to complete that. */
  readonly complete?: boolean;
  /** Whether the number of rows that it deletes from a table is limited. */
  readonly hasMaxRows?: boolean;
}

/** Runs the job once, as an environment and an event describe it. Never throws: a failure is logged and reported. */
export async function runJob(event: unknown, invocation: Invocation): Promise<Handled> {
  const { logger, stage, mostDatabases } = invocation;
  let request: FunctionRequest = {};
  const notRun = (reason: Parameters<typeof notRunReport>[0]): Handled => {
    const report = notRunReport(reason, runOptions({ stage }, request));
    logReport(logger, report);
    return { report, request };
  };
  const interrupt = new AbortController();
  const onSignal = () => interrupt.abort();
  try {
    const environment = invocation.environment();
    if (!isEnabled(environment)) {
      return notRun(SWITCHED_OFF);
    }
    const config = readConfig(environment);
    request = readRequest(event, config);
    const { tables, dryRun } = request;
    const leftMs = windowLeftMs(request);
    if (leftMs < SHORTEST_ROUND_MS) {
      return notRun({ status: 'skipped', warnings: [`less than a minute is left until ${request.until}`] });
    }
    const timeLeftMs = Math.min(invocation.timeLeftMs, leftMs);
    const complete = isWhole(request) && config.targets.every(({ name }) => tables?.includes(name) ?? true);
    // Lambda sends SIGTERM before it ends a runtime, a person in a terminal SIGINT.
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
    const service = new TokenCleanupService({ ...config, connection: connectionOf(config), stage, logger });
    return {
      report: await service.run({ ...request, timeLeftMs, mostDatabases, signal: interrupt.signal }),
      request,
      complete,
      hasMaxRows: config.maxRows !== undefined && !dryRun,
    };
  } catch (error) {
    return notRun({ status: 'failed', error: (error as Error).message });
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
  }
}

function connectionOf({ login, tls }: Config): ConnectionOptions {
  return {
    credentials: credentialsOf(login),
    trustedCertificates: tls && trustedCertificates(tls.rootCertificates),
  };
}

function credentialsOf(login: Login): CredentialSource {
  if (login.auth === 'iam') {
    return new IamCredentials(login);
  }
  const client = new SecretsManagerClient({ requestHandler: REQUEST_TIMEOUTS });
  return new SecretCredentials(client, login.secretArn, login);
}

/** The certificate authorities of RDS. Lambda's runtime contains the file, and does not load it. */
const LAMBDA_CA_FILE = '/var/runtime/ca-cert.pem';

/** In addition to those of Node.js, which RDS Proxy needs. */
function trustedCertificates(file: string | undefined): string[] {
  try {
    return [...rootCertificates, readFileSync(file ?? LAMBDA_CA_FILE, 'utf8')];
  } catch (cause) {
    if (file === undefined) {
      return [...rootCertificates]; // not on Lambda
    }
    throw new Error(`DB_SSL_ROOT_CERT must be a readable file, got ${JSON.stringify(file)}`, { cause });
  }
}
