import { Duration, TimeZone } from 'aws-cdk-lib';
import { given } from './given';
import type { SslMode } from './login';
import type { DatabaseConfig } from './stage/database-config';
import type { FleetConfig } from './stage/fleet-config';
import type { StageConfig } from './stage/stage-schema';

/** The props that come from the stage itself: the schedule, and the resources of the function. */
export function settingsOfStage(config: StageConfig) {
  const { timeZone, flexibleWindowMinutes, timeoutSeconds } = config;
  return given({
    enabled: config.enabled,
    schedule: config.schedule,
    timeZone: timeZone === undefined ? undefined : TimeZone.of(timeZone),
    flexibleWindow: flexibleWindowMinutes === undefined ? undefined : Duration.minutes(flexibleWindowMinutes),
    continueUntil: config.continueUntil,
    nodeEnv: config.nodeEnv,
    timeout: timeoutSeconds === undefined ? undefined : Duration.seconds(timeoutSeconds),
    memorySize: config.memoryMb,
    reservedConcurrentExecutions: config.reservedConcurrency,
    tracing: config.tracing,
    logRetention: config.logRetentionDays,
  });
}

/** The props that databases and fleets have in common: the encryption of connections, and the pace. */
export function connectionSettings(config: DatabaseConfig | FleetConfig) {
  const { maxReplicaLagSeconds } = config;
  return given({
    sslMode: config.sslMode as SslMode | undefined,
    rootCertificates: config.rootCertificates,
    concurrency: config.concurrency,
    maxLoad: config.maxLoad,
    maxRows: config.maxRows,
    maxReplicaLag: maxReplicaLagSeconds === undefined ? undefined : Duration.seconds(maxReplicaLagSeconds),
  });
}
