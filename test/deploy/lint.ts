import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { PythonEnvironment } from './python';
import type { World } from './world';

/** Public linters of templates. Rules that are switched off are in their configuration, with the reason. */
export async function lint(t: TestContext, { project }: World): Promise<void> {
  const { python } = await PythonEnvironment.of('requirements-lint.txt');
  await project.cdk(['synth', '-c', 'stage=staging', '--quiet']);
  for (const stage of Object.keys(project.stages)) {
    const template = join(project.directory, 'cdk.out', `TokenCleanup-${stage}.template.json`);

    await t.test(`passes cfn-lint with the stage ${stage}`, async () => {
      await run(python, [
        '-m',
        'cfnlint.runner.cli',
        '--config-file',
        join(__dirname, 'cfn-lint.yaml'),
        '--template',
        template,
      ]);
    });

    await t.test(`passes checkov with the stage ${stage}`, async () => {
      await run(python, ['-m', 'checkov.main', '--config-file', join(__dirname, 'checkov.yaml'), '--file', template]);
    });
  }
}

async function run(python: string, args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)(python, args);
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(stdout || stderr);
  }
}
