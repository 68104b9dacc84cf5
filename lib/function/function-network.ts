import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type { FunctionOptions } from 'aws-cdk-lib/aws-lambda';
import type { DatabaseProxy, IDatabaseCluster, IDatabaseInstance, IServerlessCluster } from 'aws-cdk-lib/aws-rds';
import type { Construct } from 'constructs';
import { given } from '../given';
import type { CleanupJobProps } from './function-environment';

/** The place of a function and its databases in the network. */
export interface CleanupPlace {
  /** @default - the VPC of the database if it is known, else none */
  readonly vpc?: ec2.IVpc;

  /** @default - the private subnets */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * The security groups of the function. They get the same rules as the default group.
   *
   * @default - a new one, without ingress
   */
  readonly securityGroups?: ec2.ISecurityGroup[];

  /**
   * The security group of the database. The function may connect to it, and it gets an ingress rule, unless it is
   * imported with `mutable: false`.
   *
   * @default - the groups of `database`, else the function may connect to `databaseCidrs`
   */
  readonly databaseSecurityGroup?: ec2.ISecurityGroup;

  /** @default - the addresses of the VPC */
  readonly databaseCidrs?: string[];
}

/** The job, and its place in the network. */
export interface CleanupNetworkProps extends CleanupJobProps, CleanupPlace {
  /**
   * The database as a construct. The host, port, VPC, security groups, and secret or resource id come from it, and its
   * security groups let the function in.
   *
   * @default - the other props describe the database
   */
  readonly database?: IDatabaseCluster | IDatabaseInstance | IServerlessCluster | DatabaseProxy;
}

/** The network connections of a function. */
export interface Connections extends CleanupPlace, Pick<CleanupNetworkProps, 'stage' | 'secretsManagerEndpoint'> {
  readonly database?: NonNullable<CleanupNetworkProps['database']>;
  readonly ports: number[];
  readonly readsSecrets: boolean;
}

/** Puts a function into its VPC, with the egress rules and the matching ingress rules. Does nothing without a VPC. */
export function networkOf(
  scope: Construct,
  props: Connections,
): Pick<FunctionOptions, 'vpc' | 'vpcSubnets' | 'securityGroups'> {
  const { stage, vpc, vpcSubnets, readsSecrets } = props;
  if (!vpc) {
    return {};
  }
  const securityGroups = props.securityGroups ?? [
    new ec2.SecurityGroup(scope, 'SecurityGroup', {
      vpc,
      description: `Token cleanup: out to PostgreSQL${readsSecrets ? ' and Secrets Manager' : ''}, nothing in`,
      allowAllOutbound: false,
    }),
  ];
  for (const group of securityGroups) {
    for (const { peer, port, description, group: other } of peersOf(props, vpc)) {
      if (!group.allowAllOutbound) {
        group.addEgressRule(peer, port, description);
      }
      // A remote rule belongs to this stack, so that the database's stack does not depend on it in turn.
      other?.addIngressRule(group, port, `Token cleanup (${stage})`, true);
    }
  }
  return { vpc, ...given({ vpcSubnets }), securityGroups };
}

interface Peer {
  readonly peer: ec2.IPeer;
  readonly port: ec2.Port;
  readonly description: string;
  /** If set, this group gets an ingress rule. */
  readonly group?: ec2.ISecurityGroup;
}

function peersOf(props: Connections, vpc: ec2.IVpc): Peer[] {
  const { database, databaseSecurityGroup, databaseCidrs, ports, readsSecrets, secretsManagerEndpoint } = props;
  const groups = database?.connections.securityGroups ?? (databaseSecurityGroup ? [databaseSecurityGroup] : []);
  const cidrs = database || databaseSecurityGroup ? [] : (databaseCidrs ?? [vpc.vpcCidrBlock]);
  const endpointGroups = secretsManagerEndpoint?.connections.securityGroups ?? [];
  const secretsCidrs = readsSecrets && !secretsManagerEndpoint ? ['0.0.0.0/0'] : [];
  return [
    ...ports.flatMap((port) => peersAt(groups, cidrs, ec2.Port.tcp(port), 'PostgreSQL')),
    ...peersAt(endpointGroups, secretsCidrs, ec2.Port.HTTPS, 'Secrets Manager'),
  ];
}

function peersAt(groups: ec2.ISecurityGroup[], cidrs: string[], port: ec2.Port, description: string): Peer[] {
  return [
    // By id, so that the rules are inline. CloudFormation creates a group without inline egress rules with all egress open.
    ...groups.map((group) => ({ peer: ec2.Peer.securityGroupId(group.securityGroupId), port, description, group })),
    ...cidrs.map((cidr) => ({ peer: ec2.Peer.ipv4(cidr), port, description })),
  ];
}
