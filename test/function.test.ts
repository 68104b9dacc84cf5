import {
  type FunctionError,
  type Invocation,
  type InvocationResult,
  invoke,
  type LogLine,
} from '../bin/local/invocation';
import { LONGEST_STATE } from '../lambda/run/abridged-report';
import type { RunReport } from '../lambda/run/report';
import type { Answer } from '../lambda/run/rounds';
import { useDatabase } from './support/database';
import { FaultySecretsEndpoint } from './support/faulty-secrets-endpoint';
import { metricsIn } from './support/metrics';

const database = useDatabase();
const ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:tokens';

let endpoint: FaultySecretsEndpoint;
beforeAll(async () => {
  endpoint = await FaultySecretsEndpoint.start();
});
afterAll(() => endpoint.stop());

beforeEach(async () => {
  endpoint.requests = 0;
  endpoint.fault = undefined;
  endpoint.put(ARN, database.secret());
  await database.sql(`
    create table refresh_tokens (id int, token_hash text, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens
    select id, 'canary-hash-' || id, id % 2 = 0, now() + interval '1 day' from generate_series(1, 1000) as id`);
  await database.sql('vacuum refresh_tokens');
});

function run(invocation: Partial<Invocation> = {}): Promise<InvocationResult> {
  return invoke({
    ...invocation,
    environment: { ...endpoint.environment, DB_SECRET_ARN: ARN, DB_SSL_MODE: 'disable', ...invocation.environment },
  });
}

const STAGE_KEY = 'service=token-cleanup stage=prod';

/** The metrics of a run, by their dimensions. */
function metricsOf(logs: readonly LogLine[]): Record<string, Record<string, unknown>> {
  const found: Record<string, Record<string, unknown>> = {};
  for (const [id, value] of Object.entries(metricsIn(logs))) {
    const [name = '', ...dimensions] = id.split(' ');
    const key = dimensions.join(' ');
    found[key] = { ...found[key], [name]: value };
  }
  return found;
}

const NO_OUTCOME = { Succeeded: 0, Partial: 0, Failed: 0, Skipped: 0 };

/** The metrics of a run on the only table, besides its outcome. */
const ofTheTable = (RowsDeleted: number) => ({
  [`${STAGE_KEY} table=refresh_tokens`]: {
    RowsDeleted,
    Duration: expect.any(Number),
    RowsRemaining: 0,
    HoursUnlinked: RowsDeleted > 0 ? expect.any(Number) : 0,
  },
});

test('deletes, returns the report, logs a line for each table and the run, and emits the metrics', async () => {
  const { report, logs } = await run({ environment: { STAGE: 'prod' }, event: { source: 'aws.scheduler' } });

  expect(report).toMatchObject({ status: 'succeeded', stage: 'prod', dryRun: false, rowsDeleted: 500 });
  expect(await database.column('select count(*)::int from refresh_tokens where not revoked')).toEqual([500]);
  expect(logs.filter(({ level }) => level === 'INFO')).toMatchObject([
    { service: 'token-cleanup', stage: 'prod', target: { table: 'refresh_tokens', rowsDeleted: 500 } },
    { service: 'token-cleanup', stage: 'prod', run: { status: 'succeeded', rowsDeleted: 500 } },
  ]);
  expect(metricsOf(logs)).toEqual({ ...ofTheTable(500), [STAGE_KEY]: { ...NO_OUTCOME, Succeeded: 1 } });
});

test('emits zeros when there is nothing to do', async () => {
  await database.sql('delete from refresh_tokens where revoked');

  const { logs } = await run({ environment: { STAGE: 'prod' } });

  expect(metricsOf(logs)).toEqual({ ...ofTheTable(0), [STAGE_KEY]: { ...NO_OUTCOME, Succeeded: 1 } });
});

test.each([{}, { execution: 'id' }])('is skipped if NODE_ENV is test, and reads no secret: %j', async (event) => {
  const environment = { NODE_ENV: 'test', STAGE: 'prod', CLEANUP_MAX_LOAD: 'nonsense' };
  const { report, logs } = await run({ environment, event });

  expect(report).toMatchObject({ status: 'skipped', rowsDeleted: 0, targets: [] });
  expect(endpoint.requests).toBe(0);
  expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([1000]);
  expect(metricsOf(logs)).toEqual({ [STAGE_KEY]: { ...NO_OUTCOME, Skipped: 1 } });
});

test('counts in a dry run, and emits no metric that would end an alarm', async () => {
  const { report, logs } = await run({ environment: { STAGE: 'prod' }, event: { dryRun: true } });

  expect(report).toMatchObject({
    status: 'succeeded',
    dryRun: true,
    rowsDeleted: 0,
    targets: [{ rowsRemaining: 500 }],
  });
  expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([1000]);
  expect(metricsOf(logs)).toEqual({});
  // The sum of all tables, which the dashboard shows.
  expect(logs.at(-1)).toMatchObject({ run: { status: 'succeeded', rowsRemaining: 500 } });
});

