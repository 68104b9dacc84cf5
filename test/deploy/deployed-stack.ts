import {
  CloudFormationClient,
  DescribeStackResourcesCommand,
  DescribeStacksCommand,
  type Stack,
  type StackResource,
} from '@aws-sdk/client-cloudformation';
import { CloudWatchClient, DescribeAlarmsCommand, GetDashboardCommand } from '@aws-sdk/client-cloudwatch';
import { CloudWatchLogsClient, DescribeLogGroupsCommand } from '@aws-sdk/client-cloudwatch-logs';
import { GetRoleCommand, GetRolePolicyCommand, IAMClient, ListRolePoliciesCommand } from '@aws-sdk/client-iam';
import {
  GetFunctionCommand,
  GetFunctionEventInvokeConfigCommand,
  GetLayerVersionByArnCommand,
  LambdaClient,
} from '@aws-sdk/client-lambda';
import {
  GetScheduleCommand,
  GetScheduleGroupCommand,
  ListSchedulesCommand,
  SchedulerClient,
} from '@aws-sdk/client-scheduler';
import { GetTopicAttributesCommand, ListSubscriptionsByTopicCommand, SNSClient } from '@aws-sdk/client-sns';
import { GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { Description, Emulator } from './emulator';

/** A stack as it is in the account: asked of the services that run its resources, not of its template. */
export class DeployedStack {
  readonly name: string;
  readonly #emulator: Emulator;

  constructor(emulator: Emulator, name: string) {
    this.#emulator = emulator;
    this.name = name;
  }

  async resources(): Promise<StackResource[]> {
    const answer = await this.#emulator
      .client(CloudFormationClient)
      .send(new DescribeStackResourcesCommand({ StackName: this.name }));
    return answer.StackResources ?? [];
  }

  async status(): Promise<string | undefined> {
    return (await this.#describe()).StackStatus;
  }

  async outputs(): Promise<Record<string, string>> {
    const { Outputs = [] } = await this.#describe();
    return Object.fromEntries(Outputs.map(({ OutputKey, OutputValue }) => [OutputKey, OutputValue]));
  }

  /**
   * Every resource by its logical id without the digits at the end, each as its own service describes it; as its id alone
   * where no client is at hand.
   */
  async inventory(): Promise<Readonly<Record<string, Description>>> {
    const resources = await this.resources();
    const entries = resources.map(async ({ LogicalResourceId, ResourceType, PhysicalResourceId }) => [
      LogicalResourceId?.replace(/[0-9A-F]{8}$/, ''),
      { id: PhysicalResourceId, ...(await this.#ask(ResourceType ?? '', PhysicalResourceId ?? '')) },
    ]);
    return Object.fromEntries(await Promise.all(entries));
  }

  async #describe(): Promise<Partial<Stack>> {
    const { Stacks: [stack] = [] } = await this.#emulator
      .client(CloudFormationClient)
      .send(new DescribeStacksCommand({ StackName: this.name }));
    return stack ?? {};
  }

  async #ask(type: string, id: string): Promise<Description> {
    const { $metadata, ...description } = ((await ASK[type]?.(this.#emulator, id)) ?? {}) as Description;
    return description;
  }
}

const ASK: Readonly<Record<string, (emulator: Emulator, id: string) => Promise<object>>> = {
  'AWS::Lambda::Function': async (emulator, id) => {
    const { Configuration, Concurrency } = await emulator
      .client(LambdaClient)
      .send(new GetFunctionCommand({ FunctionName: id }));
    return { ...Configuration, ...Concurrency };
  },
  'AWS::Lambda::EventInvokeConfig': async (emulator, id) => {
    const [FunctionName, Qualifier] = id.split(':');
    return await emulator
      .client(LambdaClient)
      .send(new GetFunctionEventInvokeConfigCommand({ FunctionName, Qualifier }));
  },
  'AWS::Lambda::LayerVersion': async (emulator, id) => {
    return await emulator.client(LambdaClient).send(new GetLayerVersionByArnCommand({ Arn: id }));
  },
  'AWS::Scheduler::Schedule': async (emulator, id) => {
    const client = emulator.client(SchedulerClient);
    const { Schedules = [] } = await client.send(new ListSchedulesCommand({}));
    const { GroupName } = Schedules.find(({ Name }) => Name === id) ?? {};
    return await client.send(new GetScheduleCommand({ Name: id, GroupName }));
  },
  'AWS::Scheduler::ScheduleGroup': async (emulator, id) => {
    return await emulator.client(SchedulerClient).send(new GetScheduleGroupCommand({ Name: id }));
  },
  'AWS::IAM::Role': async (emulator, RoleName) => {
    const client = emulator.client(IAMClient);
    const { Role } = await client.send(new GetRoleCommand({ RoleName }));
    const { PolicyNames = [] } = await client.send(new ListRolePoliciesCommand({ RoleName }));
    const documents = PolicyNames.map(async (PolicyName) => {
      const { PolicyDocument } = await client.send(new GetRolePolicyCommand({ RoleName, PolicyName }));
      return policy(PolicyDocument).Statement;
    });
    return {
      Arn: Role?.Arn,
      trust: policy(Role?.AssumeRolePolicyDocument).Statement,
      statements: (await Promise.all(documents)).flat(),
    };
  },
  'AWS::CloudWatch::Alarm': async (emulator, id) => {
    const { MetricAlarms: [alarm] = [] } = await emulator
      .client(CloudWatchClient)
      .send(new DescribeAlarmsCommand({ AlarmNames: [id] }));
    return alarm ?? {};
  },
  'AWS::CloudWatch::Dashboard': async (emulator, id) => {
    const { DashboardBody = '{}' } = await emulator
      .client(CloudWatchClient)
      .send(new GetDashboardCommand({ DashboardName: id }));
    return JSON.parse(DashboardBody);
  },
  'AWS::Logs::LogGroup': async (emulator, id) => {
    const { logGroups: [group] = [] } = await emulator
      .client(CloudWatchLogsClient)
      .send(new DescribeLogGroupsCommand({ logGroupNamePrefix: id }));
    return group ?? {};
  },
  'AWS::SQS::Queue': async (emulator, id) => {
    const { Attributes = {} } = await emulator
      .client(SQSClient)
      .send(new GetQueueAttributesCommand({ QueueUrl: id, AttributeNames: ['All'] }));
    return { ...Attributes, Policy: policy(Attributes.Policy).Statement };
  },
  'AWS::SNS::Topic': async (emulator, id) => {
    const client = emulator.client(SNSClient);
    const { Attributes = {} } = await client.send(new GetTopicAttributesCommand({ TopicArn: id }));
    const { Subscriptions } = await client.send(new ListSubscriptionsByTopicCommand({ TopicArn: id }));
    return { ...Attributes, Policy: policy(Attributes.Policy).Statement, Subscriptions };
  },
};

/** IAM writes its documents as parts of URLs. */
function policy(document = '{}'): Description {
  return JSON.parse(decodeURIComponent(document));
}

/** What differs between two inventories, as `resource.key: before -> after`; of texts only the part that does. */
export function differences(before: unknown, after: unknown, path = ''): string[] {
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return keys.flatMap((key) => differences(before[key], after[key], path ? `${path}.${key}` : key));
  }
  if (JSON.stringify(before) === JSON.stringify(after)) {
    return [];
  }
  const [from, to] =
    typeof before === 'string' && typeof after === 'string' ? differentWords(before, after) : [before, after];
  return [`${path}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}`];
}

function differentWords(before: string, after: string): [string, string] {
  const words = [before.split(' '), after.split(' ')] as const;
  for (const end of ['shift', 'pop'] as const) {
    const [a, b] = words;
    const at = end === 'shift' ? 0 : -1;
    while (a.length > 0 && b.length > 0 && a.at(at) === b.at(at)) {
      a[end]();
      b[end]();
    }
  }
  return [words[0].join(' '), words[1].join(' ')];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !(value instanceof Date);
}
