import { CloudWatchLogsClient, paginateFilterLogEvents } from '@aws-sdk/client-cloudwatch-logs';
import {
  GetFunctionConfigurationCommand,
  InvokeCommand,
  LambdaClient,
  UpdateFunctionConfigurationCommand,
  type UpdateFunctionConfigurationCommandInput,
  waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda';
import type { LogLine } from '../../bin/local/invocation';
import type { RunReport } from '../../lambda/run/report';
import type { Emulator } from './emulator';

export interface Invocation {
  readonly report: RunReport;
  /** The lines in its log group. */
  readonly log: readonly LogLine[];
}

/** A function that was deployed. */
export class DeployedFunction {
  readonly name: string;
  readonly #emulator: Emulator;
  readonly #client: LambdaClient;

  constructor(emulator: Emulator, name: string) {
    this.name = name;
    this.#emulator = emulator;
    this.#client = emulator.client(LambdaClient);
  }

  /** Invokes it, as the console does. */
  async invoke(event: object = {}): Promise<Invocation> {
    const before = await this.log();
    const answer = await this.#client.send(
      new InvokeCommand({ FunctionName: this.name, Payload: JSON.stringify(event) }),
    );
    const payload = Buffer.from(answer.Payload ?? '').toString();
    if (answer.FunctionError) {
      throw new Error(`${this.name} broke (${answer.FunctionError}): ${payload}`);
    }
    return { report: JSON.parse(payload), log: (await this.log()).slice(before.length) };
  }

  /** Has Lambda invoke it when it likes, as the scheduler does. */
  async invokeLater(event: object = {}): Promise<void> {
    await this.#client.send(
      new InvokeCommand({ FunctionName: this.name, Payload: JSON.stringify(event), InvocationType: 'Event' }),
    );
  }

  async variables(): Promise<Record<string, string>> {
    const { Environment } = await this.#client.send(new GetFunctionConfigurationCommand({ FunctionName: this.name }));
    return Environment?.Variables ?? {};
  }

  async setVariables(variables: Record<string, string>): Promise<void> {
    await this.configure({ Environment: { Variables: { ...(await this.variables()), ...variables } } });
  }

  async configure(configuration: Omit<UpdateFunctionConfigurationCommandInput, 'FunctionName'>): Promise<void> {
    await this.#client.send(new UpdateFunctionConfigurationCommand({ FunctionName: this.name, ...configuration }));
    await waitUntilFunctionUpdatedV2({ client: this.#client, maxWaitTime: 30 }, { FunctionName: this.name });
  }

  /** All that it has written to its log group, without Lambda's own lines. */
  async log(): Promise<LogLine[]> {
    const { LoggingConfig } = await this.#client.send(new GetFunctionConfigurationCommand({ FunctionName: this.name }));
    const client = this.#emulator.client(CloudWatchLogsClient);
    const lines: LogLine[] = [];
    for await (const { events = [] } of paginateFilterLogEvents(
      { client },
      { logGroupName: LoggingConfig?.LogGroup ?? '' },
    )) {
      lines.push(...events.flatMap(({ message = '' }) => (message.startsWith('{') ? [JSON.parse(message)] : [])));
    }
    return lines;
  }
}
