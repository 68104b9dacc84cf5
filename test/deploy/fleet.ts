import { deepStrictEqual as equal, match, ok, rejects } from 'node:assert';
import type { TestContext } from 'node:test';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { FleetReport } from '../../lambda/fleet/fleet-report';
import { SHORTEST_ROUND_MS } from '../../lambda/run/rounds';
import { metricsIn } from '../support/metrics';
import { expectComplete } from './complete';
import { DeployedStack } from './deployed-stack';
import type { Description } from './emulator';
import { FleetServer } from './fleet-server';
import { DeployedFunction } from './invocation';
import type { World } from './world';

const BROKEN = 'tenant_042';

/** Rows of each database that the default rules match, and the others. */
const DEAD = 3;
const LIVE = 3;

/** More than the lowest pace deletes in two minutes. */
const BACKLOG = 300_000;

type Servers = readonly [FleetServer, FleetServer, FleetServer];

/** The fleet of `cdk.json`: three servers with a hundred databases each. */
export class FleetStage {
  readonly stack: DeployedStack;
  readonly #world: World;
  readonly #servers: Servers;
  readonly #lines: readonly object[];
  readonly #s3: S3Client;
  #bucket = '';
  #stateMachineArn = '';
  #runs: readonly string[] = [];

  private constructor(world: World, servers: Servers, lines: readonly object[]) {
    this.#world = world;
    this.#servers = servers;
    this.#lines = lines;
    this.stack = new DeployedStack(world.emulator, 'TokenCleanup-fleet');
    this.#s3 = world.emulator.client(S3Client);
  }

  static async deploy(world: World): Promise<FleetStage> {
    const { project, secrets } = world;
    const { iamUser: _, ...fleet } = project.stages.fleet?.fleet ?? {};
    project.fillIn({
      ...project.stages,
      fleet: {
        timeoutSeconds: 60,
        dashboardButtons: true,
        fleet: { ...fleet, sslMode: 'disable', toleratedFailurePercentage: 50 },
      },
    });
    // The template knows no server.
    const [servers] = await Promise.all([
      Promise.all(['a', 'b', 'c'].map((name) => FleetServer.start(world, name))),
      project.deploy('fleet'),
    ]);
    const lines: object[] = [];
    for (const { name, line, login } of servers) {
      const secretArn = await secrets.create(`fleet/${name}`, login, undefined, { 'token-cleanup': 'fleet' });
      lines.push({ ...line, secretArn, targets: 'tokens' });
    }
    const stage = new FleetStage(world, servers as unknown as Servers, lines);
    const { FleetBucketName = '', FleetStateMachineArn = '' } = await stage.stack.outputs();
    stage.#bucket = FleetBucketName;
    stage.#stateMachineArn = FleetStateMachineArn;
    return stage;
  }

