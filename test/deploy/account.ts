import {
  CloudFormationClient,
  CreateStackCommand,
  DescribeStacksCommand,
  waitUntilStackCreateComplete,
} from '@aws-sdk/client-cloudformation';
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { Login } from './database';
import { ACCOUNT, type Emulator } from './emulator';

/** The resources that an account has before this project: a network, a key, a topic that wakes people. */
export interface Landscape {
  readonly vpcId: string;
  readonly subnetA: string;
  readonly subnetB: string;
  readonly databaseSecurityGroupId: string;
  readonly keyArn: string;
  readonly topicArn: string;
}

const STACK_NAME = 'Landscape';

export async function createLandscape(emulator: Emulator): Promise<Landscape> {
  const client = emulator.client(CloudFormationClient);
  await client.send(new CreateStackCommand({ StackName: STACK_NAME, TemplateBody: JSON.stringify(TEMPLATE) }));
  await waitUntilStackCreateComplete({ client, maxWaitTime: 60 }, { StackName: STACK_NAME });
  const { Stacks: [stack] = [] } = await client.send(new DescribeStacksCommand({ StackName: STACK_NAME }));
  return Object.fromEntries((stack?.Outputs ?? []).map((output) => [output.OutputKey, output.OutputValue]));
}

/** Secrets as people keep them who let RDS write them, or write them themselves. */
export class Secrets {
  readonly #client: SecretsManagerClient;

  constructor(emulator: Emulator) {
    this.#client = emulator.client(SecretsManagerClient);
  }

  /** @returns the complete ARN, with the characters that Secrets Manager adds to the name */
  async create(
    name: string,
    login: Partial<Login>,
    keyArn?: string,
    tags: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const { ARN } = await this.#client.send(
      new CreateSecretCommand({
        Name: name,
        SecretString: JSON.stringify(login),
        ...(keyArn !== undefined && { KmsKeyId: keyArn }),
        Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
      }),
    );
    return ARN ?? '';
  }

  async rotate(secretArn: string, login: Partial<Login>): Promise<void> {
    await this.#client.send(new PutSecretValueCommand({ SecretId: secretArn, SecretString: JSON.stringify(login) }));
  }
}

const TEMPLATE = {
  Resources: {
    Vpc: { Type: 'AWS::EC2::VPC', Properties: { CidrBlock: '10.0.0.0/16' } },
    SubnetA: subnet('eu-central-1a', '10.0.0.0/24'),
    SubnetB: subnet('eu-central-1b', '10.0.1.0/24'),
    DatabaseSecurityGroup: {
      Type: 'AWS::EC2::SecurityGroup',
      Properties: { GroupDescription: 'The database of the service', VpcId: { Ref: 'Vpc' } },
    },
    Key: {
      Type: 'AWS::KMS::Key',
      Properties: {
        KeyPolicy: {
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` },
              Action: 'kms:*',
              Resource: '*',
            },
          ],
        },
      },
    },
    Topic: { Type: 'AWS::SNS::Topic', Properties: { TopicName: 'oncall' } },
  },
  Outputs: {
    vpcId: { Value: { Ref: 'Vpc' } },
    subnetA: { Value: { Ref: 'SubnetA' } },
    subnetB: { Value: { Ref: 'SubnetB' } },
    databaseSecurityGroupId: { Value: { 'Fn::GetAtt': ['DatabaseSecurityGroup', 'GroupId'] } },
    keyArn: { Value: { 'Fn::GetAtt': ['Key', 'Arn'] } },
    topicArn: { Value: { Ref: 'Topic' } },
  },
};

function subnet(zone: string, cidr: string) {
  return {
    Type: 'AWS::EC2::Subnet',
    Properties: { VpcId: { Ref: 'Vpc' }, AvailabilityZone: zone, CidrBlock: cidr },
  };
}
