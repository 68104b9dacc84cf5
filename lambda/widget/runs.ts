import { type CloudWatchLogsClient, paginateFilterLogEvents } from '@aws-sdk/client-cloudwatch-logs';

/** A run, as the log of the function has it. */
export interface LoggedRun {
  readonly endedAt: Date;
  readonly status: string;
  readonly dryRun: boolean;
  readonly rowsDeleted: number;
  /** In a dry run the rows that would be deleted; absent if those of a table were not counted. */
  readonly rowsRemaining?: number;
  readonly durationMs: number;
  readonly error?: string;
}

/** The runs that a table shows. */
const MOST_RUNS = 10;

/** A week of hourly runs is about 200 lines. Beyond this the log holds something else, and the page would wait for it. */
const MOST_PAGES = 20;

const MS_PER_DAY = 86_400_000;

/** The lines of the runs and of their tables. */
const PATTERN = '{ ($.run.status = *) || ($.target.table = *) }';

/** The last runs of a week, the newest first. */
export async function lastRuns(logs: CloudWatchLogsClient, logGroupName: string): Promise<LoggedRun[]> {
  const runs: LoggedRun[] = [];
  /** By log stream, in which one invocation follows the other: the tables of the run whose line comes next. */
  const tables = new Map<string, (number | undefined)[]>();
  let pages = 0;
  for await (const { events = [] } of paginateFilterLogEvents(
    { client: logs },
    { logGroupName, filterPattern: PATTERN, startTime: Date.now() - 7 * MS_PER_DAY },
  )) {
    for (const { message = '', timestamp = 0, logStreamName = '' } of events) {
      const { run, target } = parsed(message);
      const before = tables.get(logStreamName) ?? [];
      if (target) {
        tables.set(logStreamName, [...before, numberOf(target.rowsRemaining)]);
      }
      if (run) {
        tables.delete(logStreamName);
        runs.push(runOf(run, new Date(timestamp), before));
      }
    }
    pages += 1;
    if (pages === MOST_PAGES) {
      break;
    }
  }
  return runs.sort((a, b) => b.endedAt.getTime() - a.endedAt.getTime()).slice(0, MOST_RUNS);
}

type Fields = Readonly<Record<string, unknown>>;

function parsed(message: string): { readonly run?: Fields; readonly target?: Fields } {
  try {
    return JSON.parse(message) ?? {};
  } catch {
    return {};
  }
}

function runOf(run: Fields, endedAt: Date, remaining: readonly (number | undefined)[]): LoggedRun {
  const rowsRemaining = remaining.reduce<number | undefined>(
    (sum, rows) => (sum === undefined || rows === undefined ? undefined : sum + rows),
    0,
  );
  return {
    endedAt,
    status: String(run.status),
    dryRun: run.dryRun === true,
    rowsDeleted: numberOf(run.rowsDeleted) ?? 0,
    ...(remaining.length > 0 && rowsRemaining !== undefined && { rowsRemaining }),
    durationMs: numberOf(run.durationMs) ?? 0,
    ...(run.error !== undefined && { error: String(run.error) }),
  };
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