  async inspect(t: TestContext): Promise<void> {
    await t.test('creates every resource of the template', () => expectComplete(this.stack, this.#world));

    await t.test('refuses a manifest with mistakes as a whole, and names them all', async () => {
      const [a, b] = this.#lines;
      await this.#upload([a, { ...b, targets: 'token', databases: [] }, { ...a, name: 'again' }]);
      const { status, report } = await this.#result(await this.#start());
      equal(status, 'FAILED');
      match(report.error ?? '', /line 2: databases must name at least one database, got \[\]/);
      match(
        report.error ?? '',
        /line 2: targets must be one of tokens, keycloak \(did you mean tokens\?\), got "token"/,
      );
      match(report.error ?? '', /line 3: host and port must differ from line 1/);
      equal(await this.#counts(), [100, 100, 100]);
    });

    await t.test('may read no secret without the tag of the fleet', async () => {
      const [a] = this.#servers;
      const secretArn = await this.#world.secrets.create('not/of/the/fleet', a.login);
      const deployed = new DeployedFunction(this.#world.emulator, 'token-cleanup-fleet_fleet');
      await rejects(
        deployed.invoke({ server: { ...a.line, secretArn, targets: 'tokens' } }),
        /AccessDenied.*secretsmanager:GetSecretValue/,
      );
    });

    await t.test('does nothing while it is switched off', async () => {
      await this.#upload(this.#lines);
      await this.#switch('off');
      const { status, output } = await this.#world.emulator.endOf(await this.#start());
      await this.#switch('on');
      equal([status, output?.status], ['SUCCEEDED', 'skipped']);
      equal(await this.#counts(), [100, 100, 100]);
    });
  }

  /** Begins two runs at once. One server is down, and the table of one database is missing. */
  async begin(): Promise<void> {
    const [, b, c] = this.#servers;
    await b.rename(BROKEN, 'refresh_tokens', 'refresh_tokens_gone');
    await c.server.stop();
    this.#runs = [await this.#start(), await this.#start()];
  }

  async inspectRuns(t: TestContext): Promise<void> {
    const [a, b, c] = this.#servers;
    const results = await Promise.all(this.#runs.map((run) => this.#result(run)));
    const reports = results.map(({ report }) => report);
    const swept = results.flatMap(({ report }) => (report.results ?? []).filter(({ isSwept }) => isSwept));

    await t.test('sweeps a server in one of two runs at a time', () => {
      equal(swept.map(({ server, database }) => `${server}/${database}`).sort(), [
        ...a.tenants.map((tenant) => `a/${tenant}`),
        ...b.tenants.filter((tenant) => tenant !== BROKEN).map((tenant) => `b/${tenant}`),
      ]);
      equal(sumOf(reports.map(({ servers }) => servers.skipped ?? 0)), 2);
    });

    await t.test('reports as deleted what is gone from the databases', async () => {
      await b.rename(BROKEN, 'refresh_tokens_gone', 'refresh_tokens');
      equal(sumOf(reports.map(({ rowsDeleted }) => rowsDeleted)), 199 * DEAD);
      equal(await a.rows(), { dead: 0, live: 100 * LIVE });
      equal(await b.rows(), { dead: DEAD, live: 100 * LIVE });
    });

    await t.test('reports the server that is down, and the database that is broken', () => {
      equal(
        results.map(({ status }) => status),
        ['FAILED', 'FAILED'],
      );
      for (const { failures } of reports) {
        match(failures.find(({ server }) => server === 'c')?.error ?? '', /ECONNREFUSED/);
      }
      const broken = reports.flatMap(({ failures }) => failures.filter(({ server }) => server === 'b'));
      equal(
        broken.map(({ database }) => database),
        [BROKEN],
      );
      match(broken[0]?.error ?? '', /refresh_tokens" does not exist/);
    });

    await t.test('sweeps in the next run what is left, and remembers since when', async () => {
      await c.server.start();
      const { status, report, log } = await this.#result(await this.#start());
      equal([status, report.status, report.rowsDeleted], ['SUCCEEDED', 'succeeded', 101 * DEAD]);
      equal(
        [report.servers, report.databases],
        [
          { total: 3, swept: 3 },
          { total: 300, succeeded: 300 },
        ],
      );
      equal(await c.rows(), { dead: 0, live: 100 * LIVE });
      equal(report.oldestSweep?.at, report.startedAt);
      equal(log.filter(({ result, execution }) => result?.database && execution === report.execution).length, 300);
      const { 'OldestSweepHours service=token-cleanup-fleet stage=fleet': hours, ...metrics } = metricsIn(
        log.slice(-1),
      );
      equal(Number(hours) < 0.1, true);
      equal(metrics, {
        ...metricsOf({ Succeeded: 1, Partial: 0, Failed: 0, Skipped: 0, ServersFailed: 0, Databases: 300 }),
        ...metricsOf({ DatabasesFailed: 0, DatabasesCutShort: 0, RowsDeleted: 303, RowsRemaining: 0 }),
        ...metricsOf({ Duration: report.durationMs, BacklogGrows: 0 }),
      });
    });
  }

  async inspectLimits(t: TestContext): Promise<void> {
    const [a] = this.#servers;

    await t.test('counts a run of some tables as none of the whole fleet', async () => {
      const before = await this.#read('memory.json');
      const { status, report, log } = await this.#result(await this.#start({ tables: ['refresh_tokens'] }));
      equal([status, report.status, report.isWhole], ['SUCCEEDED', 'succeeded', false]);
      equal(
        metricsIn(log.slice(-1)),
        metricsOf({
          ...{ Succeeded: 0, Partial: 0, Failed: 0, Skipped: 0 },
          ...{ ServersFailed: 0, DatabasesFailed: 0, RowsDeleted: 0 },
        }),
      );
      equal(await this.#read('memory.json'), before);
    });

    await t.test('ends with its window, and leaves the rest to the next run', async () => {
      await a.addDead('tenant_000', BACKLOG);
      // Of the function, so that it is the window that ends the round.
      const deployed = new DeployedFunction(this.#world.emulator, 'token-cleanup-fleet_fleet');
      await deployed.configure({ Timeout: 300 });
      const end = nextMinuteAfter(SHORTEST_ROUND_MS);
      const window = { until: end.toISOString().slice(11, 16), timeZone: 'UTC' };
      const { status, report } = await this.#result(await this.#start({ ...window, maxLoad: 0.001 }));
      ok(Date.now() < end.getTime());
      equal([status, report.status, report.backlogGrows], ['SUCCEEDED', 'partial', true]);
      const [first] = report.results ?? [];
      const { server, database, isSwept, rowsDeleted = 0 } = first ?? {};
      equal([server, database, isSwept], ['a', 'tenant_000', false]);
      ok(rowsDeleted > 0);
      equal(await a.rows(), { dead: BACKLOG - rowsDeleted, live: 100 * LIVE });
    });

    await t.test('shows the runs on the whole fleet on its dashboard', async () => {
      const widget = new DeployedFunction(this.#world.emulator, await this.stack.physicalId('MonitoringRunsFunction'));
      const { report: page } = await widget.invoke();
      match(String(page), /<h3>fleet<\/h3>.*Stop.*<td>partial<\/td>/s);
    });
  }

  /** How many databases of each server have all of their dead rows. */
  async #counts(): Promise<number[]> {
    return await Promise.all(this.#servers.map(async (server) => (await server.rows()).dead / DEAD));
  }

  async #upload(lines: readonly (object | undefined)[]): Promise<void> {
    const Body = `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`;
    await this.#s3.send(new PutObjectCommand({ Bucket: this.#bucket, Key: 'manifest.jsonl', Body }));
  }

  async #read(Key: string): Promise<string> {
    const { Body } = await this.#s3.send(new GetObjectCommand({ Bucket: this.#bucket, Key }));
    return (await Body?.transformToString()) ?? '';
  }

  async #switch(Value: 'on' | 'off'): Promise<void> {
    const Name = '/token-cleanup/fleet/switch';
    await this.#world.emulator.ask('ssm', 'put_parameter', { Name, Value, Overwrite: true });
  }

  async #start(input: object = {}): Promise<string> {
    const { executionArn } = await this.#world.emulator.ask('stepfunctions', 'start_execution', {
      stateMachineArn: this.#stateMachineArn,
      input: JSON.stringify(input),
    });
    return executionArn;
  }

  async #result(executionArn: string) {
    const { status, cause } = await this.#world.emulator.endOf(executionArn);
    const text = await this.#read(`runs/${executionArn.split(':').at(-1)}/report.json`).catch((error) => {
      throw new Error(`${executionArn} ${status}: ${cause}`, { cause: error });
    });
    const report = JSON.parse(text) as FleetReport;
    const summary = new DeployedFunction(this.#world.emulator, await this.stack.physicalId('fleetSummary'));
    return { status, report, log: (await summary.log()) as readonly Description[] };
  }
}

/** The first full minute that is at least this far away. */
function nextMinuteAfter(ms: number): Date {
  const margin = 5_000;
  return new Date(Math.ceil((Date.now() + ms + margin) / 60_000) * 60_000);
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function metricsOf(values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [`${name} service=token-cleanup-fleet stage=fleet`, value]),
  );
}
