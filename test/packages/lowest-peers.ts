/** The package beside the oldest releases of its peers that it accepts. Run by `npm run test:packages`. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Template } from 'aws-cdk-lib/assertions';
import { resource } from '../support/cdk';
import { useDatabase } from '../support/database';
import { readmeCode } from '../support/readme';

const run = promisify(execFile);
const database = useDatabase();

// The registry is asked for some 60 MB.
jest.setTimeout(600_000);

const project = mkdtempSync(join(tmpdir(), 'token-cleanup-lowest-'));
afterAll(() => rmSync(project, { recursive: true }));

const { peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
const lowest = Object.fromEntries(
  Object.entries<string>(peerDependencies).map(([name, range]) => [name, /\d+\.\d+\.\d+/.exec(range)?.[0] ?? range]),
);

/** What a Nest application needs besides, as old as these peers require, and the types of Node.js. */
const OTHERS = {
  '@nestjs/core': lowest['@nestjs/common'],
  'reflect-metadata': '0.1.13',
  rxjs: '7.1.0',
  '@types/node': '20.19.43',
};

beforeAll(async () => {
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', project]);
  const [tarball = ''] = readdirSync(project);
  const dependencies = { ...lowest, ...OTHERS, 'token-cleanup': `file:${tarball}` };
  writeFileSync(join(project, 'package.json'), JSON.stringify({ dependencies }));
  const compilerOptions = {
    ...{ module: 'nodenext', target: 'es2022', types: ['node'], strict: true, skipLibCheck: true },
    ...{ experimentalDecorators: true, emitDecoratorMetadata: true },
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  writeFileSync(join(project, 'stack.ts'), readmeCode('ts', '## In a CDK app of your own'));
  writeFileSync(join(project, 'app.module.ts'), readmeCode('ts', '### In-process with NestJS'));
  writeFileSync(join(project, 'main.ts'), MAIN);
  const flags = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'];
  // It fails if a version is not what a peer range accepts.
  await run('npm', ['install', '--strict-peer-deps', ...flags], { cwd: project });
  await run(process.execPath, [resolve('node_modules/typescript/bin/tsc')], { cwd: project }).catch(({ stdout }) => {
    throw new Error(stdout);
  });
});

const MAIN = `
  import 'reflect-metadata';
  import { NestFactory } from '@nestjs/core';
  import { SchedulerRegistry } from '@nestjs/schedule';
  import { AppModule } from './app.module.js';

  async function main() {
    const app = await NestFactory.createApplicationContext(AppModule);
    await app.get(SchedulerRegistry).getCronJob('token-cleanup').fireOnTick();
    await app.close();
  }
  void main();`;

test.each(Object.entries(lowest))('%s is installed in the version %s', (name, version) => {
  expect(JSON.parse(readFileSync(join(project, 'node_modules', name, 'package.json'), 'utf8')).version).toBe(version);
});

test('synthesizes by the lines of the README in a CDK app', async () => {
  await run(process.execPath, ['stack.js'], { cwd: project, env: { ...process.env, CDK_OUTDIR: 'out' } });

  const template = Template.fromJSON(JSON.parse(readFileSync(join(project, 'out', 'Auth.template.json'), 'utf8')));
  expect(resource(template, 'AWS::Lambda::Function').Handler).toBe('index.handler');
});

test('cleans a table by the lines of the README in a NestJS application', async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens values (1, true, null), (2, false, now() - interval '1 second'), (3, false, null)`);
  const env = { PATH: process.env.PATH, ...database.environment };

  const { stdout } = await run(process.execPath, ['main.js'], { cwd: project, env });

  expect(stdout).toContain('token cleanup: succeeded, 2 rows deleted');
  expect(await database.column('select id from refresh_tokens')).toEqual([3]);
});
