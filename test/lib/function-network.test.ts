import { Stack } from 'aws-cdk-lib';
import {
  InterfaceVpcEndpoint,
  InterfaceVpcEndpointAwsService,
  type IVpc,
  Port,
  SecurityGroup,
} from 'aws-cdk-lib/aws-ec2';
import type { Role } from 'aws-cdk-lib/aws-iam';
import { type CleanupOverrides, createInVpc, functionOf, IAM, resource, resources, SECRET_ARN } from '../support/cdk';

const HTTPS = { IpProtocol: 'tcp', FromPort: 443, ToPort: 443, CidrIp: '0.0.0.0/0' };
const postgresAt = (CidrIp: string, port = 5432) => ({ IpProtocol: 'tcp', FromPort: port, ToPort: port, CidrIp });

test.each<[string, CleanupOverrides, object[]]>([
  ['PostgreSQL and HTTPS', {}, [postgresAt('10.0.0.0/16'), HTTPS]],
  ['only PostgreSQL with IAM', IAM, [postgresAt('10.0.0.0/16')]],
  [
    'the given addresses and port',
    { databasePort: 6432, databaseCidrs: ['10.1.0.0/24', '10.2.0.0/24'] },
    [postgresAt('10.1.0.0/24', 6432), postgresAt('10.2.0.0/24', 6432), HTTPS],
  ],
])('lets out to %s, and nothing in', (_, props, egress) => {
  const cleanup = createInVpc(() => props);
  const group = resource(Stack.of(cleanup), 'AWS::EC2::SecurityGroup');

  expect(group.SecurityGroupEgress).toMatchObject(egress);
  expect(group.SecurityGroupIngress).toBeUndefined();
  expect(group.GroupDescription.includes('Secrets Manager')).toBe(egress.includes(HTTPS));
  expect(functionOf(cleanup).VpcConfig.SecurityGroupIds).toHaveLength(1);
});

const createEndpoint = (vpc: IVpc, stack: Stack) =>
  new InterfaceVpcEndpoint(stack, 'Endpoint', {
    vpc,
    service: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    privateDnsEnabled: false,
    open: false,
  });

/** A rule by which the function is let in. */
const ingressOf = (port: number, GroupId: unknown, SourceSecurityGroupId: unknown) => ({
  ...{ Description: 'Token cleanup (test)', IpProtocol: 'tcp', FromPort: port, ToPort: port },
  ...{ GroupId, SourceSecurityGroupId },
});

test.each([true, false])('opens the group of the database if it may: %s', (mutable) => {
  const cleanup = createInVpc((_, stack) => ({
    databaseSecurityGroup: SecurityGroup.fromSecurityGroupId(stack, 'Database', 'sg-0a1b2c3d', { mutable }),
  }));
  const stack = Stack.of(cleanup);
  const [group] = cleanup.connections.securityGroups.map((each) => stack.resolve(each.securityGroupId));

  // Inside the group: if all rules are outside, CloudFormation creates the group with a default rule that lets everything out.
  expect(resource(stack, 'AWS::EC2::SecurityGroup').SecurityGroupEgress).toMatchObject([
    { IpProtocol: 'tcp', FromPort: 5432, ToPort: 5432, DestinationSecurityGroupId: 'sg-0a1b2c3d' },
    HTTPS,
  ]);
  expect(resources(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual(
    mutable ? [ingressOf(5432, 'sg-0a1b2c3d', group)] : [],
  );
});

test('reads the secret through an endpoint that lets this function read this secret', () => {
  const cleanup = createInVpc((vpc, stack) => ({
    secretsManagerEndpoint: createEndpoint(vpc, stack),
  }));
  const stack = Stack.of(cleanup);
  const endpoint = stack.node.findChild('Endpoint') as InterfaceVpcEndpoint;
  const [group, endpointGroup] = [cleanup, endpoint].map(({ connections }) =>
    stack.resolve(connections.securityGroups[0]?.securityGroupId),
  );
  const entries = stack.resolve(endpoint.vpcEndpointDnsEntries);

  expect(functionOf(cleanup).Environment.Variables.AWS_ENDPOINT_URL_SECRETS_MANAGER).toEqual({
    'Fn::Join': ['', ['https://', { 'Fn::Select': [1, { 'Fn::Split': [':', { 'Fn::Select': [0, entries] }] }] }]],
  });
  expect(resource(stack, 'AWS::EC2::VPCEndpoint').PolicyDocument.Statement).toEqual([
    {
      Effect: 'Allow',
      Action: 'secretsmanager:GetSecretValue',
      Principal: { AWS: stack.resolve((cleanup.grantPrincipal as Role).roleArn) },
      Resource: SECRET_ARN,
    },
  ]);
  expect(resources(stack, 'AWS::EC2::SecurityGroup').map((each) => each.SecurityGroupEgress)).toContainEqual([
    { Description: 'PostgreSQL', ...postgresAt('10.0.0.0/16') },
    expect.objectContaining({ Description: 'Secrets Manager', ToPort: 443, DestinationSecurityGroupId: endpointGroup }),
  ]);
  expect(resource(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual(ingressOf(443, endpointGroup, group));
});

test('can be let in elsewhere through the construct', () => {
  const cleanup = createInVpc();
  const stack = Stack.of(cleanup);
  const cache = SecurityGroup.fromSecurityGroupId(stack, 'Cache', 'sg-0a1b2c3d');
  cache.connections.allowFrom(cleanup, Port.tcp(6379));

  expect(resource(stack, 'AWS::EC2::SecurityGroupIngress')).toMatchObject({ GroupId: 'sg-0a1b2c3d', FromPort: 6379 });
});

test('refuses an endpoint of Secrets Manager that nothing is read through', () => {
  const inVpc = (vpc: IVpc, stack: Stack) => ({ ...IAM, secretsManagerEndpoint: createEndpoint(vpc, stack) });

  expect(() => createInVpc(inVpc)).toThrow(
    new Error('secretsManagerEndpoint must not be set with iamUser, which needs no secret'),
  );
});
