import { Fn } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type { Endpoint } from 'aws-cdk-lib/aws-rds';
import type { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { DEFAULT_PORT } from '../lambda/configuration/settings';
import type { CleanupNetworkProps } from './function/function-network';
import { given } from './given';

/** A database that is a CDK construct. */
export type DatabaseConstruct = NonNullable<CleanupNetworkProps['database']>;

/** The props that `database` replaces, and that must not contradict it. */
const ANSWERED = ['databaseHost', 'databasePort', 'databaseSecurityGroup', 'databaseCidrs'] as const;

/**
 * Fills in the host, port, VPC, and secret or resource id from the construct of the database.
 *
 * @throws Error with every mistake
 */
export function withDatabase<Props extends CleanupNetworkProps>(props: Props): Props {
  const { database, iamUser } = props;
  if (database === undefined) {
    return props;
  }
  const mistakes: string[] = ANSWERED.filter((name) => props[name] !== undefined).map(
    (name) => `${name} must not be set with database, which has its own`,
  );
  const secret = props.secret ?? (iamUser ? undefined : ownSecretOf(database));
  if (!secret && !iamUser) {
    mistakes.push('secret or iamUser is required with this database, whose own secret is not known');
  }
  const resourceId = iamUser && (iamUser.resourceId ?? resourceIdOf(database));
  if (iamUser && resourceId === undefined) {
    mistakes.push('iamUser.resourceId is required with this database, whose resource id is not known');
  }
  const vpc = props.vpc ?? vpcOf(database);
  if (!vpc) {
    mistakes.push('vpc is required with this database, whose VPC is not known');
  }
  if (mistakes.length > 0) {
    throw new Error(mistakes.join('\n'));
  }
  const { hostname, port } = endpointOf(database);
  return {
    ...props,
    databaseHost: hostname,
    databasePort: port,
    ...given({ secret, vpc, iamUser: iamUser && { name: iamUser.name, ...given({ resourceId }) } }),
  };
}

function endpointOf(database: DatabaseConstruct): Pick<Endpoint, 'hostname' | 'port'> {
  if ('dbProxyArn' in database) {
    // A proxy listens on the default port of its engine, not on the port of its target.
    return { hostname: database.endpoint, port: DEFAULT_PORT };
  }
  return 'clusterEndpoint' in database ? database.clusterEndpoint : database.instanceEndpoint;
}

function resourceIdOf(database: DatabaseConstruct): string | undefined {
  if ('dbProxyArn' in database) {
    // arn:aws:rds:REGION:ACCOUNT:db-proxy:prx-ID
    return Fn.select(6, Fn.split(':', database.dbProxyArn));
  }
  if ('instanceEndpoint' in database) {
    return database.instanceResourceId;
  }
  return 'clusterResourceIdentifier' in database ? database.clusterResourceIdentifier : undefined;
}

/** The secret of the master user, known only for databases of this app. The secrets of a proxy are not public. */
function ownSecretOf(database: DatabaseConstruct): ISecret | undefined {
  return 'dbProxyArn' in database ? undefined : (database as { readonly secret?: ISecret }).secret;
}

/** The VPC of a cluster or an instance of this app. */
function vpcOf(database: DatabaseConstruct): ec2.IVpc | undefined {
  return 'dbProxyArn' in database ? undefined : (database as { readonly vpc?: ec2.IVpc }).vpc;
}
