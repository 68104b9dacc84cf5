import type { Clock } from '../clock';
import type { RunRequest } from '../configuration/event';
import type { NamePattern } from '../configuration/name-pattern';
import { DEFAULT_CONCURRENCY, DEFAULT_STAGE } from '../configuration/settings';
import type { Target } from '../configuration/targets';
import type { ConnectionOptions } from '../database/session';
import type { RunLogger } from './report';

/** Options of the service. */
export interface TokenCleanupOptions {
  readonly connection: ConnectionOptions;
  /**
   * The databases of the server to sweep, one after the other, instead of the one that the credentials name. A run reads
   * the list of databases and holds its lock in that one.
   *
   * @default - the database of the credentials
   */
  readonly databases?: NamePattern | undefined;
  /** The tables, swept one after the other. */
  readonly targets: readonly Target[];
  /**
   * The number of connections that sweep at once, 1 to 16.
   *
   * @default 1
   */
  readonly concurrency?: number;
  /**
   * A fixed share of time that each connection works, above 0 up to 1.
   *
   * @default - the automatic pace: full speed while no other session is at work, and 5 % of the time beside others
   */
  readonly maxLoad?: number | undefined;
  /**
   * The number of rows of a table that a run deletes, and one batch more at most.
   *
   * @default - no limit
   */
  readonly maxRows?: number | undefined;
  /**
   * A sweep pauses while a streaming replica is further behind, in seconds.
   *
   * @default - replicas are not checked
   */
  readonly maxReplicaLagSeconds?: number | undefined;
  /** Warnings about these options, which every report repeats. */
  readonly warnings?: readonly string[] | undefined;
  /**
   * The name of the deployment, which the report repeats.
   *
   * @default local
   */
  readonly stage?: string;
  readonly logger: RunLogger;
  /** @default - the system's */
  readonly clock?: Clock;
}

const DEFAULTS = {
  concurrency: DEFAULT_CONCURRENCY,
  stage: DEFAULT_STAGE,
  dryRun: false,
  mostDatabases: Number.POSITIVE_INFINITY,
};

type With<Options> = Options & Pick<RunRequest, 'tables' | 'after'> & typeof DEFAULTS;

/** The options of the service, overridden by those of the request. */
export interface RunOptions extends With<TokenCleanupOptions> {
  /** The one of {@link databases} at hand. */
  readonly database?: string;
  /** Whether the lock of this database is held already, by the session that read their list. */
  readonly isLocked?: boolean;
}

/** The defaults, overridden by the options of the service, and these by the request. An undefined value overrides nothing. */
export function runOptions<Options extends object>(service: Options, request: RunRequest): With<Options> {
  const given = [DEFAULTS, service, request].flatMap((some) =>
    Object.entries(some).filter(([, value]) => value !== undefined),
  );
  return Object.fromEntries(given) as unknown as With<Options>;
}
