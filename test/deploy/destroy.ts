import { deepStrictEqual as equal } from 'node:assert';
import type { TestContext } from 'node:test';
import { CloudFormationClient, DescribeStackEventsCommand } from '@aws-sdk/client-cloudformation';
import { type Census, takeCensus } from './census';
import type { World } from './world';

/** The remains of the deployed stages. */
export async function destroy(t: TestContext, { emulator, project }: World, before: Census): Promise<void> {
  await t.test('destroys two stages, and leaves the third', async () => {
    await project.destroy('dev');
    await project.destroy('fleet');
    const { functions } = await takeCensus(emulator);
    // Beside the one of the dashboard, whose name is generated.
    equal(
      functions?.filter((name) => name?.startsWith('token-cleanup-')),
      ['token-cleanup-prod_auth', 'token-cleanup-prod_partners'],
    );
  });

  await t.test(
    'leaves the logs, which expire, and the registry, in which others may keep their test events',
    async () => {
      const client = emulator.client(CloudFormationClient);
      // Once it is gone, a stack is known by its id alone.
      const { StackEvents: [{ StackId } = {}] = [] } = await client.send(
        new DescribeStackEventsCommand({ StackName: 'TokenCleanup-prod' }),
      );
      await project.destroy('prod');
      const { logGroups: logsBefore, ...restBefore } = before;
      const { logGroups, ...rest } = await takeCensus(emulator);
      equal(rest, restBefore);
      equal([logsBefore?.length, logGroups?.length], [0, 7]);
      const { StackEvents = [] } = await client.send(new DescribeStackEventsCommand({ StackName: StackId }));
      const kept = StackEvents.filter(({ ResourceStatus }) => ResourceStatus === 'DELETE_SKIPPED');
      equal(kept.map(({ LogicalResourceId }) => LogicalResourceId?.replace(/[0-9A-F]{8}$/, '')).sort(), [
        'MonitoringRunsLogs',
        'TestEventRegistry',
        'authLogs',
        'partnersLogs',
      ]);
      equal(StackEvents[0]?.ResourceStatus, 'DELETE_COMPLETE');
    },
  );
}
