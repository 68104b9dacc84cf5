import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import type { INestApplicationContext, LoggerService } from '@nestjs/common';
import { useDatabase } from './support/database';

const database = useDatabase();

/** What the applications of a test wrote to the logger of Nest, without the times. */
const lines: string[] = [];
const applications: INestApplicationContext[] = [];

beforeEach(async () => {
  lines.length = 0;
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens values
      (1, true, now() + interval '1 day'), (2, false, now() - interval '1 second'), (3, false, now() + interval '1 day'),
      (4, null, null)`);
});
afterEach(() => Promise.all(applications.splice(0).map((application) => application.close())));

/** Loads the module and all of Nest anew, since the module decides by `NODE_ENV` as it is loaded. */
async function load(nodeEnv: string, variables: Record<string, string>) {
  const ownNodeEnv = process.env.NODE_ENV;
  process.env.NODE_ENV = nodeEnv;
  try {
    jest.resetModules();
    const { ConfigModule } = await import('@nestjs/config');
    const { NestFactory } = await import('@nestjs/core');
    const { SchedulerRegistry } = await import('@nestjs/schedule');
    const { AuthCleanupModule } = await import('./nest/auth-cleanup.module');
    const configuration = ConfigModule.forRoot({ ignoreEnvFile: true, load: [() => variables] });
    const module = { module: class AppModule {}, imports: [configuration, AuthCleanupModule] };
    const start = (logger: LoggerService) =>
      NestFactory.createApplicationContext(module, { logger, abortOnError: false });
    return { start, SchedulerRegistry };
  } finally {
    process.env.NODE_ENV = ownNodeEnv;
  }
}

/** Starts a Nest application that consists of the module, with the variables of an environment. */
async function boot(nodeEnv: string, variables: Record<string, string> = {}) {
  const keep =
    (level: string) =>
    (message: unknown, ...rest: unknown[]) => {
      if (rest.at(-1) === 'TokenCleanupService') {
        lines.push(`${level} ${String(message).replace(/\d+ ms/, 'n ms')}`);
      }
    };
  const logger = { log: keep('log'), warn: keep('warn'), error: keep('error'), debug: keep('debug') };
  const module = await load(nodeEnv, { ...database.environment, ...variables });
  const application = await module.start(logger);
  applications.push(application);
  return { application, jobs: application.get(module.SchedulerRegistry).getCronJobs() };
}

test.each([
  ['0 3 * * *', {}],
  ['30 2 * * 1', { REFRESH_TOKEN_CLEANUP_CRON: '30 2 * * 1' }],
])('registers the job at %s where the configuration is %p', async (crontab, variables) => {
  const { jobs } = await boot('production', variables);

  expect([...jobs.keys()]).toEqual(['token-cleanup']);
  const job = jobs.get('token-cleanup');
  expect(job?.cronTime.source).toBe(crontab);
  expect(job?.cronTime.timeZone).toBe('UTC');
  expect(job?.isActive).toBe(true);
});

test('deletes the dead rows when the job fires, and logs to the logger of Nest', async () => {
  const { jobs } = await boot('production');

  await jobs.get('token-cleanup')?.fireOnTick();

  expect(await database.column('select id from refresh_tokens')).toEqual([3, 4]);
  expect(lines).toEqual([
    'log refresh_tokens: succeeded, 2 rows deleted, n ms',
    'log token cleanup: succeeded, 2 rows deleted, n ms',
  ]);
});

test('registers nothing where NODE_ENV is test', async () => {
  const { jobs } = await boot('test');

  expect([...jobs.keys()]).toEqual([]);
});

describe('while a run is under way', () => {
  let migration: Awaited<ReturnType<typeof database.connect>>;

  /** A lock on the whole table, as `create index` takes it, which a run waits for. */
  beforeEach(async () => {
    migration = await database.connect();
    await migration.query('begin; lock table refresh_tokens in share mode');
  });

  test('skips the run of another instance', async () => {
    const [first, second] = [await boot('production'), await boot('production')];
    const run = first.jobs.get('token-cleanup')?.fireOnTick();
    await database.untilSweepWaits();

    await second.jobs.get('token-cleanup')?.fireOnTick();
    const linesOfTheSecond = lines.splice(0);
    await migration.query('rollback');
    await run;

    expect(linesOfTheSecond).toEqual([
      'warn another run is at work on this database',
      'log refresh_tokens: skipped, 0 rows deleted, n ms',
      'log token cleanup: skipped, 0 rows deleted, n ms',
    ]);
    expect(lines).toContain('log token cleanup: succeeded, 2 rows deleted, n ms');
    expect(await database.column('select id from refresh_tokens')).toEqual([3, 4]);
  });

  test('ends it when the application is shut down', async () => {
    const { application, jobs } = await boot('production');
    void jobs.get('token-cleanup')?.fireOnTick();
    await database.untilSweepWaits();

    await application.close();

    expect(lines).toContain('warn token cleanup: partial, 0 rows deleted, n ms');
    expect(lines).toContain('warn refresh_tokens: partial, interrupted, 0 rows deleted, n ms');
    await migration.query('rollback');
    expect(await database.column('select id from refresh_tokens')).toEqual([1, 2, 3, 4]);
  });
});

test('is what the README shows', () => {
  const [, section] = readFileSync('README.md', 'utf8').split('\n## In-process with NestJS\n');
  const [, example] = /```ts\n(.*?)```/s.exec(section ?? '') ?? [];

  expect(example).toBe(readFileSync('test/nest/auth-cleanup.module.ts', 'utf8'));
});
