import { type App, Stack } from 'aws-cdk-lib';
import { type IVpc, SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2';
import * as rds from 'aws-cdk-lib/aws-rds';
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import type { DatabaseConstruct } from '../../lib/database';
import {
  type CleanupOverrides,
  createCleanup,
  createStack,
  type Properties,
  resources,
  runReadme,
  SECRET_ARN,
} from '../support/cdk';

const ENGINE = rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_16_6 });

/** A stack with a VPC for databases. */
function network() {
  const stack = createStack();
  // The types of the CDK are not made for exactOptionalPropertyTypes.
  const vpc = new Vpc(stack, 'Vpc', { maxAzs: 2 }) as IVpc;
  return { stack, vpc };
}

function anotherStack({ account, region, node }: Stack): Stack {
  return new Stack(node.root as App, 'Other', { env: { account, region } });
}

function createCluster(scope: Stack, vpc: IVpc, props: Partial<rds.DatabaseClusterProps> = {}): rds.DatabaseCluster {
  return new rds.DatabaseCluster(scope, 'Tokens', {
    engine: ENGINE,
    vpc,
    writer: rds.ClusterInstance.serverlessV2('writer'),
    ...props,
  });
}

function cleanupOf(database: rds.DatabaseCluster | DatabaseConstruct, props: CleanupOverrides, stack: Stack) {
  return createCleanup({ database: database as DatabaseConstruct, secret: undefined, ...props }, stack);
}

const functionOf = (stack: Stack) =>
  resources(stack, 'AWS::Lambda::Function').find(({ Handler }) => Handler === 'index.handler') as Properties;

/** The rules of the function's groups, whether inside of a group or beside it. */
function egressOf(stack: Stack): Properties[] {
  const inside = resources(stack, 'AWS::EC2::SecurityGroup').flatMap(({ SecurityGroupEgress }) => SecurityGroupEgress);
  return [...resources(stack, 'AWS::EC2::SecurityGroupEgress'), ...inside].filter(
    ({ Description }) => Description === 'PostgreSQL' || Description === 'Secrets Manager',
  );
}

