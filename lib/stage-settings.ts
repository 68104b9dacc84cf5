/** The props of the constructs, from a stage of cdk.json. */

import { Duration, TimeZone } from 'aws-cdk-lib';
import { SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { SERVICE } from '../lambda/configuration/settings';
import type { DatabasePattern } from './function/function-environment';
import { given } from './given';
import type { SslMode } from './login';
import type { DatabaseConfig } from './stage/database-config';
import type { FleetConfig } from './stage/fleet-config';
import type { StageConfig } from './stage/stage-schema';
import type { CleanupTarget } from './target';

/** The props that databases and fleets have in common. */
export function commonProps(
  scope: Construct,
  stage: string,
  name: string,
  { timeZone, flexibleWindowMinutes, timeoutSeconds, ...config }: StageConfig,
  { securityGroupId, maxReplicaLagSeconds, ...place }: DatabaseConfig | FleetConfig,
) {
  const mutable = 'addIngressRule' in place && place.addIngressRule === true;
  return {
    stage,
    // An underscore, since neither name contains one: prod and eu-auth must not meet prod-eu and auth.
    functionName: `token-cleanup-${stage}_${name}`,
    // With the name even if there is only one database, so that a second one does not rename the metrics of the first.
    serviceName: `${SERVICE}-${name}`,
    ...given({
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
      sslMode: place.sslMode as SslMode | undefined,
      rootCertificates: place.rootCertificates,
      concurrency: place.concurrency,
      maxLoad: place.maxLoad,
      maxRows: place.maxRows,
      maxReplicaLag: maxReplicaLagSeconds === undefined ? undefined : Duration.seconds(maxReplicaLagSeconds),
      databaseCidrs: place.cidrs,
      databaseSecurityGroup:
        securityGroupId === undefined
          ? undefined
          : SecurityGroup.fromSecurityGroupId(scope, `${pascal(name)}Database`, securityGroupId, { mutable }),
    }),
  };
}

/** The props of a database. */
export function databaseProps(scope: Construct, name: string, config: DatabaseConfig) {
  const { secretArn, encryptionKeyArn, names } = config;
  return given({
    secret:
      secretArn === undefined
        ? undefined
        : Secret.fromSecretAttributes(scope, `${pascal(name)}Secret`, {
            secretCompleteArn: secretArn,
            ...given({ encryptionKey: keyOf(scope, name, encryptionKeyArn) }),
          }),
    iamUser: config.iamUser,
    databaseHost: config.host,
    databasePort: config.port,
    databaseName: config.name,
    databases: names && (given(names) as DatabasePattern),
    targets: config.targets as CleanupTarget[] | undefined,
  });
}

/** The props of a fleet. */
export function fleetProps(scope: Construct, config: FleetConfig) {
  return given({
    targetLists: config.targets as { [name: string]: CleanupTarget[] } | undefined,
    secretTag: config.secretTag,
    secretsKey: keyOf(scope, 'fleet', config.encryptionKeyArn),
    iamUserName: config.iamUser,
    databasePorts: config.ports,
    serversAtOnce: config.serversAtOnce,
    toleratedFailurePercentage: config.toleratedFailurePercentage,
  });
}

function keyOf(scope: Construct, name: string, arn: string | undefined) {
  return arn === undefined ? undefined : Key.fromKeyArn(scope, `${pascal(name)}SecretKey`, arn);
}

/** `auth-eu` as `AuthEu`, since ids of outputs may contain only letters and digits. */
export function pascal(name: string): string {
  return name.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}
