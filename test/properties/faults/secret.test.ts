import childProcess from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { invoke } from '../../../bin/local/invocation';
import { handler } from '../../../lambda/handler';
import type { RunReport } from '../../../lambda/run/report';
import { SecretCredentials } from '../../../lambda/secret-credentials';
import { eventually } from '../../support/eventually';
import { DEAD, PURGER, TARGETS, useFaultyRuns } from '../../support/faulty-run';
import { type Fault, FaultySecretsEndpoint } from '../../support/faulty-secrets-endpoint';
import { TcpProxy } from '../../support/tcp-proxy';

/** Faults of Secrets Manager, and freezes of the process that runs the function. */

const faults = useFaultyRuns();
const { database } = faults;

const ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:tokens';
let endpoint: FaultySecretsEndpoint;
/** Stands before the endpoint. */
let network: TcpProxy;

beforeEach(async () => {
  endpoint = await FaultySecretsEndpoint.start();
  network = await TcpProxy.start('127.0.0.1', Number(new URL(endpoint.url).port));
  putSecret('right');
});
afterEach(async () => {
  await network.stop();
  await endpoint.stop();
});

function putSecret(password: string): void {
  endpoint.put(ARN, database.secret({ ...PURGER, port: faults.proxy.port, password }));
}

async function rotate(password: string): Promise<void> {
  await database.sql(`alter role purger password '${password}'`);
  putSecret(password);
}

