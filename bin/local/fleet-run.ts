import type { Environment } from '../../lambda/configuration/environment';
import { printable } from '../../lambda/database/database-error';
import { type FleetReport, fleetReport } from '../../lambda/fleet/fleet-report';
import { environmentOf, type Server } from '../../lambda/fleet/manifest';
import { NO_MEMORY } from '../../lambda/fleet/memory';
import { type ServerResult, serverResult } from '../../lambda/fleet/server-result';
import { databaseResults } from '../../lambda/fleet/server-round';
import { count, rows, seconds } from './figures';
import type { Fleet } from './fleet';
import { invoke, type LogLine } from './invocation';
import { nodeEnvOf } from './job';
import { printableValue } from './printable';
import { announceLimit, patternInWords } from './summary';
import type { Terminal } from './terminal';

/** Processes of the function that run at once. */
const AT_ONCE = 4;

export interface FleetRunOptions {
  readonly dryRun: boolean;
  readonly interrupt: AbortSignal;
  readonly onLog: (line: LogLine) => void;
}

/** Runs the function on each server of a manifest, as the fleet does: each reads its secret, or signs its tokens. */
export async function runFleet(fleet: Fleet, terminal: Terminal, options: FleetRunOptions): Promise<FleetReport> {
  const startedAt = new Date();
  const results = new Map<string, ServerResult>();
  const left = fleet.servers.values();
  await terminal.during(`running the function on ${servers(fleet.servers.length)}`, async () => {
    const worker = async () => {
      for (const server of left) {
        if (options.interrupt.aborted) {
          return;
        }
        results.set(server.name, await runOn(server, fleet, options));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  });
  const { report, results: all } = fleetReport(
    {
      stage: fleet.settings.STAGE ?? 'local',
      execution: 'local',
      dryRun: options.dryRun,
      isWhole: true,
      startedAt: startedAt.toISOString(),
      durationMs: Date.now() - startedAt.getTime(),
    },
    fleet.servers.map(({ name }) => results.get(name) ?? serverResult(name, [])),
    NO_MEMORY,
  );
  return { ...report, results: all };
}

async function runOn(
  server: Server,
  { lists, settings, timeLimitMs }: Fleet,
  { dryRun, interrupt, onLog }: FleetRunOptions,
): Promise<ServerResult> {
  const unreachable = new AbortController();
  try {
    const { report } = await invoke({
      environment: {
        ...ownKeys(server),
        ...environmentOf(server, lists, settings),
        NODE_ENV: nodeEnvOf({ environment: settings }),
      },
      event: { dryRun },
      timeLimitMs,
      interrupt: AbortSignal.any([interrupt, unreachable.signal]),
      onLog: (line) => {
        onLog(line);
        if (line.waitMs !== undefined) {
          // The function waits a minute for a server to come back. A person who mistyped its name need not.
          unreachable.abort();
        }
      },
    });
    const round = { ...report, server: server.name, round: 1, databases: databaseResults(report.targets) };
    return serverResult(server.name, [round]);
  } catch (error) {
    return serverResult(server.name, [], (error as Error).message);
  }
}

/** The AWS settings of this shell, which other runs ignore. Secrets are read in the region of their ARN. */
function ownKeys({ secretArn }: Server): Environment {
  const own = Object.entries(process.env).filter(([name]) => name.startsWith('AWS_'));
  const region = secretArn?.split(':')[3];
  return {
    AWS_CONFIG_FILE: undefined,
    AWS_SHARED_CREDENTIALS_FILE: undefined,
    ...Object.fromEntries(own),
    ...(region && { AWS_REGION: region }),
  };
}

/** Shows the mistakes first, then a line for each database, and the sums. */
export function showFleet(terminal: Terminal, report: FleetReport): void {
  const { paint } = terminal;
  const { bold, dim } = terminal.colors;
  const { status, dryRun, servers: counts, databases, failures, results = [] } = printableValue(report);
  terminal.gap();
  for (const { server, database, error } of failures) {
    for (const line of error.split('\n')) {
      terminal.fail([server, database, line].filter(Boolean).join(': '));
    }
  }
  if (results.length > 0) {
    const head = ['Server', 'Database', 'Result', dryRun ? 'Would delete' : 'Deleted', 'Remaining', 'Took'];
    terminal.table(
      [
        (dryRun ? head.filter((name) => name !== 'Remaining') : head).map((name) => dim(name)),
        ...results.map((result) => {
          const remaining = result.rowsRemaining === undefined ? 'unknown' : count(result.rowsRemaining);
          return [
            terminal.shorten(result.server),
            terminal.shorten(result.database),
            paint[result.status](result.status),
            ...(dryRun ? [remaining] : [count(result.rowsDeleted), remaining]),
            seconds(result.durationMs),
          ];
        }),
      ],
      3,
    );
  }
  const { total, ...outcomes } = counts;
  const parts = Object.entries(outcomes).map(([outcome, number]) => `${number} ${outcome.replace('-', ' ')}`);
  terminal.gap();
  terminal.say(
    `${bold(paint[status](status))}: ${servers(total)} (${parts.join(', ')}), ${count(databases.total)} databases, ` +
      `${dryRun ? `${rows(report.rowsRemaining)} to delete` : `${rows(report.rowsDeleted)} deleted`} ` +
      dim(`(${seconds(report.durationMs)})`),
  );
  terminal.gap();
}

export function announceFleet(terminal: Terminal, { file, servers: all, timeLimitMs }: Fleet, dryRun: boolean): void {
  const { bold, dim } = terminal.colors;
  terminal.say(bold(dryRun ? 'Dry run: nothing is deleted' : 'Deleting dead rows'));
  terminal.say(`  on ${servers(all.length)} of ${printable(file)}`);
  for (const { name, host, port, targets, databases } of printableValue(all)) {
    terminal.say(`    ${bold(name)} ${dim(`${host}:${port}`)} ${targets} in ${patternInWords(databases)}`);
  }
  announceLimit(terminal, timeLimitMs);
  terminal.gap();
}

function servers(number: number): string {
  return `${count(number)} ${number === 1 ? 'server' : 'servers'}`;
}
