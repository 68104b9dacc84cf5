import { Duration, TimeZone } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import { SERVICE } from '../lambda/configuration/settings';
import type { FleetConfig } from './fleet-config';
import { given } from './given';
import type { SslMode } from './login';
import type { StageConfig } from './stage-schema';
import type { CleanupTarget } from './target';
import { TokenCleanupFleet } from './token-cleanup-fleet';

/** The place of a fleet in its stack. */
export interface FleetSurroundings {
  readonly stage: string;
  readonly vpc?: ec2.IVpc;
  readonly vpcSubnets?: ec2.SubnetSelection;
  readonly secretsManagerEndpoint?: ec2.InterfaceVpcEndpoint;
  readonly offSwitch?: IStringParameter | undefined;
}

/** The fleet of a stage, as cdk.json describes it. */
export function fleetOfStage(
  scope: Construct,
  config: StageConfig,
  fleet: FleetConfig,
  { stage, offSwitch, secretsManagerEndpoint, ...network }: FleetSurroundings,
): TokenCleanupFleet {
  const { timeZone, flexibleWindowMinutes, timeoutSeconds } = config;
  const { maxReplicaLagSeconds, securityGroupId, encryptionKeyArn, secretTag } = fleet;
  return new TokenCleanupFleet(scope, 'fleet', {
    stage,
    functionName: `token-cleanup-${stage}_fleet`,
    serviceName: `${SERVICE}-fleet`,
    ...network,
    ...given({
      // An endpoint serves secrets only.
      secretsManagerEndpoint: secretTag && secretsManagerEndpoint,
      offSwitch,
      targetLists: fleet.targets as { [name: string]: CleanupTarget[] } | undefined,
      secretTag,
      secretsKey:
        encryptionKeyArn === undefined ? undefined : Key.fromKeyArn(scope, 'FleetSecretsKey', encryptionKeyArn),
      iamUserName: fleet.iamUser,
      databasePorts: fleet.ports,
      databaseCidrs: fleet.cidrs,
      databaseSecurityGroup:
        securityGroupId === undefined
          ? undefined
          : ec2.SecurityGroup.fromSecurityGroupId(scope, 'FleetDatabases', securityGroupId, { mutable: false }),
      sslMode: fleet.sslMode as SslMode | undefined,
      rootCertificates: fleet.rootCertificates,
      concurrency: fleet.concurrency,
      maxLoad: fleet.maxLoad,
      maxRows: fleet.maxRows,
      maxReplicaLag: maxReplicaLagSeconds === undefined ? undefined : Duration.seconds(maxReplicaLagSeconds),
      serversAtOnce: fleet.serversAtOnce,
      toleratedFailurePercentage: fleet.toleratedFailurePercentage,
      continueUntil: config.continueUntil,
      enabled: config.enabled,
      schedule: config.schedule,
      timeZone: timeZone === undefined ? undefined : TimeZone.of(timeZone),
      flexibleWindow: flexibleWindowMinutes === undefined ? undefined : Duration.minutes(flexibleWindowMinutes),
      nodeEnv: config.nodeEnv,
      timeout: timeoutSeconds === undefined ? undefined : Duration.seconds(timeoutSeconds),
      memorySize: config.memoryMb,
      reservedConcurrentExecutions: config.reservedConcurrency,
      tracing: config.tracing,
      logRetention: config.logRetentionDays,
    }),
  });
}
