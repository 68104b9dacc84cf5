import { execFile } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Template } from 'aws-cdk-lib/assertions';
import { resource, SECRET_ARN } from './support/cdk';
import { useDatabase } from './support/database';

const run = promisify(execFile);
const database = useDatabase();

const root = mkdtempSync(join(tmpdir(), 'token-cleanup-package-'));
afterAll(() => rmSync(root, { recursive: true }));

/** The package as npm would upload it, unpacked. */
const unpacked = join(root, 'package');

beforeAll(async () => {
  // It is built on the way, also where npm is told to run no scripts of packages.
  await run('npm', ['pack', '--ignore-scripts=false', '--pack-destination', root]);
  const [tarball = ''] = readdirSync(root);
  await run('tar', ['-xzf', join(root, tarball), '-C', root]);
});

/**
 * A project outside of this one that has the package installed, and of the other packages those that are named. They are
 * links to what is installed here, so that no registry is asked.
 */
function createProject(name: string, packages: readonly string[], files: Readonly<Record<string, string>>): string {
  const directory = join(root, name);
  cpSync(unpacked, join(directory, 'node_modules', 'token-cleanup'), { recursive: true });
  for (const dependency of packages) {
    const link = join(directory, 'node_modules', dependency);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(resolve('node_modules', dependency), link);
  }
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    types: ['node'],
    strict: true,
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
  };
  const configuration = { 'package.json': '{}', 'tsconfig.json': JSON.stringify({ compilerOptions }) };
  for (const [path, content] of Object.entries({ ...configuration, ...files })) {
    writeFileSync(join(directory, path), content);
  }
  return directory;
}

/** Compiles a project; its types and those of its packages are checked. */
async function compile(project: string): Promise<void> {
  await run(process.execPath, [resolve('node_modules/typescript/bin/tsc')], { cwd: project }).catch(({ stdout }) => {
    throw new Error(stdout);
  });
}

function filesOf(directory: string): string[] {
  const paths = readdirSync(directory, { recursive: true }) as string[];
  return paths.filter((path) => statSync(join(directory, path)).isFile());
}

test('holds what is compiled and the function, and nothing else', () => {
  const compiled = /^dist\/(lambda|lib)(\/[a-z-]+)+(\.d\.ts|\.js)$/;

  expect(
    filesOf(unpacked)
      .filter((file) => !compiled.test(file))
      .sort(),
  ).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'dist/function/THIRD-PARTY-NOTICES.txt',
    'dist/function/index.mjs',
    'package.json',
  ]);
});

test('says nothing of the machine that it was made on', () => {
  for (const file of filesOf(unpacked)) {
    const content = readFileSync(join(unpacked, file), 'utf8');
    expect(content).not.toContain(process.cwd());
    expect(content).not.toContain(tmpdir());
    expect(content).not.toContain('sourceMappingURL');
  }
});

test('runs nothing when it is installed', () => {
  const { scripts } = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'));

  expect(Object.keys(scripts).filter((name) => /^(pre|post)?install$|^prepare$/.test(name))).toEqual([]);
});

test('deploys the function that it holds, in a CDK app without a bundler', async () => {
  const app = createProject('cdk-app', ['aws-cdk-lib', 'constructs', 'cronstrue', 'zod', '@types/node'], {
    'app.ts': `
      import { App, Duration, Stack } from 'aws-cdk-lib';
      import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
      import { Topic } from 'aws-cdk-lib/aws-sns';
      import { Monitoring, type TargetsInput, TokenCleanup, type TokenCleanupProps } from 'token-cleanup';

      const stack = new Stack(new App({ outdir: 'out' }), 'Mine');
      const targets: TargetsInput = [{ table: 'sessions', deleteWhen: [{ expires_at: { olderThan: '7d' } }] }];
      const props: TokenCleanupProps = {
        stage: 'prod', secret: Secret.fromSecretCompleteArn(stack, 'Secret', '${SECRET_ARN}'), targets, timeout: Duration.minutes(5),
      };
      const cleanup = new TokenCleanup(stack, 'Cleanup', props);
      new Monitoring(stack, 'Monitoring', { cleanups: [cleanup], topic: new Topic(stack, 'Topic') });
      (stack.node.root as App).synth();`,
  });

  await compile(app);
  await run(process.execPath, ['app.js'], { cwd: app });

  const template = Template.fromJSON(JSON.parse(readFileSync(join(app, 'out', 'Mine.template.json'), 'utf8')));
  const { Handler, Code } = resource(template, 'AWS::Lambda::Function');
  expect(Handler).toBe('index.handler');
  const asset = join(app, 'out', `asset.${Code.S3Key.replace('.zip', '')}`);
  const prebuilt = join(unpacked, 'dist', 'function');
  expect(readdirSync(asset)).toEqual(readdirSync(prebuilt));
  expect(readFileSync(join(asset, 'index.mjs'))).toEqual(readFileSync(join(prebuilt, 'index.mjs')));
  // To check the types of all of the CDK takes long on a machine that is busy.
}, 180_000);

test('holds a function that runs by itself', async () => {
  const script = `
    import { handler } from ${JSON.stringify(join(unpacked, 'dist', 'function', 'index.mjs'))};
    const { status, warnings } = await handler({}, { getRemainingTimeInMillis: () => 60_000 });
    console.error(status, warnings);`;
  const env = { PATH: process.env.PATH, NODE_ENV: 'test' };

  const { stderr } = await run(process.execPath, ['--input-type=module', '--eval', script], { env });

  expect(stderr).toContain("skipped [ 'NODE_ENV is test, where the job does not run' ]");
});

test('cleans a table in a NestJS application without the CDK', async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens values (1, true, null), (2, false, now() - interval '1 second'), (3, false, null)`);
  const nest = [
    '@nestjs/common',
    '@nestjs/config',
    '@nestjs/core',
    '@nestjs/schedule',
    'cron',
    'reflect-metadata',
    'rxjs',
  ];
  const app = createProject('nest-app', [...nest, 'pg', 'zod', '@types/node'], {
    'auth-cleanup.module.ts': readFileSync('test/nest/auth-cleanup.module.ts', 'utf8'),
    'main.ts': `
      import 'reflect-metadata';
      import { NestFactory } from '@nestjs/core';
      import { SchedulerRegistry } from '@nestjs/schedule';
      import { AuthCleanupModule } from './auth-cleanup.module.js';

      async function main() {
        const app = await NestFactory.createApplicationContext(AuthCleanupModule);
        await app.get(SchedulerRegistry).getCronJob('token-cleanup').fireOnTick();
        await app.close();
      }
      void main();`,
  });
  const env = { PATH: process.env.PATH, ...database.environment };

  await compile(app);
  const { stdout } = await run(process.execPath, ['main.js'], { cwd: app, env });

  expect(stdout).toContain('token cleanup: succeeded, 2 rows deleted');
  expect(await database.column('select id from refresh_tokens')).toEqual([3]);
});
