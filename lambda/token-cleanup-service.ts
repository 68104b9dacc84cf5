import { type Clock, type Deadlines, deadlinesOf, systemClock } from './clock';
import type { RunRequest } from './configuration/event';
import { DEFAULT_CONCURRENCY, DEFAULT_STAGE } from './configuration/settings';
import type { Target } from './configuration/targets';
import { describeError } from './database/database-error';
import { type ConnectionOptions, type Query, Session } from './database/session';
import { diagnose } from './dry-run/diagnosis';
import { ClusterState } from './engine/cluster-state';
import { conditionOf } from './engine/condition';
import { FixedPace } from './engine/fixed-pace';
import { AutomaticPace } from './engine/pace';
import { type Inspected, inspect, PreflightError } from './engine/preflight';
import { ReplicaLagBrake } from './engine/replica-lag';
import { Sweep, type SweepProgress } from './engine/sweep';
import { Turns } from './engine/turns';
import { BATCH_LIMITS } from './engine/walk';
import { partOfBlocks } from './engine/whole-table';
import {
  errorLines,
  logReport,
  notSwept,
  type RunLogger,
  type RunReport,
  type RunStatus,
  type ServerReport,
  statusOf,
  type TargetReport,
  targetReport,
} from './report';
import { expandSchemas } from './schemas';
import { AnotherRunError, GREATEST_CLOCK_DIFFERENCE_MS, OLDEST_SERVER, replicasOf, takeLock } from './server';

export interface TokenCleanupOptions {
  readonly connection: ConnectionOptions;
  /** The tables, swept one after the other. */
  readonly targets: readonly Target[];
  /**
   * How many connections sweep at once, 1 to 16.
   *
   * @default 1
   */
  readonly concurrency?: number;
  /**
   * The share of time that each connection works, above 0 up to 1, whoever else is there.
   *
   * @default - automatic: full speed while no other session is at work, and 5 % of the time beside others
   */
  readonly maxLoad?: number | undefined;
  /**
   * A sweep pauses while a streaming replica is further behind, in seconds.
   *
   * @default - replicas are not looked at
   */
  readonly maxReplicaLagSeconds?: number | undefined;
  /**
   * A name for the deployment, repeated in the report.
   *
   * @default local
   */
  readonly stage?: string;
  readonly logger: RunLogger;
  /** @default - the system's */
  readonly clock?: Clock;
}

const PROGRESS_INTERVAL_MS = 250;

/** A replica that hovers around its limit is warned of every few seconds. The log has all, the report as many as one reads. */
const MOST_WARNINGS = 100;

/** Deletes the dead rows of token tables. One run at a time works on a database. */
export class TokenCleanupService {
  readonly #options: TokenCleanupOptions;
  readonly #clock: Clock;

