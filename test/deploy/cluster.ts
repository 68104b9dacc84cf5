import { deepStrictEqual as equal } from 'node:assert';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { GetFunctionConfigurationCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { expectComplete } from './complete';
import { DeployedStack } from './deployed-stack';
import { ACCOUNT, REGION } from './emulator';
import { DeployedFunction } from './invocation';
import type { World } from './world';

/** The folder of the app in the project, where it finds the constructs by the same path as here. */
const FOLDER = join('test', 'deploy');

/** A `DatabaseCluster` and its `TokenCleanup`, deployed in one stack by an app of the user's own. */
export async function deployCluster(t: TestContext, world: World): Promise<void> {
  const { emulator, landscape, project, secrets } = world;
  const database = await world.database('own_auth');
  const { username, password, host, port, dbname } = database.login;
  const secretArn = await secrets.create('own/auth', { username, password });
  const { vpcId, subnetA, subnetB } = landscape;
  const context = { account: ACCOUNT, region: REGION, vpcId, subnetA, subnetB, secretArn, databaseName: dbname };
  cpSync(join(__dirname, 'cluster-app.ts'), join(project.directory, FOLDER, 'cluster-app.ts'));
  const app = [
    '--app',
    `node --import tsx ${FOLDER}/cluster-app.ts`,
    ...Object.entries(context).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  await project.cdk(['deploy', ...app, '--require-approval', 'never', '--progress', 'events']);
  const stack = new DeployedStack(emulator, 'Auth');
  const deployed = new DeployedFunction(emulator, 'cluster-cleanup');

  await t.test('creates every resource of the template', () => expectComplete(stack, world));

  await t.test('gives the function the address of the cluster, and lets its security group in', async () => {
    const { DBClusters: [cluster] = [] } = await emulator.ask('rds', 'describe_db_clusters');
    const { DB_HOST, DB_PORT, DB_SECRET_ARN } = await deployed.variables();
    equal([DB_HOST, DB_PORT, DB_SECRET_ARN], [cluster.Endpoint, '5433', secretArn]);

    const { VpcConfig } = await emulator
      .client(LambdaClient)
      .send(new GetFunctionConfigurationCommand({ FunctionName: deployed.name }));
    const own = await stack.physicalId('Group');
    equal([VpcConfig?.SecurityGroupIds, VpcConfig?.SubnetIds], [[own], [subnetA, subnetB]]);
    const [{ VpcSecurityGroupId: clusterGroup }] = cluster.VpcSecurityGroups;
    const { SecurityGroups } = await emulator.ask('ec2', 'describe_security_groups', { GroupIds: [clusterGroup, own] });
    const [ofCluster, ofFunction] = [clusterGroup, own].map((id) =>
      SecurityGroups.find(({ GroupId }: { GroupId: string }) => GroupId === id),
    );
    equal(ofCluster.IpPermissions.map(portAndGroup), [[5433, own]]);
    equal(ofFunction.IpPermissionsEgress.map(portAndGroup), [
      [443, undefined],
      [5433, clusterGroup],
    ]);
  });

  // The name of a cluster leads to no server here.
  await t.test('deletes the dead rows behind the address of a real server', async () => {
    await deployed.setVariables({ DB_HOST: host, DB_PORT: String(port) });
    await database.fill();
    const { report } = await deployed.invoke();
    equal([report.error, report.status, report.rowsDeleted], [undefined, 'succeeded', 3]);
    equal((await database.rows()).refresh_tokens, ['live', 'live for ever', 'unknown']);
  });

  await t.test('destroys the cluster and its cleanup together', async () => {
    await project.cdk(['destroy', ...app, '--force']);
    const { DBClusters } = await emulator.ask('rds', 'describe_db_clusters');
    equal(DBClusters, []);
  });
}

interface Permission {
  readonly FromPort: number;
  readonly UserIdGroupPairs: readonly { readonly GroupId: string }[];
}

function portAndGroup({ FromPort, UserIdGroupPairs }: Permission) {
  return [FromPort, UserIdGroupPairs[0]?.GroupId];
}
