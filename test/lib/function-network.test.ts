import { Stack } from 'aws-cdk-lib';
import {
  InterfaceVpcEndpoint,
  InterfaceVpcEndpointAwsService,
  type IVpc,
  Port,
  SecurityGroup,
} from 'aws-cdk-lib/aws-ec2';
import type { Role } from 'aws-cdk-lib/aws-iam';
import { createCleanup, createInVpc, functionOf, IAM, resource, resources, SECRET_ARN } from '../support/cdk';

test('lets PostgreSQL and HTTPS out, and nothing in', () => {
  const cleanup = createInVpc();

  expect(resource(Stack.of(cleanup), 'AWS::EC2::SecurityGroup')).toMatchObject({
    SecurityGroupEgress: [
      { IpProtocol: 'tcp', FromPort: 5432, ToPort: 5432, CidrIp: '10.0.0.0/16' },
      { IpProtocol: 'tcp', FromPort: 443, ToPort: 443, CidrIp: '0.0.0.0/0' },
    ],
  });
  expect(resource(Stack.of(cleanup), 'AWS::EC2::SecurityGroup').SecurityGroupIngress).toBeUndefined();
  expect(functionOf(cleanup).VpcConfig.SecurityGroupIds).toHaveLength(1);
});

test('lets only PostgreSQL out if it logs in with IAM', () => {
  const group = resource(Stack.of(createInVpc(() => IAM)), 'AWS::EC2::SecurityGroup');

  expect(group.SecurityGroupEgress).toMatchObject([{ FromPort: 5432, ToPort: 5432, CidrIp: '10.0.0.0/16' }]);
  expect(group.GroupDescription).toBe('Token cleanup: out to PostgreSQL, nothing in');
});

test('lets PostgreSQL out to the given addresses and port', () => {
  const cleanup = createInVpc(() => ({ databasePort: 6432, databaseCidrs: ['10.1.0.0/24', '10.2.0.0/24'] }));

  expect(resource(Stack.of(cleanup), 'AWS::EC2::SecurityGroup').SecurityGroupEgress).toMatchObject([
    { FromPort: 6432, ToPort: 6432, CidrIp: '10.1.0.0/24' },
    { FromPort: 6432, ToPort: 6432, CidrIp: '10.2.0.0/24' },
    { FromPort: 443, ToPort: 443 },
  ]);
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
    { IpProtocol: 'tcp', FromPort: 443, ToPort: 443, CidrIp: '0.0.0.0/0' },
  ]);
  expect(resources(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual(
    mutable
      ? [
          {
            Description: 'Token cleanup (test)',
            GroupId: 'sg-0a1b2c3d',
            SourceSecurityGroupId: group,
            IpProtocol: 'tcp',
            FromPort: 5432,
            ToPort: 5432,
          },
        ]
      : [],
  );
});

test('reads the secret through an endpoint that lets this function read this secret', () => {
  const cleanup = createInVpc((vpc, stack) => ({
    secretsManagerEndpoint: new InterfaceVpcEndpoint(stack, 'Endpoint', {
      vpc,
      service: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
      privateDnsEnabled: false,
      open: false,
    }),
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
    { Description: 'PostgreSQL', IpProtocol: 'tcp', FromPort: 5432, ToPort: 5432, CidrIp: '10.0.0.0/16' },
    {
      Description: 'Secrets Manager',
      IpProtocol: 'tcp',
      FromPort: 443,
      ToPort: 443,
      DestinationSecurityGroupId: endpointGroup,
    },
  ]);
  expect(resource(stack, 'AWS::EC2::SecurityGroupIngress')).toEqual({
    Description: 'Token cleanup (test)',
    IpProtocol: 'tcp',
    FromPort: 443,
    ToPort: 443,
    GroupId: endpointGroup,
    SourceSecurityGroupId: group,
  });
});

test('can be let in elsewhere through the construct', () => {
  const cleanup = createInVpc();
  const stack = Stack.of(cleanup);
  const cache = SecurityGroup.fromSecurityGroupId(stack, 'Cache', 'sg-0a1b2c3d');
  cache.connections.allowFrom(cleanup, Port.tcp(6379));

  expect(resource(stack, 'AWS::EC2::SecurityGroupIngress')).toMatchObject({ GroupId: 'sg-0a1b2c3d', FromPort: 6379 });
});

test('has no security group outside of a VPC', () => {
  const cleanup = createCleanup();

  expect(resources(Stack.of(cleanup), 'AWS::EC2::SecurityGroup')).toEqual([]);
  expect(functionOf(cleanup).VpcConfig).toBeUndefined();
});

test('refuses an endpoint of Secrets Manager that nothing is read through', () => {
  const inVpc = (vpc: IVpc, stack: Stack) => ({
    ...IAM,
    secretsManagerEndpoint: new InterfaceVpcEndpoint(stack, 'Endpoint', {
      vpc,
      service: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    }),
  });

  expect(() => createInVpc(inVpc)).toThrow(
    new Error('secretsManagerEndpoint must not be set with iamUser, which needs no secret'),
  );
});
