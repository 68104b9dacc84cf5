import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { PythonEnvironment } from './python';
import type { World } from './world';

/** Installs the linters. They take longer than anything else here, and are not needed before there are templates. */
export function installLinters(): Promise<PythonEnvironment> {
  const installing = PythonEnvironment.of('requirements-lint.txt');
  // A failure before somebody waits for it would end the process.
  installing.catch(() => {});
  return installing;
}

/** Public linters of templates. Rules that are switched off are in their configuration, with the reason. */
export async function lint(t: TestContext, { project }: World, linters: Promise<PythonEnvironment>): Promise<void> {
  const { python } = await linters;
  await project.cdk(['synth', '-c', 'stage=staging', '--quiet']);
  const templates = Object.keys(project.stages).map((stage) =>
    join(project.directory, 'cdk.out', `TokenCleanup-${stage}.template.json`),
  );
  // One process each for all templates, at the same time: they take long to begin.
  await Promise.all([
    t.test('passes cfn-lint with every stage', () =>
      run(python, [
        ...['-m', 'cfnlint.runner.cli', '--config-file', join(__dirname, 'cfn-lint.yaml')],
        ...['--template', ...templates],
      ]),
    ),
    t.test('passes checkov with every stage', () =>
      run(python, [
        ...['-m', 'checkov.main', '--config-file', join(__dirname, 'checkov.yaml')],
        ...['--file', ...templates],
      ]),
    ),
  ]);
}

async function run(python: string, args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)(python, args);
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(stdout || stderr);
  }
}
