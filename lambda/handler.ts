import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { Context } from 'aws-lambda';
import { type Config, identityOf, isEnabled, type Login, readConfig } from './configuration/environment';
import { executionOf, type FunctionRequest, readRequest } from './configuration/event';
import type { ConnectionOptions, CredentialSource } from './database/session';
import { IamCredentials } from './iam-credentials';
import { emitReport, METRIC_NAMESPACE } from './metrics';
import { logReport, type RunLogger, type RunReport } from './report';
import { type Answer, answerOf, isWhole, SHORTEST_ROUND_MS, windowLeftMs } from './rounds';
import { REQUEST_TIMEOUTS, SecretCredentials } from './secret-credentials';
import { TokenCleanupService } from './token-cleanup-service';

/**
 * Entry point of Lambda. A failure is logged, counted and returned, not thrown: Lambda would repeat the run.
 *
 * @throws RunFailed only if a state machine invokes the function and this was its last round, after the failure was logged
 * and counted: a state machine can see and redrive no other failure
 */
export async function handler(
  event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<RunReport | Answer> {
  const { stage, service } = identityOf(process.env);
  const execution = executionOf(event);
  const logger = new Logger({
    serviceName: service,
    persistentLogAttributes: { stage, ...(execution !== undefined && { execution }) },
  });
  const metrics = new Metrics({ namespace: METRIC_NAMESPACE, serviceName: service });
  const { report, request = {}, complete = true } = await run(event, context, logger, stage);
  try {
    emitReport(metrics, report, complete);
  } catch (error) {
    logger.error('the metrics could not be emitted', error as Error);
  }
  if (execution === undefined) {
    return report;
  }
  const answer = answerOf(report, request);
  if (answer.rounds.error !== undefined && answer.again === undefined) {
    throw new RunFailed(report.status === 'failed' ? answer.error : `an earlier round failed: ${answer.rounds.error}`);
  }
  return answer;
}

/** The failure of a run, for the state machine that invoked it. */
class RunFailed extends Error {
  override readonly name = 'RunFailed';
}

interface Handled {
  readonly report: RunReport;
  readonly request?: FunctionRequest;
  /** Whether the run was to sweep all that is configured, or to complete that. */
  readonly complete?: boolean;
}

async function run(
  event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
  logger: RunLogger,
  stage: string,
): Promise<Handled> {
  const notRun = (reason: Pick<RunReport, 'status' | 'error' | 'warnings'>): { readonly report: RunReport } => {
    const report = { ...reason, stage, dryRun: false, rowsDeleted: 0, durationMs: 0, targets: [] };
    logReport(logger, report);
    return { report };
  };
  const interrupt = new AbortController();
  const onSignal = () => interrupt.abort();
  try {
    if (!isEnabled(process.env)) {
      return notRun({ status: 'skipped', warnings: ['NODE_ENV is test, where the job does not run'] });
    }
    const config = readConfig(process.env);
    const request = readRequest(event, config);
    const timeLeftMs = Math.min(context.getRemainingTimeInMillis(), windowLeftMs(request));
    if (windowLeftMs(request) < SHORTEST_ROUND_MS) {
      return {
        ...notRun({ status: 'skipped', warnings: [`less than a minute is left until ${request.until}`] }),
        request,
      };
    }
    const complete = isWhole(request) && config.targets.every(({ name }) => request.tables?.includes(name) ?? true);
    // Lambda sends SIGTERM before it ends a runtime, a person in a terminal SIGINT.
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
    const service = new TokenCleanupService({ ...config, connection: connectionOf(config), stage, logger });
    return { report: await service.run({ ...request, timeLeftMs, signal: interrupt.signal }), request, complete };
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
    throw new Error(`DB_SSL_ROOT_CERT must be a file that can be read, got ${JSON.stringify(file)}`, { cause });
  }
}
