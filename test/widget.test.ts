import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { bundle } from '../bin/bundle';
import type { WidgetCleanup } from '../lambda/widget/cleanups';
import { createDirectory } from './support/cdk';

const ENDPOINT = 'arn:aws:lambda:eu-central-1:111122223333:function:widget';
const MACHINE = 'arn:aws:states:eu-central-1:111122223333:stateMachine:token-cleanup-prod_auth';
const EXECUTION = 'arn:aws:states:eu-central-1:111122223333:execution:token-cleanup-prod_auth:1';
const PLAIN = { name: 'partners', logGroupName: '/partners', functionName: 'token-cleanup-prod_partners' };
const CONTINUED = {
  name: 'auth',
  logGroupName: '/auth',
  functionName: 'token-cleanup-prod_auth',
  stateMachineArn: MACHINE,
};

/** Requests to AWS. */
const READ_LOG = 'Logs_20140328.FilterLogEvents';
const LIST = 'AWSStepFunctions.ListExecutions';
const START = 'AWSStepFunctions.StartExecution';
const STOP = 'AWSStepFunctions.StopExecution';
const INVOKE = `Event /2015-03-31/functions/${PLAIN.functionName}/invocations`;

/** AWS over the wire: what it was asked, and what it answers. */
let aws: Server;
let asked: { readonly operation: string; readonly body: Record<string, unknown> }[];
let answers: Record<string, unknown>;
/** The folder of the function as it is deployed. */
let artifact: string;

beforeAll(async () => {
  artifact = createDirectory();
  bundle('widget', artifact);
  aws = createServer(async (request, response) => {
    const body = await text(request);
    const operation = String(
      request.headers['x-amz-target'] ?? `${request.headers['x-amz-invocation-type']} ${request.url}`,
    );
    asked.push({ operation, body: JSON.parse(body) });
    const answer = answers[operation];
    response.writeHead(answer ? 200 : operation.startsWith('Event') ? 202 : 400, {
      'content-type': 'application/x-amz-json-1.0',
    });
    response.end(JSON.stringify(answer ?? { __type: 'AccessDeniedException', message: '<b>no</b> right' }));
  });
  await new Promise<void>((listening) => aws.listen(0, '127.0.0.1', listening));
});
afterAll(() => {
  aws.closeAllConnections();
  aws.close();
});

beforeEach(() => {
  asked = [];
  answers = {
    [READ_LOG]: { events: [] },
    [LIST]: { executions: [] },
    [START]: { executionArn: EXECUTION, startDate: 1 },
    [STOP]: { stopDate: 1 },
  };
});

