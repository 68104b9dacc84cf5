/**
 * `npm run test:deploy`: both kinds of stages deployed by the CDK's own CLI to an AWS that runs here, and used. It shows only
 * what a template cannot: that everything is created, runs, survives a rotation, and goes away. Properties of resources are
 * compared with the template in the unit tests, not read back from the emulator.
 *
 * That AWS is MiniStack. Of the emulators that PyPI has, and that need no Docker, it carries the stack furthest: it takes
 * nearly the whole template, runs functions with the Node.js of this machine, fires schedules, and enforces IAM, so that a
 * permission that is missing shows. With moto 5.2, `cdk bootstrap` succeeds and leaves no bucket, so that nothing can be
 * deployed. localstack-core 2026.3 does not start outside of its image.
 *
 * What it lacks, emulator.py adds: the time zone of a schedule, the network and the reserved concurrency of a function,
 * rules of security groups by themselves, the DNS names of an endpoint, alarms on expressions, composite alarms, saved queries,
 * and the registry of test events. Of these only the names are kept after a check against AWS's description of the API.
 *
 * What this does not show:
 * - Functions run on this machine's Node.js and processor, not on nodejs24.x and arm64; with its memory and time, without
 *   /opt and /var/runtime. So the variable of the certificates is changed before a run.
 * - There is no network: an endpoint's name leads nowhere, and rules of security groups stop nobody.
 * - Nothing is encrypted, no key is asked for permission, and which key a topic has is not told.
 * - RDS is not there either. What stands before a database and takes only tokens checks their signature and for whom they
 *   are, but not whether the role may connect.
 * - The scheduler fires, within ten seconds, in UTC, whatever the time zone and the window; it neither assumes its role nor
 *   retries, and has no dead letters of its own.
 * - CloudWatch makes no metrics of the log, so no alarm goes off by itself: the log is compared with the metrics
 *   that a run must emit, and one alarm is set by hand.
 * - How long things take, what they cost, and which quotas an account has.
 */
import test, { type TestContext } from 'node:test';
import '../support/environment';
import { takeCensus } from './census';
import { destroy } from './destroy';
import { DevStage } from './dev';
import { lint } from './lint';
import { ProdStage } from './prod';
import { World } from './world';

const INTERRUPTED = 130;

test('npm run test:deploy', async (t) => {
  const world = await World.create();
  try {
    const before = await takeCensus(world.emulator);
    const dev = await chapter(t, 'cdk deploy -c stage=dev', async (t) => {
      const stage = await DevStage.deploy(world);
      await stage.inspect(t);
      return stage;
    });
    await chapter(t, 'the function of dev', (t) => dev.run(t));
    await chapter(t, 'cdk deploy -c stage=dev, again', (t) => dev.change(t));
    await chapter(t, 'cdk deploy -c stage=prod', async (t) => {
      const stage = await ProdStage.deploy(world);
      await stage.inspect(t);
      await stage.run(t);
    });
    await chapter(t, 'the templates', (t) => lint(t, world));
    await chapter(t, 'the schedule of dev', (t) => dev.waitForSchedule(t));
    await chapter(t, 'cdk destroy', (t) => destroy(t, world, before));
  } finally {
    await world.remove();
  }
});

/** Runs tests under a title. An assertion that fails fails alone; where a step fails that others rest on, all ends. */
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

// Whatever was started goes when this process ends.
process.on('SIGINT', () => process.exit(INTERRUPTED));
