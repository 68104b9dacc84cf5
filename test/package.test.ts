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
import { resource } from './support/cdk';
import { useDatabase } from './support/database';
import { readDocument, readmeCode } from './support/readme';

const run = promisify(execFile);
const database = useDatabase();

const root = mkdtempSync(join(tmpdir(), 'token-cleanup-package-'));
afterAll(() => rmSync(root, { recursive: true }));

/** The package as npm would upload it, unpacked. */
const unpacked = join(root, 'package');
let tarball: string;

beforeAll(async () => {
  // Without jsii, which takes longer than all of the rest: test/packages looks at what it adds.
  await run('npm', ['run', 'build', '--ignore-scripts=false']);
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', root]);
  const [file = ''] = readdirSync(root);
  tarball = join(root, file);
  await run('tar', ['-xzf', tarball, '-C', root]);
}, 120_000);

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

/** Compiles a project; its types and, unless they are said to be sloppy, those of its packages are checked. */
async function compile(project: string, { skipLibCheck = false } = {}): Promise<void> {
  const compiler = resolve('node_modules/typescript/bin/tsc');
  await run(process.execPath, [compiler, '--skipLibCheck', String(skipLibCheck)], { cwd: project }).catch(
    ({ stdout }) => {
      throw new Error(stdout);
    },
  );
}

function filesOf(directory: string): string[] {
  const paths = readdirSync(directory, { recursive: true }) as string[];
  return paths.filter((path) => statSync(join(directory, path)).isFile());
}

test('contains the compiled code and the functions, and nothing else', () => {
  const compiled = /^dist\/(lambda|lib)(\/[a-z-]+)+(\.d\.ts|\.js)$/;

  expect(
    filesOf(unpacked)
      .filter((file) => !compiled.test(file))
      .sort(),
  ).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    ...['fleet', 'function', 'summary', 'widget'].flatMap((name) => [
      `dist/${name}/THIRD-PARTY-NOTICES.txt`,
      `dist/${name}/index.mjs`,
    ]),
    'lib/API.md',
    'package.json',
    'targets.schema.json',
  ]);
});

