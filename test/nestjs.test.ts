import 'reflect-metadata';
import {
  type DynamicModule,
  type HttpException,
  type INestApplicationContext,
  type LoggerService,
  Module,
} from '@nestjs/common';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import {
  TokenCleanupHealthIndicator,
  TokenCleanupModule,
  type TokenCleanupModuleOptions,
  TokenCleanupService,
} from '../lambda/nestjs';
import { useDatabase } from './support/database';

const { HealthCheckService, TerminusModule } = require('@nestjs/terminus');

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

interface Given {
  /** What the ConfigService holds besides the login. */
  readonly variables?: Readonly<Record<string, unknown>>;
  readonly module?: DynamicModule;
  readonly withScheduler?: boolean;
}

/** Starts a Nest application that consists of the module. */
async function boot({ variables = {}, module = TokenCleanupModule.forRoot(), withScheduler = true }: Given = {}) {
  const load = [() => ({ NODE_ENV: 'production', ...database.environment, ...variables })];
  const configuration = ConfigModule.forRoot({ ignoreEnvFile: true, skipProcessEnv: true, load });
  const scheduler = withScheduler ? [ScheduleModule.forRoot()] : [];

  @Module({ imports: [configuration, ...scheduler, TerminusModule.forRoot({ logger: false }), module] })
  class AppModule {}

  const application = await NestFactory.createApplicationContext(AppModule, { logger, abortOnError: false });
  applications.push(application);
  return application;
}

const keep =
  (level: string) =>
  (message: unknown, ...rest: unknown[]) => {
    if (rest.at(-1) === 'TokenCleanupService') {
      lines.push(`${level} ${String(message).replace(/\d+ ms/, 'n ms')}`);
    }
  };
const logger: LoggerService = { log: keep('log'), warn: keep('warn'), error: keep('error'), debug: keep('debug') };

function jobsOf(application: INestApplicationContext) {
  return application.get(SchedulerRegistry).getCronJobs();
}

function fire(application: INestApplicationContext) {
  return jobsOf(application).get('token-cleanup')?.fireOnTick();
}

test.each<[string, string, Given]>([
  ['0 3 * * *', 'UTC', {}],
  ['30 2 * * 1', 'UTC', { variables: { REFRESH_TOKEN_CLEANUP_CRON: '30 2 * * 1' } }],
  [
    '15 4 * * *',
    'Europe/Berlin',
    {
      variables: { REFRESH_TOKEN_CLEANUP_CRON: '30 2 * * 1' },
      module: TokenCleanupModule.forRoot({ crontab: '15 4 * * *', timeZone: 'Europe/Berlin' }),
    },
  ],
])('schedules the job at %s in %s', async (crontab, timeZone, given) => {
  const jobs = jobsOf(await boot(given));

  expect([...jobs.keys()]).toEqual(['token-cleanup']);
  const job = jobs.get('token-cleanup');
  expect(job?.cronTime.source).toBe(crontab);
  expect(job?.cronTime.timeZone).toBe(timeZone);
  expect(job?.isActive).toBe(true);
});

test('deletes the dead rows when the job fires, and logs to the logger of Nest', async () => {
  await fire(await boot({ variables: { CLEANUP_CONCURRENCY: 2, DB_PORT: database.server.port } }));

  expect(await database.column('select id from refresh_tokens')).toEqual([3, 4]);
  expect(lines).toEqual([
    'log refresh_tokens: succeeded, 2 rows deleted, n ms',
    'log token cleanup: succeeded, 2 rows deleted, n ms',
  ]);
});

test('takes options from other providers, which override the variables', async () => {
  const module = TokenCleanupModule.forRootAsync({
    inject: [ConfigService],
    useFactory: async (config: ConfigService): Promise<TokenCleanupModuleOptions> => ({
      connection: database.connection({ host: config.getOrThrow('MY_HOST') }),
      targets: [{ table: 'refresh_tokens', deleteWhen: [{ revoked: true }] }],
    }),
  });
  const application = await boot({
    module,
    variables: { MY_HOST: database.server.host, DB_HOST: undefined, DB_USER: undefined, CLEANUP_TARGETS: '[' },
  }).catch((error: Error) => error.message);
  // The variables are checked all the same.
  expect(application).toMatch(/^CLEANUP_TARGETS must be JSON, got "\[": /);

  const { status } = await (await boot({ module, variables: { MY_HOST: database.server.host, DB_HOST: undefined } }))
    .get(TokenCleanupService)
    .run();

  expect(status).toBe('succeeded');
  expect(await database.column('select id from refresh_tokens')).toEqual([2, 3, 4]);
});