function environment(): Record<string, string> {
  return {
    ...endpoint.environment,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${network.port}`,
    DB_SECRET_ARN: ARN,
    DB_SSL_MODE: 'disable',
    CLEANUP_TARGETS: JSON.stringify(TARGETS),
  };
}

/** The real handler in this process, as a warm one. */
async function invokeHere(timeLimitMs = 60_000): Promise<RunReport> {
  const env = jest.replaceProperty(process, 'env', environment());
  const outputs = [process.stdout, process.stderr].map((stream) => jest.spyOn(stream, 'write').mockReturnValue(true));
  const endsAt = performance.now() + timeLimitMs;
  try {
    return await handler({}, { getRemainingTimeInMillis: () => endsAt - performance.now() });
  } finally {
    env.restore();
    for (const output of outputs) {
      output.mockRestore();
    }
  }
}

async function failTwice(fault: Fault): Promise<void> {
  endpoint.fault = fault;
  await eventually(() => endpoint.requests >= 2);
  endpoint.fault = undefined;
}

const THROTTLED: Fault = { error: 'ThrottlingException', message: 'Rate exceeded' };
const BROKEN: Fault = { error: 'InternalServiceError', status: 500 };

/** Lets the endpoint fail from now on. */
const fail = (fault: Fault) => Object.assign(endpoint, { fault });
/** Lets the network reset so many connections. */
const refuse = (connections: number) => Object.assign(network, { refuse: connections });

test.each<[string, () => unknown]>([
  ['is slow', () => fail({ delayMs: 500 })],
  ['throttles at first', () => failTwice(THROTTLED)],
  ['has an internal error at first', () => failTwice(BROKEN)],
  ['cannot be reached at first', () => refuse(2)],
  [
    'rotates the password between its answer and the connection',
    () => {
      endpoint.onRequest = async () => {
        endpoint.onRequest = undefined;
        await rotate('rotated');
      };
    },
  ],
])('comes to a good end when it %s', async (_, fault) => {
  const faulty = fault();
  const report = await invokeHere();
  await faulty;
  await database.sql(`alter role purger password 'right'`);

  await faults.expectGoodEnd(report);
});

test.each<[string, () => unknown, RegExp]>([
  ['throttles', () => fail(THROTTLED), /^the secret could not be read: ThrottlingException: Rate exceeded$/],
  ['has an internal error', () => fail(BROKEN), /^the secret could not be read: InternalServiceError/],
  ['cannot be reached', () => refuse(Number.POSITIVE_INFINITY), /^Secrets Manager could not be reached /],
])('fails with a reason when it %s for good, and recovers as soon as it is back', async (_, fault, error) => {
  fault();
  const report = await invokeHere();

  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 0, error: expect.stringMatching(error) });
  expect(faults.proxy.connections).toBe(0);
  endpoint.fault = undefined;
  network.refuse = 0;
  expect(await invokeHere()).toMatchObject({ status: 'succeeded', rowsDeleted: DEAD });
  await faults.expectNoHarm(report);
});

test('returns in time when it is silent, and reports that it waited for the secret in vain', async () => {
  endpoint.fault = { delayMs: 20_000 };
  const startedAt = performance.now();
  const report = await invokeHere(1_500);

  expect(performance.now() - startedAt).toBeLessThan(1_500);
  expect(report).toMatchObject({
    status: 'failed',
    rowsDeleted: 0,
    error: expect.stringContaining('Secrets Manager'),
  });
  await faults.expectNoHarm(report);
});

test('reads a password that was rotated between two invocations', async () => {
  await database.sql('create table dead as select * from refresh_tokens where revoked');
  expect(await invokeHere()).toMatchObject({ status: 'succeeded', rowsDeleted: DEAD });
  await database.sql('insert into refresh_tokens table dead');
  await rotate('rotated');

  const report = await invokeHere();
  await database.sql(`alter role purger password 'right'`);

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: DEAD });
  expect(endpoint.requests).toBe(2);
  await faults.expectNoHarm(report);
});

test('reads a password that was rotated in mid-run', async () => {
  const client = new SecretsManagerClient({
    endpoint: endpoint.url,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  });
  const strike = async () => {
    await rotate('rotated');
    await faults.terminateSweep();
  };
  const report = await faults.run({ credentials: new SecretCredentials(client, ARN), strike });
  client.destroy();
  await database.sql(`alter role purger password 'right'`);

  expect(report).toMatchObject({ status: 'succeeded', targets: [{ rowsRemaining: 0 }] });
  expect(endpoint.requests).toBe(2);
  await faults.expectNoHarm(report);
});

/** The real handler in a process of its own, which is stopped in mid-run and goes on after that. */
async function invokeFrozen(meanwhile: () => Promise<unknown>): Promise<RunReport> {
  const fork = jest.spyOn(childProcess, 'fork');
  let frozen: Promise<void> | undefined;
  const freeze = async () => {
    const pid: number = fork.mock.results[0]?.value.pid;
    process.kill(pid, 'SIGSTOP');
    await meanwhile().finally(() => process.kill(pid, 'SIGCONT'));
  };
  const { report } = await invoke({
    environment: environment(),
    event: { maxLoad: 0.05 },
    onLog: ({ message }) => {
      if (message === 'progress') {
        frozen ??= freeze();
      }
    },
  });
  await frozen;
  fork.mockRestore();
  expect(frozen).toBeDefined();
  return report;
}

test.each<[string, () => Promise<unknown>]>([
  ['', () => delay(1_000)],
  [
    ', also when its connections are gone meanwhile',
    async () => {
      await delay(500);
      await faults.terminateSweep();
      await delay(500);
    },
  ],
])('goes on after its process was frozen in mid-run%s', async (_, meanwhile) => {
  const report = await invokeFrozen(meanwhile);

  expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
  expect(report.durationMs).toBeGreaterThan(1_000);
  await faults.expectNoHarm(report);
});

// It takes two minutes, in which nothing happens. `npm test` has the case before, which ends the sessions by hand.
(process.env.LONG_FREEZE ? test : test.skip)(
  'goes on after its process was frozen for so long that the server ended its idle sessions',
  async () => {
    const report = await invokeFrozen(() =>
      eventually(() => /FATAL: .*due to idle-session timeout/.test(database.server.log), { patienceMs: 180_000 }),
    );

    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
    expect(report.durationMs).toBeGreaterThan(120_000);
    await faults.expectNoHarm(report);
  },
  240_000,
);