test('contains no trace of the machine that built it', () => {
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

test('deploys the function that it holds by the lines of the README, in a CDK app without a bundler', async () => {
  const app = createProject('cdk-app', ['aws-cdk-lib', 'constructs', 'cronstrue', 'zod', '@types/node'], {
    'app.ts': readmeCode('ts', '## In a CDK app of your own'),
  });

  await compile(app);
  await run(process.execPath, ['app.js'], { cwd: app, env: { ...process.env, CDK_OUTDIR: 'out' } });

  const template = Template.fromJSON(JSON.parse(readFileSync(join(app, 'out', 'Auth.template.json'), 'utf8')));
  const { Handler, Code } = resource(template, 'AWS::Lambda::Function');
  expect(Handler).toBe('index.handler');
  const asset = join(app, 'out', `asset.${Code.S3Key.replace('.zip', '')}`);
  const prebuilt = join(unpacked, 'dist', 'function');
  expect(readdirSync(asset)).toEqual(readdirSync(prebuilt));
  expect(readFileSync(join(asset, 'index.mjs'))).toEqual(readFileSync(join(prebuilt, 'index.mjs')));
  // To check the types of all of the CDK takes long on a machine that is busy.
}, 180_000);

describe('in a NestJS application', () => {
  let app = '';

  beforeAll(async () => {
    const nest = ['common', 'config', 'core', 'schedule', 'typeorm'].map((name) => `@nestjs/${name}`);
    const others = ['cron', 'pg', 'reflect-metadata', 'rxjs', 'typeorm', 'zod', '@types/node'];
    app = createProject('nest-app', [...nest, ...others], {
      'app.module.ts': readmeCode('ts', '### In-process with NestJS'),
      'main.ts': `
        import 'reflect-metadata';
        import { Module } from '@nestjs/common';
        import { NestFactory } from '@nestjs/core';
        import { SchedulerRegistry } from '@nestjs/schedule';
        import { TypeOrmModule } from '@nestjs/typeorm';
        import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
        import { AppModule } from './app.module.js';

        @Entity()
        class RefreshToken {
          @PrimaryColumn() id!: string;
          @Column() isRevoked!: boolean;
          @Column('timestamptz') expiresAt!: Date;
        }

        @Entity()
        class PasswordReset {
          @PrimaryColumn() id!: string;
          @Column('timestamptz', { nullable: true }) usedAt!: Date | null;
          @Column('timestamptz') expiresAt!: Date;
        }

        const entities = [RefreshToken, PasswordReset];
        const url = process.env.DATABASE_URL!;

        @Module({ imports: [TypeOrmModule.forRoot({ type: 'postgres', url, entities, synchronize: true }), AppModule] })
        class MainModule {}

        const inDays = (days: number) => new Date(Date.now() + days * 86_400_000);

        async function main() {
          const app = await NestFactory.createApplicationContext(MainModule);
          const { manager } = app.get(DataSource);
          await manager.insert(RefreshToken, [
            { id: 'live', isRevoked: false, expiresAt: inDays(1) }, { id: 'revoked', isRevoked: true, expiresAt: inDays(1) },
            { id: 'expired', isRevoked: false, expiresAt: inDays(-1) },
          ]);
          await manager.insert(PasswordReset, [
            { id: 'live', usedAt: null, expiresAt: inDays(1) }, { id: 'used', usedAt: inDays(-1), expiresAt: inDays(1) },
            { id: 'just expired', usedAt: null, expiresAt: inDays(-6) }, { id: 'expired', usedAt: null, expiresAt: inDays(-8) },
          ]);
          await app.get(SchedulerRegistry).getCronJob('token-cleanup').fireOnTick();
          await app.close();
        }
        void main();`,
      'served.ts': `
        import 'reflect-metadata';
        import { NestFactory } from '@nestjs/core';
        import { SchedulerRegistry } from '@nestjs/schedule';
        import { AppModule } from './app.module.js';

        async function main() {
          const app = await NestFactory.createApplicationContext(AppModule);
          app.enableShutdownHooks();
          await app.get(SchedulerRegistry).getCronJob('token-cleanup').fireOnTick();
        }
        void main();`,
    });
    await compile(app, { skipLibCheck: true });
  }, 120_000);

  test('cleans the tables of TypeORM by the lines of the README', async () => {
    const env = {
      PATH: process.env.PATH,
      ...database.environment,
      DATABASE_URL: database.url,
      CLEANUP_TARGETS: readmeCode('json', '### Tables as ORMs make them'),
    };

    const { stdout } = await run(process.execPath, ['main.js'], { cwd: app, env });

    expect(stdout).toContain('token cleanup: succeeded, 4 rows deleted');
    expect(await database.column('select id from refresh_token')).toEqual(['live']);
    expect(await database.column('select id from password_reset')).toEqual(['just expired', 'live']);
  });

  test('ends a run when the process is told to terminate', async () => {
    await database.sql(`
      create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
      insert into refresh_tokens select id, true from generate_series(1, 1000) as id;
      create function dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(0.02); return old; end';
      create trigger dawdle before delete on refresh_tokens for each row execute function dawdle()`);
    const env = { PATH: process.env.PATH, ...database.environment };
    const running = run(process.execPath, ['served.js'], { cwd: app, env });
    const ended = running.catch((error) => error);
    await database.until(`select count(*) between 1 and 999 from refresh_tokens`);

    running.child.kill('SIGTERM');

    const { signal, stdout } = await ended;
    expect(signal).toBe('SIGTERM');
    expect(stdout).toContain('token cleanup: partial');
    await database.untilGone();
    expect(await database.column('select count(*)::int > 0 from refresh_tokens')).toEqual([true]);
  });
});

describe('installed by npm', () => {
  const project = join(root, 'script');
  const modules = join(project, 'node_modules');

  beforeAll(async () => {
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{}');
    // What it depends on comes from the cache that the installation of this project has filled.
    const flags = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'];
    await run('npm', ['install', ...flags, tarball], { cwd: project });
  }, 120_000);

  test('installs the driver, the validation and the crontab descriptions, with their dependencies', () => {
    const lock = JSON.parse(readFileSync(join(modules, '.package-lock.json'), 'utf8'));
    const packages = Object.keys(lock.packages).map((path) => path.replace('node_modules/', ''));
    const bytes = filesOf(modules).reduce((sum, file) => sum + statSync(join(modules, file)).size, 0);
    expect(Object.keys(lock.packages['node_modules/token-cleanup'].dependencies).sort()).toEqual([
      'cronstrue',
      'pg',
      'zod',
    ]);
    expect(packages.filter((name) => /^@|aws|nestjs/.test(name))).toEqual([]);
    const [, count, megabytes] = /installs (\d+) packages of (\d+) MB/.exec(readDocument('README.md')) ?? [];
    expect(packages).toHaveLength(Number(count));
    expect(Math.round(bytes / 1e6)).toBe(Number(megabytes));
  });

  test('cleans a table by the lines of the README, in a Node.js script', async () => {
    await database.sql(`
      create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
      insert into refresh_tokens values (1, true, null), (2, false, now() - interval '1 second'), (3, false, null)`);
    writeFileSync(join(project, 'cleanup.mjs'), readmeCode('js', '### In a Node.js script'));
    const env = { PATH: process.env.PATH, ...database.environment };

    const { stdout } = await run(process.execPath, ['cleanup.mjs'], { cwd: project, env });

    expect(stdout).toContain('token cleanup: succeeded, 2 rows deleted');
    expect(await database.column('select id from refresh_tokens')).toEqual([3]);
  });
});
