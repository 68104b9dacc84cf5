import { type CloudWatchLogsClient, paginateFilterLogEvents } from '@aws-sdk/client-cloudwatch-logs';
import type { WidgetCleanup } from './cleanups';

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

/** Reading more would keep the page waiting. */
const MOST_PAGES = 20;

const MS_PER_DAY = 86_400_000;

/** The lines of the runs. Only the report of a whole fleet names its execution. */
const PATTERN = '{ $.run.status = * }';
const FLEET_PATTERN = '{ $.run.execution = * }';

/**
 * The last runs of a week, the newest first.
 *
 * @throws Error if none is found, and the log goes on
 */
export async function lastRuns(
  logs: CloudWatchLogsClient,
  { logGroupName, isFleet }: WidgetCleanup,
): Promise<LoggedRun[]> {
  const filterPattern = isFleet ? FLEET_PATTERN : PATTERN;

  const runs: LoggedRun[] = [];
  let pages = 0;
  let isMore = false;
  for await (const { events = [], nextToken } of paginateFilterLogEvents(
    { client: logs },
    { logGroupName, filterPattern, startTime: Date.now() - 7 * MS_PER_DAY, startFromHead: false },
  )) {
    runs.push(...events.flatMap(({ message = '', timestamp = 0 }) => runIn(message, new Date(timestamp)) ?? []));
    pages += 1;
    isMore = nextToken !== undefined;
    if (runs.length >= MOST_RUNS || pages === MOST_PAGES) {
      break;
    }
  }
  if (runs.length === 0 && isMore) {
    throw new Error('the log of the last seven days is too long to be searched here: use the saved queries');
  }
  return runs.sort((a, b) => b.endedAt.getTime() - a.endedAt.getTime()).slice(0, MOST_RUNS);
}

function runIn(message: string, endedAt: Date): LoggedRun | undefined {
  const { run } = parsed(message);
  if (!run) {
    return undefined;
  }
  const rowsRemaining = numberOf(run.rowsRemaining);
  return {
    endedAt,
    status: String(run.status),
    dryRun: run.dryRun === true,
    rowsDeleted: numberOf(run.rowsDeleted) ?? 0,
    ...(rowsRemaining !== undefined && { rowsRemaining }),
    durationMs: numberOf(run.durationMs) ?? 0,
    ...(run.error !== undefined && { error: String(run.error) }),
  };
}

function parsed(message: string): { readonly run?: Readonly<Record<string, unknown>> } {
  try {
    return JSON.parse(message) ?? {};
  } catch {
    return {};
  }
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
