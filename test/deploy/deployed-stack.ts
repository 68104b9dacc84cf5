import {
  CloudFormationClient,
  DescribeStackResourcesCommand,
  DescribeStacksCommand,
  type Stack,
  type StackResource,
} from '@aws-sdk/client-cloudformation';
import type { Emulator } from './emulator';

/** A stack in the account, as CloudFormation describes it. */
export class DeployedStack {
  readonly name: string;
  readonly #client: CloudFormationClient;

  constructor(emulator: Emulator, name: string) {
    this.#client = emulator.client(CloudFormationClient);
    this.name = name;
  }

  async resources(): Promise<StackResource[]> {
    const answer = await this.#client.send(new DescribeStackResourcesCommand({ StackName: this.name }));
    return answer.StackResources ?? [];
  }

  /** The name or address of a resource, by its logical id without the digits at the end. */
  async physicalId(logicalId: string): Promise<string> {
    const resources = await this.resources();
    const found = resources.find(({ LogicalResourceId = '' }) => LogicalResourceId.slice(0, -8) === logicalId);
    return found?.PhysicalResourceId ?? '';
  }

  async status(): Promise<string | undefined> {
    return (await this.#describe()).StackStatus;
  }

  async outputs(): Promise<Record<string, string>> {
    const { Outputs = [] } = await this.#describe();
    return Object.fromEntries(Outputs.map(({ OutputKey, OutputValue }) => [OutputKey, OutputValue]));
  }

  async #describe(): Promise<Partial<Stack>> {
    const { Stacks: [stack] = [] } = await this.#client.send(new DescribeStacksCommand({ StackName: this.name }));
    return stack ?? {};
  }
}