/** What CloudWatch shows for an event, from the deployed function in a process of its own. */
async function show(event: object, cleanups: readonly WidgetCleanup[] = [CONTINUED, PLAIN]): Promise<string> {
  const script = `
    import { handler } from ${JSON.stringify(join(artifact, 'index.mjs'))};
    const context = { invokedFunctionArn: ${JSON.stringify(ENDPOINT)} };
    process.stdout.write(await handler(${JSON.stringify(event)}, context));`;
  const env = {
    PATH: process.env.PATH,
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(aws.address() as AddressInfo).port}`,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    CLEANUPS: JSON.stringify(cleanups),
  };
  return (await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env })).stdout;
}

function event(message: object | string, minute: number) {
  const timestamp = Date.UTC(2027, 0, 30, 3, minute);
  return { timestamp, message: typeof message === 'string' ? message : JSON.stringify(message) };
}

const rowsOf = (page: string) =>
  [...page.matchAll(/<tr><td>(.*?)<\/tr>/gs)].map(([, row = '']) =>
    row.replace(/\n/g, '').replace(/<\/td>(?:<td>)?/g, '|'),
  );

test('lists the last runs, the newest first', async () => {
  const run = { status: 'succeeded', dryRun: false, rowsDeleted: 1200, durationMs: 340 };
  answers[READ_LOG] = {
    events: [
      event({ run: { ...run, rowsDeleted: 0, dryRun: true, rowsRemaining: 7 } }, 3),
      event({ run: { ...run, status: 'partial' } }, 2),
      event('a line that is no JSON', 1),
      event({ run: { ...run, rowsRemaining: 3 } }, 1),
    ],
  };

  const page = await show({}, [CONTINUED]);

  expect(rowsOf(page)).toEqual([
    '2027-01-30 03:03 UTC|succeeded (dry run)|0|7|0.3||',
    '2027-01-30 03:02 UTC|partial|1,200|not counted|0.3||',
    '2027-01-30 03:01 UTC|succeeded|1,200|3|0.3||',
  ]);
});

test('reads the log from its end, and no further than it shows', async () => {
  const run = { status: 'succeeded' };
  answers[READ_LOG] = {
    events: Array.from({ length: 10 }, (_, i) => event({ run }, i)),
    nextToken: 'older',
  };

  expect(rowsOf(await show({}, [PLAIN]))).toHaveLength(10);
  expect(asked).toMatchObject([{ body: { startFromHead: false } }]);
});

test.each([
  [false, '{ $.run.status = * }'],
  [true, '{ $.run.execution = * }'],
])('lists of a fleet (%p) the runs on all servers, and not those on each', async (isFleet, filterPattern) => {
  await show({}, [{ ...CONTINUED, isFleet }]);

  expect(asked.find(({ operation }) => operation === READ_LOG)?.body).toMatchObject({
    filterPattern,
  });
});

test('does not claim that there was no run if the log is too long to be searched', async () => {
  answers[READ_LOG] = { events: [], nextToken: 'older' };

  const page = await show({}, [PLAIN]);

  expect(page).toContain('<p>Error: the log of the last seven days is too long to be searched here');
  expect(page).not.toContain('No run');
});

test('shows any text as text', async () => {
  const attack = `"'><script>alert(1)</script><cwdb-action action="call" endpoint="arn:evil"></cwdb-action>&amp;\``;
  answers[READ_LOG] = { events: [event({ run: { status: attack, error: attack } }, 1)] };

  const pages = [
    await show({}, [{ ...CONTINUED, name: attack }]),
    await show({ action: attack, cleanup: attack }),
    await show({ action: 'run-now', cleanup: attack }),
  ];

  for (const page of pages) {
    expect(page).not.toMatch(/<script|endpoint="arn:evil|alert\(1\)<\/script>/);
    expect(page).toContain('&#60;script&#62;');
    expect(page.match(/<cwdb-action /g)?.length ?? 0).toBe(
      page.match(/endpoint="arn:aws:lambda:[^"]+:widget"/g)?.length ?? 0,
    );
  }
});

test('says of each cleanup by itself why it cannot be shown', async () => {
  answers[READ_LOG] = undefined;

  const page = await show({});

  expect(page.match(/<p>AccessDeniedException: &#60;b&#62;no&#60;\/b&#62; right<\/p>/g)).toHaveLength(2);
});

test.each<[string, object, string, object]>([
  ['a dry run', { action: 'dry-run', cleanup: 'auth' }, START, { stateMachineArn: MACHINE, input: '{"dryRun":true}' }],
  ['a run', { action: 'run-now', cleanup: 'auth' }, START, { stateMachineArn: MACHINE, input: '{}' }],
  ['a dry run without a state machine', { action: 'dry-run', cleanup: 'partners' }, INVOKE, { dryRun: true }],
  ['a run without a state machine', { action: 'run-now', cleanup: 'partners' }, INVOKE, {}],
])('starts %s, and waits for none', async (_, pressed, operation, body) => {
  expect(await show(pressed)).toMatch(/^<p>The (?:dry )?run of \w+ has started\./);

  expect(asked).toMatchObject([{ operation, body }]);
  expect(asked).toHaveLength(1);
});

test('stops every execution that is running, and no other', async () => {
  answers[LIST] = { executions: [{ executionArn: EXECUTION, startDate: 1 }] };

  expect(await show({ action: 'stop', cleanup: 'auth' })).toContain('1 execution of auth has been stopped.');

  expect(asked.map(({ operation, body }) => [operation, body.stateMachineArn ?? body.executionArn])).toEqual([
    [LIST, MACHINE],
    [STOP, EXECUTION],
  ]);
  expect(asked[0]?.body.statusFilter).toBe('RUNNING');
});

test.each([
  ['an action that there is none of', { action: 'drop', cleanup: 'auth' }],
  ['a cleanup of another stack', { action: 'run-now', cleanup: 'other' }],
  ['a stop without a state machine', { action: 'stop', cleanup: 'partners' }],
])('refuses %s', async (_, pressed) => {
  expect(await show(pressed)).toContain('There is no action');
  expect(asked).toEqual([]);
});

test('describes itself', async () => {
  expect(await show({ describe: true })).toContain('last runs');
});
