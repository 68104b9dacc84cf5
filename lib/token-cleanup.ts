import type { Duration } from 'aws-cdk-lib';
import { Metric, type MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import { CfnSchema } from 'aws-cdk-lib/aws-eventschemas';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Schedule, ScheduleGroup } from 'aws-cdk-lib/aws-scheduler';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import type { StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { SERVICE } from '../lambda/configuration/settings';
import { METRIC_NAMESPACE, RUN_METRICS, STAGE_DIMENSION, TABLE_DIMENSION, TABLE_METRICS } from '../lambda/metrics';
import { type CleanupScheduleProps, createSchedule } from './cleanup-schedule';
import { type CleanupFunctionProps, createCleanupFunction } from './function/cleanup-function';
import { createDeadLetterQueue } from './function/dead-letter-queue';
import { type CleanupStateMachineProps, createCleanupStateMachine } from './workflow/cleanup-state-machine';

export interface TokenCleanupProps extends CleanupFunctionProps, CleanupScheduleProps, CleanupStateMachineProps {
  /**
   * The registry `lambda-testevent-schemas`, in which the construct puts shareable test events for the Lambda console.
   *
   * @default - no test events
   */
  readonly testEventRegistryName?: string;
}

export interface TableMetricOptions extends MetricOptions {
  /**
   * The table; `schema.table` outside of the schema `public`.
   *
   * @default - the first one
   */
  readonly table?: string;
}

/** The scheduled deletion of dead rows from the token tables of one PostgreSQL database. */
export class TokenCleanup extends Construct implements iam.IGrantable, ec2.IConnectable {
  /** The name of the function. The names of the alarms begin with it. */
  readonly name: string;
  readonly stage: string;
  readonly function: lambda.Function;
  readonly grantPrincipal: iam.IPrincipal;
  readonly logGroup: LogGroup;
  /** Receives events that could not be delivered to the function, and invocations in which the function crashed. */
  readonly deadLetterQueue: Queue;
  /** The state machine that the schedule starts; undefined without `continueUntil` and `events`. */
  readonly stateMachine?: StateMachine;
  /** The parameter that stops the state machine before its next round; undefined without one. */
  readonly offSwitch?: IStringParameter;
  readonly scheduleGroup: ScheduleGroup;
  /** Two if the crontab restricts both dates and weekdays, else one. */
  readonly schedules: Schedule[];
  /** The schedules in words, such as `At 03:00 (Etc/UTC)`. */
  readonly scheduleInWords: string;
  /** The longest time between two successful runs if all is well; undefined if the schedule is disabled. */
  readonly successWithin?: Duration;
  /** Names of the tables in metrics. */
  readonly tables: string[];

  readonly #service: string;

  constructor(scope: Construct, id: string, props: TokenCleanupProps) {
    super(scope, id);
    this.stage = props.stage;
    this.#service = props.serviceName ?? SERVICE;
    this.deadLetterQueue = createDeadLetterQueue(this);
    this.logGroup = new LogGroup(this, 'Logs', { retention: props.logRetention ?? RetentionDays.THREE_MONTHS });

    const { timeout, ...created } = createCleanupFunction(this, props, this);
    this.function = created.function;
    this.grantPrincipal = created.role;
    this.tables = created.tables;
    // The literal name if there is one, so that the names of the alarms are readable in the template.
    this.name = props.functionName ?? created.function.functionName;

    if (props.continueUntil !== undefined || props.events) {
      const invoked = { stage: this.stage, function: this.function, timeout };
      const workflow = createCleanupStateMachine(new Construct(this, 'Workflow'), props, invoked);
      this.stateMachine = workflow.stateMachine;
      this.offSwitch = workflow.offSwitch;
    }
    const schedule = createSchedule(this, props, this);
    this.scheduleGroup = schedule.group;
    this.schedules = schedule.schedules;
    this.scheduleInWords = schedule.inWords;
    if (schedule.startsWithin) {
      this.successWithin = schedule.startsWithin.plus(timeout).plus(schedule.longestWindow);
    }
    if (props.testEventRegistryName !== undefined) {
      this.#createTestEvents(props.testEventRegistryName);
    }
  }

  /** Only in a VPC. */
  get connections(): ec2.Connections {
    return this.function.connections;
  }

  /**
   * The rows that a run deleted from a table.
   *
   * @default - sum over 5 minutes
   */
  metricRowsDeleted(props: TableMetricOptions = {}): Metric {
    return this.#tableMetric(TABLE_METRICS.rowsDeleted, { statistic: Stats.SUM, ...props });
  }

  /**
   * The dead rows that a run left in a table. No value if they were not counted.
   *
   * @default - maximum over 5 minutes
   */
  metricRowsRemaining(props: TableMetricOptions = {}): Metric {
    return this.#tableMetric(TABLE_METRICS.rowsRemaining, { statistic: Stats.MAXIMUM, ...props });
  }

  /**
   * An upper bound for the age, in hours, of the oldest deleted row that a table or its indexes may still hold. No value
   * if the server does not show it.
   *
   * @default - maximum over 5 minutes
   */
  metricHoursUnlinked(props: TableMetricOptions = {}): Metric {
    return this.#tableMetric(TABLE_METRICS.hoursUnlinked, { statistic: Stats.MAXIMUM, ...props });
  }

  /**
   * The time that a run spent on a table, in milliseconds.
   *
   * @default - maximum over 5 minutes
   */
  metricDuration(props: TableMetricOptions = {}): Metric {
    return this.#tableMetric(TABLE_METRICS.duration, { statistic: Stats.MAXIMUM, ...props });
  }

  /**
   * Runs of all tables that left no dead row.
   *
   * @default - sum over 5 minutes
   */
  metricSucceeded(props: MetricOptions = {}): Metric {
    return this.#metric(RUN_METRICS.succeeded, {}, props);
  }

  /**
   * Runs that left dead rows to the next run.
   *
   * @default - sum over 5 minutes
   */
  metricPartial(props: MetricOptions = {}): Metric {
    return this.#metric(RUN_METRICS.partial, {}, props);
  }

  /**
   * Runs in which at least one table failed.
   *
   * @default - sum over 5 minutes
   */
  metricFailed(props: MetricOptions = {}): Metric {
    return this.#metric(RUN_METRICS.failed, {}, props);
  }

  /**
   * Runs that did nothing, because another run held the lock.
   *
   * @default - sum over 5 minutes
   */
  metricSkipped(props: MetricOptions = {}): Metric {
    return this.#metric(RUN_METRICS.skipped, {}, props);
  }

  #tableMetric(metricName: string, { table = this.tables[0] ?? '', ...props }: TableMetricOptions): Metric {
    if (!this.tables.includes(table)) {
      throw new Error(`table must be one of ${this.tables.join(', ')}, got ${JSON.stringify(table)}`);
    }
    return this.#metric(metricName, { [TABLE_DIMENSION]: table }, props);
  }

  #metric(metricName: string, dimensions: Record<string, string>, props: MetricOptions): Metric {
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName,
      // A metric has exactly these dimensions: with one more or one less there is no data.
      dimensionsMap: { service: this.#service, [STAGE_DIMENSION]: this.stage, ...dimensions },
      statistic: Stats.SUM,
      ...props,
    });
  }

  /** Test events in the Lambda console, for anyone who may see the function. */
  #createTestEvents(registryName: string): void {
    const examples = {
      'dry-run': { value: { dryRun: true } },
      'run-now': { value: {} },
      'catch-up': { value: { concurrency: 2, maxLoad: 1 } },
    };
    new CfnSchema(this, 'TestEvents', {
      registryName,
      schemaName: `_${this.function.functionName}-schema`,
      type: 'OpenApi3',
      content: JSON.stringify({
        openapi: '3.0.0',
        info: { version: '1.0.0', title: 'Event' },
        paths: {},
        components: { schemas: { Event: { type: 'object' } }, examples },
      }),
    });
  }
}
