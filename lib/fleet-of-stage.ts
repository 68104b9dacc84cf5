import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import { SERVICE } from '../lambda/configuration/settings';
import { given } from './given';
import type { FleetConfig } from './stage/fleet-config';
import type { StageConfig } from './stage/stage-schema';
import { connectionSettings, settingsOfStage } from './stage-settings';
import type { CleanupTarget } from './target';
import { TokenCleanupFleet } from './token-cleanup-fleet';

/** What the stack gives to its fleet. */
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
  const { securityGroupId, encryptionKeyArn, secretTag } = fleet;
  return new TokenCleanupFleet(scope, 'fleet', {
    stage,
    functionName: `token-cleanup-${stage}_fleet`,
    serviceName: `${SERVICE}-fleet`,
    ...network,
    ...settingsOfStage(config),
    ...connectionSettings(fleet),
    ...given({
      // The endpoint serves only to read secrets.
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
      serversAtOnce: fleet.serversAtOnce,
      toleratedFailurePercentage: fleet.toleratedFailurePercentage,
    }),
  });
}
