import type { Clock, Deadlines } from '../clock';
import type { Target } from '../configuration/targets';
import { describeError, printable } from '../database/database-error';
import { type Query, Session, type SessionContext } from '../database/session';
import { BATCH_LIMITS } from '../engine/batch-limits';
import { conditionOf } from '../engine/conditions/condition';
import { watchCluster } from '../engine/pace/cluster-state';
import { Pace } from '../engine/pace/pace';
import { Turns } from '../engine/pace/turns';
import type { SweepProgress } from '../engine/pass';
import { findingOf, messageOf } from '../engine/preflight/finding';
import { type Inspected, inspect, PreflightError } from '../engine/preflight/preflight';
import type { Table } from '../engine/purge';
import { ReplicaLagBrake } from '../engine/replica-lag';
import { joinAlike } from './alike-lines';
import type { RunOptions } from './options';
import { type Plan, planOf } from './plan';
import {
  type Examined,
  lineOf,
  MOST_WARNINGS,
  notRunResult,
  type RunResult,
  refusedTarget,
  runResult,
  workedTarget,
} from './report';
import { type Expanded, expandSchemas } from './schemas';
import { AnotherRunError, checkServer, type ServerReport } from './server';

const PROGRESS_INTERVAL_MS = 250;

/** Without a deadline, a vacuum of more than a day has hung. */
const LONGEST_VACUUM_MS = 86_400_000;

/** The state of the server at the start of a run. */
type Start = Awaited<ReturnType<typeof checkServer>>;

