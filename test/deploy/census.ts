import { CloudWatchClient, DescribeAlarmsCommand } from '@aws-sdk/client-cloudwatch';
import { CloudWatchLogsClient, DescribeLogGroupsCommand } from '@aws-sdk/client-cloudwatch-logs';
import { IAMClient, ListRolesCommand } from '@aws-sdk/client-iam';
import { LambdaClient, ListFunctionsCommand, ListLayersCommand } from '@aws-sdk/client-lambda';
import { ListScheduleGroupsCommand, ListSchedulesCommand, SchedulerClient } from '@aws-sdk/client-scheduler';
import { ListStateMachinesCommand, SFNClient } from '@aws-sdk/client-sfn';
import { ListTopicsCommand, SNSClient } from '@aws-sdk/client-sns';
import { ListQueuesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { DescribeParametersCommand, SSMClient } from '@aws-sdk/client-ssm';
import type { Description, Emulator } from './emulator';

/** Names, by what they are names of. */
export type Census = Readonly<Record<string, readonly (string | undefined)[]>>;

/** The names of all that is in the account, of the kinds that this project deploys. */
export async function takeCensus(emulator: Emulator): Promise<Census> {
  const scheduler = emulator.client(SchedulerClient);
  const lambda = emulator.client(LambdaClient);
  const { MetricAlarms = [] } = await emulator.client(CloudWatchClient).send(new DescribeAlarmsCommand({}));
  // The emulator dates dashboards in a way that the SDK for JavaScript does not read.
  const { DashboardEntries } = await emulator.ask('cloudwatch', 'list_dashboards');
  const { logGroups = [] } = await emulator.client(CloudWatchLogsClient).send(new DescribeLogGroupsCommand({}));
  const { Roles = [] } = await emulator.client(IAMClient).send(new ListRolesCommand({}));
  const { Functions = [] } = await lambda.send(new ListFunctionsCommand({}));
  const { Layers = [] } = await lambda.send(new ListLayersCommand({}));
  const { Schedules = [] } = await scheduler.send(new ListSchedulesCommand({}));
  const { ScheduleGroups = [] } = await scheduler.send(new ListScheduleGroupsCommand({}));
  const { Topics = [] } = await emulator.client(SNSClient).send(new ListTopicsCommand({}));
  const { QueueUrls = [] } = await emulator.client(SQSClient).send(new ListQueuesCommand({}));
  const { stateMachines = [] } = await emulator.client(SFNClient).send(new ListStateMachinesCommand({}));
  const { Parameters = [] } = await emulator.client(SSMClient).send(new DescribeParametersCommand({}));
  return {
    alarms: MetricAlarms.map(({ AlarmName }) => AlarmName),
    dashboards: DashboardEntries.map(({ DashboardName }: Description) => DashboardName),
    functions: Functions.map(({ FunctionName }) => FunctionName),
    layers: Layers.map(({ LayerName }) => LayerName),
    logGroups: logGroups.map(({ logGroupName }) => logGroupName),
    parameters: Parameters.map(({ Name }) => Name),
    queues: QueueUrls,
    roles: Roles.map(({ RoleName }) => RoleName),
    scheduleGroups: ScheduleGroups.map(({ Name }) => Name),
    schedules: Schedules.map(({ Name }) => Name),
    stateMachines: stateMachines.map(({ name }) => name),
    topics: Topics.map(({ TopicArn }) => TopicArn),
  };
}