test('takes everything from a cluster: host, port, secret, VPC and security groups', () => {
  const { stack, vpc } = network();
  const cluster = createCluster(stack, vpc, { port: 5433 });
  cleanupOf(cluster, {}, stack);
  const [group] = cluster.connections.securityGroups.map((each) => stack.resolve(each.securityGroupId));

  const { Environment, VpcConfig } = functionOf(stack);
  expect(Environment.Variables).toMatchObject({
    DB_HOST: stack.resolve(cluster.clusterEndpoint.hostname),
    DB_PORT: { 'Fn::GetAtt': [expect.stringMatching(/^Tokens/), 'Endpoint.Port'] },
    DB_SECRET_ARN: stack.resolve((cluster.secret as ISecret).secretArn),
  });
  expect(VpcConfig.SubnetIds).toEqual(vpc.privateSubnets.map(({ subnetId }) => stack.resolve(subnetId)));
  const ofPort = { FromPort: Environment.Variables.DB_PORT, ToPort: Environment.Variables.DB_PORT };
  expect(resources(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual([
    expect.objectContaining({ ...ofPort, GroupId: group, SourceSecurityGroupId: VpcConfig.SecurityGroupIds[0] }),
  ]);
  expect(egressOf(stack)).toEqual([
    expect.objectContaining({ ...ofPort, DestinationSecurityGroupId: group }),
    expect.objectContaining({ FromPort: 443, CidrIp: '0.0.0.0/0' }),
  ]);
  expect(JSON.stringify(resources(stack, 'AWS::IAM::Policy'))).toContain('secretsmanager:GetSecretValue');
});

test('logs in to a cluster as an IAM user, whose policy names the resource id of the cluster', () => {
  const { stack, vpc } = network();
  const cluster = createCluster(stack, vpc, { iamAuthentication: true });
  cleanupOf(cluster, { iamUser: { name: 'token_cleanup' } }, stack);
  const policies = JSON.stringify(resources(stack, 'AWS::IAM::Policy'));

  expect(functionOf(stack).Environment.Variables).toMatchObject({ DB_AUTH: 'iam', DB_USER: 'token_cleanup' });
  expect(policies).toContain(JSON.stringify(stack.resolve(cluster.clusterResourceIdentifier)));
  expect(policies).not.toContain('secretsmanager:');
});

test('takes an instance, and a proxy in front of it', () => {
  const { stack, vpc } = network();
  const engine = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.VER_17 });
  const instance = new rds.DatabaseInstance(stack, 'Instance', { engine, vpc, storageEncrypted: true });
  const proxy = instance.addProxy('Proxy', { vpc, secrets: [instance.secret as ISecret], iamAuth: true });
  const behind = anotherStack(stack);
  cleanupOf(instance, {}, stack);
  cleanupOf(proxy, { vpc, iamUser: { name: 'token_cleanup' } }, behind);

  expect(functionOf(stack).Environment.Variables.DB_HOST).toEqual(stack.resolve(instance.instanceEndpoint.hostname));
  const { Variables } = functionOf(behind).Environment;
  expect(Variables).toMatchObject({ DB_AUTH: 'iam', DB_PORT: '5432' });
  expect(JSON.stringify(resources(behind, 'AWS::IAM::Policy'))).toMatch(/"Fn::Select":\[6,\{"Fn::Split":\[":",/);
});

test('uses its own secret, and adds the rules to its own stack, if the database is in another one', () => {
  const { stack, vpc } = network();
  const other = anotherStack(stack);
  const secret = Secret.fromSecretCompleteArn(other, 'Own', SECRET_ARN);
  cleanupOf(createCluster(stack, vpc), { secret }, other);

  expect(functionOf(other).Environment.Variables.DB_SECRET_ARN).toBe(SECRET_ARN);
  expect(resources(other, 'AWS::EC2::SecurityGroupIngress')).toHaveLength(1);
  expect(resources(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual([]);
});

test('accepts an imported cluster, with the props that it lacks', () => {
  const { stack, vpc } = network();
  const cluster = rds.DatabaseCluster.fromDatabaseClusterAttributes(stack, 'Imported', {
    clusterIdentifier: 'tokens',
    clusterEndpointAddress: 'tokens.cluster-abc.eu-central-1.rds.amazonaws.com',
    port: 5432,
    clusterResourceIdentifier: 'cluster-ABCDEFGHIJKL01234',
    securityGroups: [SecurityGroup.fromSecurityGroupId(stack, 'Group', 'sg-0a1b2c3d')],
  });
  cleanupOf(cluster, { vpc, iamUser: { name: 'token_cleanup' } }, stack);

  expect(functionOf(stack).Environment.Variables.DB_HOST).toBe('tokens.cluster-abc.eu-central-1.rds.amazonaws.com');
  expect(resources(stack, 'AWS::EC2::SecurityGroupIngress')).toMatchObject([
    { GroupId: 'sg-0a1b2c3d', FromPort: 5432 },
  ]);
  expect(JSON.stringify(resources(stack, 'AWS::IAM::Policy'))).toContain(
    'dbuser:cluster-ABCDEFGHIJKL01234/token_cleanup',
  );
});

test('names everything that is missing or set twice', () => {
  const { stack } = network();
  const cluster = rds.DatabaseCluster.fromDatabaseClusterAttributes(stack, 'Imported', { clusterIdentifier: 'tokens' });

  expect(() => cleanupOf(cluster, { databaseHost: 'db', databasePort: 1, databaseCidrs: [] }, stack)).toThrow(
    new Error(
      'databaseHost must not be set with database, which has its own\n' +
        'databasePort must not be set with database, which has its own\n' +
        'databaseCidrs must not be set with database, which has its own\n' +
        'secret or iamUser is required with this database, whose own secret is not known\n' +
        'vpc is required with this database, whose VPC is not known',
    ),
  );
});

test('gives the function the security groups that it is given, with the rules that they lack', () => {
  const { stack, vpc } = network();
  const closed = new SecurityGroup(stack, 'Closed', { vpc, allowAllOutbound: false });
  const open = new SecurityGroup(stack, 'Open', { vpc });
  const cleanup = cleanupOf(createCluster(stack, vpc), { securityGroups: [closed, open] }, stack);
  const ids = [closed, open].map(({ securityGroupId }) => stack.resolve(securityGroupId));

  expect(functionOf(stack).VpcConfig.SecurityGroupIds).toEqual(ids);
  expect(cleanup.connections.securityGroups).toEqual([closed, open]);
  expect(egressOf(stack).map(({ GroupId, Description }) => [GroupId, Description])).toEqual([
    [ids[0], 'PostgreSQL'],
    [undefined, 'Secrets Manager'],
  ]);
  expect(
    resources(stack, 'AWS::EC2::SecurityGroupIngress').map(({ SourceSecurityGroupId }) => SourceSecurityGroupId),
  ).toEqual(ids);
});

test('synthesizes the stack that lib/README.md shows', () => {
  const stack = runReadme<Stack>('### With a database of the CDK', 'stack');

  expect(functionOf(stack).Environment.Variables).toMatchObject({ DB_AUTH: 'iam', DB_NAME: 'auth' });
});