test('ends with all mistakes in one message when the configuration is wrong', async () => {
  const variables = {
    DB_HOST: undefined,
    DB_PASSWORD: undefined,
    CLEANUP_CONCURRENCY: 0,
    REFRESH_TOKEN_CLEANUP_CRON: '0 0 3 * * *',
  };

  await expect(boot({ variables })).rejects.toThrow(
    [
      'REFRESH_TOKEN_CLEANUP_CRON must be a crontab of five fields, got "0 0 3 * * *"',
      'DB_HOST is required',
      'DB_PASSWORD is required',
      'CLEANUP_CONCURRENCY must be a whole number from 1 to 16, got "0"',
    ].join('\n'),
  );
});

test('reports an application without a scheduler', async () => {
  await expect(boot({ withScheduler: false })).rejects.toThrow(
    'TokenCleanupModule needs ScheduleModule.forRoot() among the imports of the application',
  );
});

test('does nothing if NODE_ENV is test, and reads no settings', async () => {
  const useFactory = jest.fn();
  const application = await boot({
    module: TokenCleanupModule.forRootAsync({ useFactory }),
    variables: { NODE_ENV: 'test', DB_HOST: undefined, CLEANUP_CONCURRENCY: 'nonsense' },
    withScheduler: false,
  });

  expect(useFactory).not.toHaveBeenCalled();
  expect(await application.get(TokenCleanupService).run()).toMatchObject({ status: 'skipped', rowsDeleted: 0 });
  expect(application.get(TokenCleanupHealthIndicator).isHealthy()).toEqual({ 'token-cleanup': { status: 'up' } });
  expect(await database.column('select id from refresh_tokens')).toEqual([1, 2, 3, 4]);
});

test('is down for @nestjs/terminus as long as the last run failed', async () => {
  const application = await boot();
  const indicator = application.get(TokenCleanupHealthIndicator);
  const check = () =>
    application
      .get(HealthCheckService)
      .check([() => indicator.isHealthy()])
      .catch((error: HttpException) => error.getResponse())
      .then(({ details }: { details: object }) => Object.values(details)[0]);

  expect(await check()).toEqual({ status: 'up' });
  await database.sql('alter table refresh_tokens rename to elsewhere');
  await fire(application);
  expect(await check()).toEqual({
    status: 'down',
    lastRun: 'failed',
    endedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    rowsDeleted: 0,
    error: expect.stringContaining('does not exist'),
  });
  await database.sql('alter table elsewhere rename to refresh_tokens');
  await fire(application);
  expect(await check()).toMatchObject({ status: 'up', lastRun: 'succeeded', rowsDeleted: 2 });
  // It deletes nothing, and so proves nothing.
  await application.get(TokenCleanupService).run({ dryRun: true });
  expect(await check()).toMatchObject({ rowsDeleted: 2 });
});

describe('while a run is under way', () => {
  let migration: Awaited<ReturnType<typeof database.connect>>;

  /** A lock on the whole table, as `create index` takes it, which a run waits for. */
  beforeEach(async () => {
    migration = await database.connect();
    await migration.query('begin; lock table refresh_tokens in share mode');
  });

  test('skips the run of another instance', async () => {
    const [first, second] = [await boot(), await boot()];
    const run = fire(first);
    await database.untilSweepWaits();

    await fire(second);
    const linesOfTheSecond = lines.splice(0);
    await migration.query('rollback');
    await run;

    expect(linesOfTheSecond).toEqual([
      'warn another run is active on this database',
      'log refresh_tokens: skipped, 0 rows deleted, n ms',
      'log token cleanup: skipped, 0 rows deleted, n ms',
    ]);
    expect(lines).toContain('log token cleanup: succeeded, 2 rows deleted, n ms');
    expect(await database.column('select id from refresh_tokens')).toEqual([3, 4]);
  });

  test.each<[string, (application: INestApplicationContext) => unknown]>([
    ['the job started', fire],
    ['the application started', (application) => application.get(TokenCleanupService).run()],
  ])('ends a run that %s when the application is shut down', async (_, start) => {
    const application = await boot();
    void start(application);
    await database.untilSweepWaits();

    await application.close();

    expect(lines).toContain('warn token cleanup: partial, 0 rows deleted, n ms');
    await migration.query('rollback');
    expect(await database.column('select id from refresh_tokens')).toEqual([1, 2, 3, 4]);
  });
});