test('emits all four outcomes of a run of some tables, which counts as no success', async () => {
  const rules = [{ revoked: true }];
  const environment = {
    STAGE: 'prod',
    CLEANUP_TARGETS: JSON.stringify(['refresh_tokens', 'sessions'].map((table) => ({ table, deleteWhen: rules }))),
  };

  const some = await run({ environment, event: { tables: ['refresh_tokens'] } });
  const failed = await run({ environment, event: { tables: ['sessions'] } });
  await database.sql('create table sessions (revoked boolean)');
  const all = await run({ environment, event: { tables: ['sessions', 'refresh_tokens'] } });

  expect(some.report).toMatchObject({ status: 'succeeded', rowsDeleted: 500 });
  expect(metricsOf(some.logs)).toEqual({ ...ofTheTable(500), [STAGE_KEY]: NO_OUTCOME });
  expect(metricsOf(failed.logs)[STAGE_KEY]).toEqual({ ...NO_OUTCOME, Failed: 1 });
  expect(metricsOf(all.logs)[STAGE_KEY]).toEqual({ ...NO_OUTCOME, Succeeded: 1 });
});

test.each<[string, Partial<Invocation>, string]>([
  [
    'the environment is wrong',
    { environment: { CLEANUP_MAX_LOAD: '2', CLEANUP_CONCURRENCY: '0' } },
    'CLEANUP_CONCURRENCY must be a whole number from 1 to 16, got "0"\nCLEANUP_MAX_LOAD must be above 0 and at most 1, got "2"',
  ],
  ['the event is wrong', { event: { dryRum: true } }, 'event.dryRum is not a known key (did you mean dryRun?)'],
  [
    'the secret does not exist',
    { environment: { DB_SECRET_ARN: `${ARN}2` } },
    "the secret could not be read: ResourceNotFoundException: Secrets Manager can't find the specified secret.",
  ],
  [
    'the file of certificates cannot be read',
    { environment: { DB_SSL_MODE: 'verify-full', DB_SSL_ROOT_CERT: '/nowhere.pem' } },
    'DB_SSL_ROOT_CERT must be a readable file, got "/nowhere.pem"',
  ],
  [
    'the server does not speak TLS, and no other is asked for',
    { environment: { DB_SSL_MODE: 'verify-full' } },
    'The server does not support SSL connections',
  ],
])('reports and counts the failure when %s, and deletes nothing', async (_, invocation, error) => {
  const { report, logs } = await run({ ...invocation, environment: { STAGE: 'prod', ...invocation.environment } });

  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 0, error });
  expect(logs.filter(({ level }) => level === 'ERROR').at(-1)).toMatchObject({ run: { status: 'failed', error } });
  expect(metricsOf(logs)[STAGE_KEY]).toEqual({ ...NO_OUTCOME, Failed: 1 });
  expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([1000]);
});

test.each([
  ['a password that is wrong for good', () => database.secret({ password: 'canary-password', user: 'canary-user' })],
  ['a secret that is not JSON', () => 'canary-password'],
  ['a secret of another shape', () => JSON.stringify({ username: 'canary-user', password: ['canary-password'] })],
])('fails fast on %s, and repeats none of it', async (_, text) => {
  endpoint.put(ARN, text());

  const { report, logs } = await run();

  expect(report.status).toBe('failed');
  expect(endpoint.requests).toBeLessThanOrEqual(2);
  expect(JSON.stringify([report, logs])).not.toContain('canary');
});

test('ends after its batch when the runtime is shut down, and reports it', async () => {
  await database.sql(
    `insert into refresh_tokens select id, repeat('x', 200), true, null from generate_series(1, 50000) as id`,
  );
  const interrupt = new AbortController();

  const { report } = await run({
    environment: { CLEANUP_MAX_LOAD: '0.01' },
    interrupt: interrupt.signal,
    onLog: ({ message }) => message === 'progress' && interrupt.abort(),
  });

  expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'interrupted' }] });
  await database.untilGone();
});

test('returns more than a state machine could hold, since nothing but Lambda limits its answer', async () => {
  const tables = Array.from({ length: 1_500 }, (_, i) => ({ table: `missing_${i}`, deleteWhen: [{ revoked: true }] }));

  const { report } = await run({ environment: { CLEANUP_TARGETS: JSON.stringify(tables) } });

  expect(JSON.stringify(report).length).toBeGreaterThan(LONGEST_STATE);
  expect((report as RunReport).targets).toHaveLength(1_500);
});