  constructor(options: TokenCleanupOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Sweeps every table once. Never throws: a failure is logged and reported. */
  async run(request: RunRequest = {}): Promise<RunReport> {
    const startedAt = this.#clock.now();
    const deadlines = deadlinesOf(request.timeLeftMs, request.signal);
    const { status, ...result } = await new Run(this.#options, this.#clock, request, deadlines).execute();
    deadlines.clear();
    const report: RunReport = {
      status,
      stage: this.#options.stage ?? DEFAULT_STAGE,
      dryRun: request.dryRun ?? false,
      ...result,
      durationMs: Math.round(this.#clock.now() - startedAt),
    };
    logReport(this.#options.logger, report);
    return report;
  }
}

type RunResult = Omit<RunReport, 'stage' | 'dryRun' | 'durationMs'>;

/** One run, from its first connection to its last. */
class Run {
  readonly #options: TokenCleanupOptions;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #request: RunRequest;
  readonly #deadlines: Deadlines;
  readonly #targets: readonly Target[];
  /** One for all tables: they share the replicas, and a role that may not see these is told once. */
  readonly #brake: ReplicaLagBrake | undefined;
  /** One for all tables: they share the server with the same sessions. */
  readonly #turns: Turns;
  readonly #warnings: string[] = [];
  /** The name of the configured target of each table. */
  readonly #configuredNames = new Map<string, string>();
  #cutoff: Date | undefined;
  #server: ServerReport | undefined;

  constructor(options: TokenCleanupOptions, clock: Clock, request: RunRequest, deadlines: Deadlines) {
    this.#options = options;
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.#request = request;
    this.#deadlines = deadlines;
    this.#targets = options.targets.filter((target) => request.tables?.includes(target.name) ?? true);
    const { maxReplicaLagSeconds } = options;
    this.#brake = maxReplicaLagSeconds
      ? new ReplicaLagBrake(maxReplicaLagSeconds, clock, (event) => this.#warn(event))
      : undefined;
    const maxLoad = request.maxLoad ?? options.maxLoad;
    const cluster = new ClusterState(clock, BATCH_LIMITS);
    this.#turns = new Turns({
      pace: maxLoad === undefined ? new AutomaticPace() : new FixedPace(maxLoad),
      clock,
      look: (session, oid) => cluster.look(session, oid),
      onChange: (reason) => options.logger.debug('pace', { pace: { reason } }),
    });
  }

  async execute(): Promise<RunResult> {
    const main = this.#session(this.#dryRun ? undefined : takeLock);
    const sessions: [Session, ...Session[]] = [main];
    try {
      this.#cutoff = await this.#readCutoff(main);
      const inspected = await this.#inspectAll(main);
      await this.#lookAtReplicas(main);
      sessions.push(...(await this.#openFurther()));
      const reports: TargetReport[] = [];
      for (const [target, found] of inspected) {
        if (found instanceof PreflightError) {
          reports.push(this.#refused(target, found));
        } else {
          this.#turns.start(await this.#timeFor(target, inspected, main), found.referringKeys.length > 0);
          reports.push(await this.#sweepTarget(sessions, this.#cutoff, target, found));
        }
      }
      return this.#result(statusOf(reports), reports, reports.flatMap(errorLines).join('\n'));
    } catch (error) {
      const isAnotherRun = error instanceof AnotherRunError;
      if (isAnotherRun) {
        this.#warn(error.message);
      }
      const [status, reason] = isAnotherRun ? (['skipped', ''] as const) : (['failed', describeError(error)] as const);
      return this.#result(
        status,
        this.#targets.map((target) => notSwept(target, status, reason)),
        reason,
      );
    } finally {
      await Promise.all(sessions.map((session) => session.close()));
    }
  }

  #result(status: RunStatus, targets: readonly TargetReport[], error: string): RunResult {
    return {
      status,
      ...(this.#cutoff && { cutoff: this.#cutoff.toISOString() }),
      rowsDeleted: targets.reduce((sum, target) => sum + target.rowsDeleted, 0),
      ...(error && { error }),
      ...(this.#warnings.length > 0 && { warnings: this.#warnings }),
      ...(this.#dryRun && this.#server && { server: this.#server }),
      targets: targets.map((report) => this.#withPattern(report)),
    };
  }

  /** Names the configured target of a table that it matched by pattern. */
  #withPattern(report: TargetReport): TargetReport {
    const pattern = this.#configuredNames.get(report.table);
    return pattern === undefined || pattern === report.table ? report : { ...report, pattern };
  }

  #session(onConnect?: (query: Query) => Promise<void>): Session {
    const { stopCounting: stop, abandon } = this.#deadlines;
    const onRetry = (reason: string, waitMs: number) => {
      this.#options.logger.warn('the database is out of reach, trying again', { reason, waitMs });
    };
    return new Session(this.#options.connection, { clock: this.#clock, stop, abandon, onRetry }, onConnect);
  }

  /** The database's own time, once it is established that it can be trusted and that the server is one to work on. */
  async #readCutoff(session: Session): Promise<Date> {
    const askedAt = this.#clock.date().getTime();
    const { rows } = await session.query<{ now: number; version: number; versionText: string; isReplica: boolean }>(
      `select
         floor(extract(epoch from clock_timestamp()) * 1000)::float8 as now,
         current_setting('server_version_num')::int as version,
         current_setting('server_version') as "versionText",
         pg_is_in_recovery() as "isReplica"`,
    );
    const [server] = rows;
    if (!server) {
      throw new Error('the server did not tell its time');
    }
    if (server.version < OLDEST_SERVER) {
      throw new Error(`the server must be PostgreSQL 14 or newer, is ${server.versionText}`);
    }
    if (server.isReplica && !this.#dryRun) {
      throw new Error('the server is a replica, from which nothing can be deleted: connect to the primary');
    }
    const answeredAt = this.#clock.date().getTime();
    // The server read its clock between the question and the answer.
    const aheadMs = Math.max(server.now - answeredAt, 0) || Math.min(server.now - askedAt, 0);
    this.#server = { version: server.versionText, isReplica: server.isReplica, clockDifferenceMs: aheadMs };
    if (Math.abs(aheadMs) > GREATEST_CLOCK_DIFFERENCE_MS) {
      throw new Error(
        `the clocks of the database (${new Date(server.now).toISOString()}) and of this machine ` +
          `(${new Date(answeredAt).toISOString()}) must not differ by more than 5 minutes`,
      );
    }
    return new Date(server.now);
  }

  /** Looks at every table before the first row of any goes. What is wrong with one table does not keep the others. */
  async #inspectAll(session: Session): Promise<Map<Target, Inspected | PreflightError>> {
    const expanded = await expandSchemas(session, this.#options.targets);
    const found = await inspect(session, {
      configured: [...expanded.values()].flat(),
      requested: this.#targets.flatMap((target) => expanded.get(target) ?? []),
      dryRun: this.#dryRun,
    });
    for (const target of this.#targets) {
      for (const { name } of expanded.get(target) ?? []) {
        this.#configuredNames.set(name, target.name);
      }
      if (expanded.get(target)?.length === 0) {
        const { like } = target.schemas ?? { like: [] };
        found.set(
          target,
          new PreflightError([`no schema like ${like.join(', ')} has a table ${JSON.stringify(target.table)}`]),
        );
      }
    }
    for (const { warnings } of found.values()) {
      warnings.forEach(this.#warn, this);
    }
    return found;
  }

  #refused(target: Target, { message, remedies }: PreflightError): TargetReport {
    const report = notSwept(target, 'failed', message);
    return this.#dryRun ? { ...report, diagnosis: { remedies } } : report;
  }

  /** For the report of a dry run, which does not fail for it. */
  async #lookAtReplicas(session: Session): Promise<void> {
    if (!this.#dryRun || !this.#server) {
      return;
    }
    try {
      const { replicas, missingGrant } = await replicasOf(session);
      this.#server = { ...this.#server, ...(replicas && { replicas }) };
      if (missingGrant) {
        this.#warn(`replicas cannot be seen, so their lag is not known: ${missingGrant}`);
      }
    } catch (error) {
      this.#warn(`replicas cannot be seen, so their lag is not known: ${describeError(error)}`);
    }
  }

  /** The connections besides the first. A server that has none to spare is swept with fewer. */
  async #openFurther(): Promise<Session[]> {
    const concurrency = this.#request.concurrency ?? this.#options.concurrency ?? DEFAULT_CONCURRENCY;
    const opened: Session[] = [];
    try {
      while (opened.length < concurrency - 1) {
        const session = this.#session();
        await session.open();
        opened.push(session);
      }
    } catch (error) {
      this.#warn(`works with ${opened.length + 1} instead of ${concurrency} connections: ${describeError(error)}`);
    }
    return opened;
  }

  async #sweepTarget(
    sessions: readonly [Session, ...Session[]],
    cutoff: Date,
    target: Target,
    inspected: Inspected,
  ): Promise<TargetReport> {
    const table = target.name;
    const startedAt = this.#clock.now();
    const options = {
      sessions,
      root: inspected.root,
      relations: inspected.relations,
      keys: inspected.referringKeys,
      isInherited: !inspected.isPartitioned && inspected.relations.length > 1,
      startAt: startOn(cutoff),
      condition: conditionOf(target, cutoff, inspected),
      turns: this.#turns,
      brake: this.#brake,
      clock: this.#clock,
      stopDeleting: this.#deadlines.stopDeleting,
      stopCounting: this.#deadlines.stopCounting,
      onProgress: this.#progressLog(table),
    };
    if (this.#dryRun) {
      const outcome = await diagnose({ ...options, target, inspected });
      return targetReport(table, outcome, this.#clock.now() - startedAt);
    }
    const sweep = new Sweep(options);
    await sweep.run();
    const { outcome } = sweep;
    return targetReport(table, outcome, this.#clock.now() - startedAt);
  }

  /**
   * The part of the time left that a table should take, by its size. If it needs more, the automatic pace hurries.
   *
   * @returns milliseconds; Infinity if there is no deadline
   */
  async #timeFor(target: Target, inspected: ReadonlyMap<Target, Inspected | PreflightError>, session: Session) {
    const msLeft = this.#startedAt + this.#deadlines.deletingMs - this.#clock.now();
    const pending = [...inspected].slice([...inspected.keys()].indexOf(target));
    const [own = [], ...later] = pending.map(([, its]) => (its instanceof PreflightError ? [] : its.relations));
    const isShared = msLeft < Number.POSITIVE_INFINITY && later.some(({ length }) => length > 0);
    return isShared ? msLeft * (await partOfBlocks(session, own, later.flat())) : msLeft;
  }

  #progressLog(table: string): (progress: SweepProgress) => void {
    let loggedAt = Number.NEGATIVE_INFINITY;
    return (progress) => {
      if (this.#clock.now() - loggedAt >= PROGRESS_INTERVAL_MS) {
        loggedAt = this.#clock.now();
        this.#options.logger.debug('progress', { progress: { table, ...progress } });
      }
    };
  }

  #warn(warning: string): void {
    if (this.#warnings.length < MOST_WARNINGS) {
      this.#warnings.push(warning);
    }
    this.#options.logger.warn(warning, {});
  }

  get #dryRun(): boolean {
    return this.#request.dryRun ?? false;
  }
}

/** The golden ratio: the starts of successive days spread evenly over a table, whatever its size. */
const GOLDEN_RATIO = 0.618_033_988_75;

const DAY_MS = 86_400_000;

function startOn(cutoff: Date): number {
  return (Math.floor(cutoff.getTime() / DAY_MS) * GOLDEN_RATIO) % 1;
}