/** One run on one database, from its first connection to its last. */
export class Run {
  readonly #options: RunOptions;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;
  readonly #plan: Plan;
  readonly #targets: readonly Target[];
  readonly #sessions: [Session, ...Session[]];
  /** One for all tables: they share the replicas, and a role that may not see these is warned of once. */
  readonly #brake: ReplicaLagBrake | undefined;
  /** One for all tables: they share the server with the same sessions. */
  readonly #turns: Turns;
  readonly #warnings: string[] = [];
  readonly #warn = (warning: string): void => {
    if (this.#warnings.length < MOST_WARNINGS) {
      this.#warnings.push(warning);
    }
    this.#options.logger.warn(warning, {});
  };
  #start: Start | undefined;
  #further: Promise<void> | undefined;

  constructor(options: RunOptions, clock: Clock, deadlines: Deadlines) {
    this.#options = options;
    this.#clock = clock;
    this.#deadlines = deadlines;
    this.#plan = planOf(options);
    this.#targets = options.targets.filter(({ name }) => options.tables?.includes(name) ?? true);
    this.#sessions = [this.#session((query) => this.#begin(query))];
    const { maxReplicaLagSeconds, maxLoad } = options;
    this.#brake = maxReplicaLagSeconds ? new ReplicaLagBrake(maxReplicaLagSeconds, clock, this.#warn) : undefined;
    this.#turns = new Turns({
      pace: new Pace(maxLoad),
      clock,
      deletingUntil: deadlines.deletingUntil,
      look: watchCluster(clock, BATCH_LIMITS),
      onChange: (reason) => options.logger.debug('pace', { pace: { reason } }),
    });
  }

  async execute(): Promise<RunResult> {
    const [main] = this.#sessions;
    const timeLeftMs = () => Math.min(this.#deadlines.countingUntil - this.#clock.now(), LONGEST_VACUUM_MS);
    let described: ServerReport | undefined;
    const facts = () => ({ cutoff: this.#start?.cutoff.toISOString(), server: described, warnings: this.#warnings });
    try {
      const inspected = await this.#inspectAll(main);
      const { cutoff, server } = this.#start as Start;
      described = await this.#plan.describe(server, main, this.#warn);
      const tables = [...inspected].flatMap(([target, found]) =>
        found instanceof PreflightError ? [] : [this.#table(target, found, cutoff)],
      );
      const worked = await this.#plan.work(tables, { cutoff, timeLeftMs, warn: this.#warn });
      const results = [...inspected].map(([target, found]) =>
        found instanceof PreflightError
          ? refusedTarget(target, found, this.#plan.diagnose(found))
          : workedTarget(target, worked.get(target) as Examined),
      );
      return runResult(results, facts());
    } catch (error) {
      if (error instanceof AnotherRunError) {
        this.#warn(error.message);
        return notRunResult(this.#targets, facts());
      }
      return notRunResult(this.#targets, facts(), describeError(error));
    } finally {
      await Promise.all(this.#sessions.map((session) => session.close()));
    }
  }

  /** Runs on every new connection of the first session. The cutoff stays that of the first one. */
  async #begin(query: Query): Promise<void> {
    const locked = this.#options.isLocked ? undefined : this.#plan.onConnect?.(query);
    const check = this.#start ?? checkServer(query, this.#clock, this.#plan.needs);
    [this.#start] = await Promise.all([check, locked]);
  }

  #session(onConnect?: (query: Query) => Promise<void>): Session {
    const { stopCounting: stop, abandon } = this.#deadlines;
    const { connection, database, logger } = this.#options;
    const context: SessionContext = { database, clock: this.#clock, stop, abandon, onRetry: logger.warn.bind(logger) };
    return new Session(connection, context, onConnect);
  }

  /** Inspects every table before the first row of any is deleted. A finding about one does not keep the others. */
  async #inspectAll(session: Session): Promise<Map<Target, Inspected | PreflightError>> {
    const expanded = await expandSchemas(session, this.#options.targets);
    const found = await inspect(session, {
      configured: [...expanded.values()].flatMap(({ targets }) => targets),
      requested: this.#targets.flatMap((target) => expanded.get(target)?.targets ?? []),
      needs: this.#plan.needs,
    });
    const results = this.#targets.flatMap((target) => {
      const { targets, error, warning } = expanded.get(target) as Expanded;
      if (error !== undefined) {
        return [[target, new PreflightError([findingOf(error)])] as const];
      }
      if (warning !== undefined) {
        this.#warn(`${target.name}: ${warning}`);
      }
      return targets.map((one) => [one, found.get(one) as Inspected | PreflightError] as const);
    });
    const warnings = results.flatMap(([target, inspected]) =>
      inspected.warnings.map((warning) => lineOf(target, messageOf(warning))),
    );
    for (const warning of joinAlike(warnings)) {
      this.#warn(warning);
    }
    return new Map(results);
  }

  /** Opens further connections. If the server has none to spare, the run works with fewer. */
  async #openFurther(): Promise<void> {
    const { concurrency } = this.#options;
    try {
      while (this.#sessions.length < concurrency) {
        const session = this.#session();
        session.synchronous = this.#sessions[0].synchronous;
        await session.open();
        this.#sessions.push(session);
      }
    } catch (error) {
      this.#warn(`works with ${this.#sessions.length} instead of ${concurrency} connections: ${describeError(error)}`);
    }
  }

  #table(target: Target, inspected: Inspected, cutoff: Date): Table {
    const { maxRows } = this.#options;
    const { stopDeleting, stopCounting } = this.#deadlines;
    return {
      target,
      inspected,
      options: {
        sessions: this.#sessions,
        openFurther: () => {
          this.#further ??= this.#openFurther();
          return this.#further;
        },
        root: inspected.root,
        relations: inspected.relations,
        keys: inspected.referringKeys,
        isInherited: !inspected.isPartitioned && inspected.relations.length > 1,
        startAt: startOn(cutoff),
        condition: conditionOf(target, cutoff, inspected),
        maxRows,
        turns: this.#turns,
        brake: this.#brake,
        clock: this.#clock,
        stopDeleting,
        stopCounting,
        onProgress: this.#progressLog(target.name),
        ...(target.pattern !== undefined && {
          onDropped: () => this.#warn(`${printable(target.name)}: was dropped during the run`),
        }),
      },
    };
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
}

/** The golden ratio: the starts of successive days spread evenly over a table of any size. */
const GOLDEN_RATIO = 0.618_033_988_75;

const DAY_MS = 86_400_000;

function startOn(cutoff: Date): number {
  return (Math.floor(cutoff.getTime() / DAY_MS) * GOLDEN_RATIO) % 1;
}
