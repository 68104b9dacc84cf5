import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { Context } from 'aws-lambda';
import { type Config, identityOf, isEnabled, type Login, readConfig } from './configuration/environment';
import { readRequest } from './configuration/event';
import type { ConnectionOptions, CredentialSource } from './database/session';
import { IamCredentials } from './iam-credentials';
import { emitReport, METRIC_NAMESPACE } from './metrics';
import { logReport, type RunLogger, type RunReport } from './report';
import { REQUEST_TIMEOUTS, SecretCredentials } from './secret-credentials';
import { TokenCleanupService } from './token-cleanup-service';

/** Entry point of Lambda. Never throws: Lambda would repeat the run. A failure is logged, counted and returned instead. */
export async function handler(event: unknown, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<RunReport> {
  const { stage, service } = identityOf(process.env);
  const logger = new Logger({ serviceName: service, persistentLogAttributes: { stage } });
  const metrics = new Metrics({ namespace: METRIC_NAMESPACE, serviceName: service });
  const { report, complete } = await run(event, context, logger, stage);
  try {
    emitReport(metrics, report, complete);
  } catch (error) {
    logger.error('the metrics could not be emitted', error as Error);
  }
  return report;
}

async function run(
  event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
  logger: RunLogger,
  stage: string,
): Promise<{ readonly report: RunReport; readonly complete: boolean }> {
  const notRun = { stage, dryRun: false, rowsDeleted: 0, durationMs: 0, targets: [] };
  const interrupt = new AbortController();
  const onSignal = () => interrupt.abort();
  try {
    if (!isEnabled(process.env)) {
      const report = {
        status: 'skipped',
        ...notRun,
        warnings: ['NODE_ENV is test, where the job does not run'],
      } as const;
      logReport(logger, report);
      return { report, complete: true };
    }
    const config = readConfig(process.env);
    const request = readRequest(event, config);
    const complete =
      request.after === undefined && config.targets.every(({ name }) => request.tables?.includes(name) ?? true);
    // Lambda sends SIGTERM before it ends a runtime, a person in a terminal SIGINT.
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
    const service = new TokenCleanupService({ ...config, connection: connectionOf(config), stage, logger });
    const timeLeftMs = context.getRemainingTimeInMillis();
    return { report: await service.run({ ...request, timeLeftMs, signal: interrupt.signal }), complete };
  } catch (error) {
    const report = { status: 'failed', ...notRun, error: (error as Error).message } as const;
    logReport(logger, report);
    return { report, complete: true };
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
