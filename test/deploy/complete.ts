import { deepStrictEqual as equal } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DeployedStack } from './deployed-stack';
import type { World } from './world';

/** Expects all that the CLI has just synthesized to be there, and nothing to be on its way. */
export async function expectComplete(stack: DeployedStack, { project }: World): Promise<void> {
  const template = JSON.parse(readFileSync(join(project.directory, 'cdk.out', `${stack.name}.template.json`), 'utf8'));
  const resources = await stack.resources();
  // CDK's own statistics are no resource of anybody's, and depend on a condition.
  const idsOf = (ids: readonly (string | undefined)[]) => ids.filter((id) => id !== 'CDKMetadata').sort();
  equal(idsOf(resources.map(({ LogicalResourceId }) => LogicalResourceId)), idsOf(Object.keys(template.Resources)));
  equal([...new Set(resources.map(({ ResourceStatus }) => ResourceStatus))], ['CREATE_COMPLETE']);
  equal(await stack.status(), 'CREATE_COMPLETE');
}
