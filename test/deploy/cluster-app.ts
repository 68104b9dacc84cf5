import { App, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as rds from 'aws-cdk-lib/aws-rds';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { SslMode, TokenCleanup } from '../../lib';

/** A CDK app of a user: the database and its cleanup in one stack, in a VPC that is there. */

const app = new App();
const context = (name: string): string => app.node.getContext(name);

const stack = new Stack(app, 'Auth', { env: { account: context('account'), region: context('region') } });
const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
  vpcId: context('vpcId'),
  availabilityZones: [`${stack.region}a`, `${stack.region}b`],
  privateSubnetIds: [context('subnetA'), context('subnetB')],
}) as ec2.IVpc;
const cluster = new rds.DatabaseCluster(stack, 'Tokens', {
  engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_16_6 }),
  writer: rds.ClusterInstance.serverlessV2('writer'),
  vpc,
  port: 5433,
}) as rds.IDatabaseCluster;
const group = new ec2.SecurityGroup(stack, 'Group', { vpc, allowAllOutbound: false });
new TokenCleanup(stack, 'Cleanup', {
  stage: 'own',
  functionName: 'cluster-cleanup',
  database: cluster,
  // As RDS keeps it for users that it manages: without a host.
  secret: Secret.fromSecretCompleteArn(stack, 'Login', context('secretArn')),
  databaseName: context('databaseName'),
  securityGroups: [group],
  sslMode: SslMode.DISABLE, // nobody vouches for the certificate of this server
});
