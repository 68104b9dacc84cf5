/**
 * `npm run test:deploy`: all kinds of stages deployed by the CDK's own CLI to an AWS that runs here, and used. It shows only
 * what a template cannot: that everything is created, runs, survives a rotation, and goes away. Properties of resources are
 * compared with the template in the unit tests, not read back from the emulator.
 *
 * README.md describes that AWS, and its limits.
 */
import test, { type TestContext } from 'node:test';
import '../support/environment';
import { takeCensus } from './census';
import { deployCluster } from './cluster';
import { destroy } from './destroy';
import { DevStage } from './dev';
import { FleetStage } from './fleet';
import { installLinters, lint } from './lint';
import { ProdStage } from './prod';
import { World } from './world';

const INTERRUPTED = 130;

test('npm run test:deploy', async (t) => {
  const world = await World.create();
  try {
    const linters = installLinters();
    const before = await takeCensus(world.emulator);
    const dev = await chapter(t, 'cdk deploy -c stage=dev', async (t) => {
      const stage = await DevStage.deploy(world);
      await stage.inspect(t);
      return stage;
    });
    await chapter(t, 'the function of dev', (t) => dev.run(t));
    await chapter(t, 'cdk deploy -c stage=dev, again', (t) => dev.change(t));
    const prod = await chapter(t, 'cdk deploy -c stage=prod', async (t) => {
      const stage = await ProdStage.deploy(world);
      await stage.inspect(t);
      await stage.run(t);
      return stage;
    });
    await chapter(t, 'the state machine of prod', (t) => prod.continue(t));
    await chapter(t, 'the dashboard of prod', (t) => prod.press(t));
    const fleet = await chapter(t, 'cdk deploy -c stage=fleet', async (t) => {
      const stage = await FleetStage.deploy(world);
      await stage.inspect(t);
      await stage.begin();
      return stage;
    });
    // In the meantime the function waits for the server that is down, and the schedule fires.
    await chapter(t, 'cdk deploy of an app with a cluster of its own', (t) => deployCluster(t, world));
    await chapter(t, 'the templates', (t) => lint(t, world, linters));
    await chapter(t, 'the schedule of dev', (t) => dev.waitForSchedule(t));
    await chapter(t, 'runs on the fleet', (t) => fleet.inspectRuns(t));
    await chapter(t, 'runs of a part of the fleet, and of a part of the time', (t) => fleet.inspectLimits(t));
    await chapter(t, 'cdk destroy', (t) => destroy(t, world, before));
  } finally {
    await world.remove();
  }
});

/** Runs tests under a title. A failed assertion fails alone; a failed step on which others depend ends everything. */
async function chapter<Result>(
  t: TestContext,
  title: string,
  run: (t: TestContext) => Promise<Result>,
): Promise<Result> {
  let result: Result | undefined;
  let failure: unknown;
  await t.test(title, async (t) => {
    try {
      result = await run(t);
    } catch (error) {
      failure = error;
      throw error;
    }
  });
  if (failure) {
    throw new Error(`there is no going on after: ${title}`);
  }
  return result as Result;
}

// Everything that was started ends with this process.
process.on('SIGINT', () => process.exit(INTERRUPTED));