describe('called by a state machine', () => {
  const execution = 'arn:aws:states:eu-central-1:111122223333:execution:token-cleanup-prod_auth:1';
  const environment = { STAGE: 'prod' };
  const missing = { table: 'sessions', deleteWhen: [{ revoked: true }] };

  test('names the execution in every line of its log, and returns the report', async () => {
    const { report, logs } = await run({ environment, event: { execution } });

    expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 500 });
    expect([...new Set(logs.filter(({ level }) => level).map((line) => line.execution))]).toEqual([execution]);
  });

  test.each<[string, object, Record<string, string>, string]>([
    [
      'a table does not exist',
      {},
      { CLEANUP_TARGETS: JSON.stringify([missing]) },
      'sessions: table "public"."sessions" does not exist',
    ],
    ['the event is wrong', { dryRum: true }, {}, 'event.dryRum is not a known key (did you mean dryRun?)'],
    ['the environment is wrong', {}, { CLEANUP_MAX_LOAD: '2' }, 'CLEANUP_MAX_LOAD must be above 0'],
  ])('throws after it has reported and counted the failure when %s', async (_, event, variables, error) => {
    const failing = run({ environment: { ...environment, ...variables }, event: { ...event, execution } });
    const { errorType, message, logs } = await failing.then(
      () => expect(failing).rejects.toThrow() as never,
      (thrown: FunctionError) => thrown,
    );

    expect([errorType, message]).toEqual(['RunFailed', expect.stringContaining(error)]);
    expect(logs.filter(({ level }) => level === 'ERROR').at(-1)).toMatchObject({
      execution,
      run: { status: 'failed', error: message },
    });
    expect(metricsOf(logs)[STAGE_KEY]).toEqual({ ...NO_OUTCOME, Failed: 1 });
  });

  test('continues until nothing is left, and counts one success for all rounds', async () => {
    await database.sql(
      `insert into refresh_tokens select id, repeat('x', 200), true, null from generate_series(1, 200000) as id`,
    );
    const event = { execution, until: hoursFromNow(2) };

    const first = await run({ environment, event: { ...event, maxLoad: 0.01 }, timeLimitMs: 3000 });
    const { again, rounds } = first.report as Answer;
    const last = await run({ environment, event: { ...again, maxLoad: 1 } });

    expect(first.report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'deadline' }] });
    expect(rounds).toMatchObject({ count: 1, rowsDeleted: first.report.rowsDeleted });
    expect(again).toMatchObject({ ...event, rounds });
    expect(metricsOf(first.logs)[STAGE_KEY]).toEqual({ ...NO_OUTCOME, Partial: 1 });
    expect(last.report).toMatchObject({ status: 'succeeded', rounds: { count: 2, rowsDeleted: 200_500 } });
    expect(last.report).not.toHaveProperty('again');
    expect(metricsOf(last.logs)[STAGE_KEY]).toEqual({ ...NO_OUTCOME, Succeeded: 1 });
    expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([500]);
  });

  test('is not continued with a limit of rows, which would be one for each round', async () => {
    await database.sql(
      `insert into refresh_tokens select id, repeat('x', 200), true, null from generate_series(1, 200000) as id`,
    );

    const { report } = await run({
      environment: { ...environment, CLEANUP_MAX_ROWS: '1000000' },
      event: { execution, until: hoursFromNow(2), maxLoad: 0.01 },
      timeLimitMs: 3000,
    });

    expect(report).toMatchObject({ status: 'partial', targets: [{ stopReason: 'deadline' }] });
    expect(report).not.toHaveProperty('again');
  });

  test('deletes nothing once its window is over, and says so', async () => {
    const event = { execution, until: hoursFromNow(-1), scheduledAt: hoursAgo(2) };

    const { report, logs } = await run({ environment, event });

    expect(report).toMatchObject({
      status: 'skipped',
      warnings: [`less than a minute is left until ${event.until}`],
    });
    expect(endpoint.requests).toBe(0);
    expect(metricsOf(logs)[STAGE_KEY]).toEqual({ ...NO_OUTCOME, Skipped: 1 });
  });

  test('calls a dry run outside of its window a dry run, which emits no metric', async () => {
    const event = { dryRun: true, until: hoursFromNow(-1), scheduledAt: hoursAgo(2) };

    const { report, logs } = await run({ environment, event });

    expect(report).toMatchObject({ status: 'skipped', dryRun: true });
    expect(metricsOf(logs)).toEqual({});
  });

  test('throws at the end if an earlier round failed', async () => {
    const rounds = { count: 1, rowsDeleted: 0, durationMs: 1, status: 'failed', error: 'tenant_a: no table' };

    const failing = run({ environment, event: { execution, until: hoursFromNow(2), rounds } });

    await expect(failing).rejects.toMatchObject({
      errorType: 'RunFailed',
      message: 'an earlier round failed: tenant_a: no table',
    });
  });
});

/** A time of day in UTC. */
function hoursFromNow(hours: number): string {
  return new Date(Date.now() + hours * 3_600_000).toISOString().slice(11, 16);
}

function hoursAgo(hours: number): string {
  return new Date(Date.now() - hours * 3_600_000).toISOString();
}
