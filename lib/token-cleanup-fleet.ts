import { Aws, Duration, Fn } from 'aws-cdk-lib';
import { Metric, type MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import type { Schedule } from 'aws-cdk-lib/aws-scheduler';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import { DefinitionBody, QueryLanguage, type StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { SERVICE } from '../lambda/configuration/settings';
import { FLEET_METRICS, METRIC_NAMESPACE, RUN_METRICS, STAGE_DIMENSION } from '../lambda/metrics';
import { type CleanupScheduleProps, createSchedule } from './cleanup-schedule';
import { createFleetBucket } from './fleet/fleet-bucket';
import { createFleetFunction, type FleetFunctionProps } from './fleet/fleet-function';
import { createSummaryFunction } from './fleet/summary-function';
import { createDeadLetterQueue } from './function/dead-letter-queue';
import { arnOf, justifyWildcard } from './permissions';
import { DEFAULT_SERVERS_AT_ONCE } from './stage/fleet-config';
import { requestOf } from './workflow/cleanup-state-machine';
import { fleetStates, MAP_LABEL } from './workflow/fleet-states';
import { OffSwitch } from './workflow/off-switch';
import { createStateMachine } from './workflow/state-machine';

export interface TokenCleanupFleetProps extends FleetFunctionProps, CleanupScheduleProps {
  /**
   * The number of servers that are swept at once, 1 to 1000. Each takes one of the account's concurrent Lambda executions.
   *
   * @default 50
   */
  readonly serversAtOnce?: number;

  /**
   * The percentage of servers that may fail as a whole. If more do, the run ends early, since they probably share a cause.
   *
   * @default 25
   */
  readonly toleratedFailurePercentage?: number;

  /**
   * The time of day in `timeZone`, such as `06:00`, at which a run ends. It leaves the databases that it has not reached
   * by then to the next run.
   *
   * @default - a run ends when all servers are done
   */
  readonly continueUntil?: string;

  /**
   * The parameter of SSM that stops the state machine before its next round if it is anything but `on`.
   *
   * @default - a new parameter
   */
  readonly offSwitch?: IStringParameter;
}

/**
 * The scheduled deletion of dead rows in the databases of many PostgreSQL servers. A manifest in S3 lists the servers, so
 * that more servers take no more resources.
 */
export class TokenCleanupFleet extends Construct implements iam.IGrantable, ec2.IConnectable {
  /** The names of the alarms begin with it. */
  readonly name: string;
  readonly stage: string;
  /** Sweeps the databases of one server. */
  readonly function: lambda.Function;
  /** Checks the manifest, and sums up. */
  readonly summaryFunction: lambda.Function;
  readonly grantPrincipal: iam.IPrincipal;
  /** Holds the manifest as `manifest.jsonl`, and the results of runs for 90 days. */
  readonly bucket: IBucket;
  readonly stateMachine: StateMachine;
  /** The parameter that stops the state machine before its next round. */
  readonly offSwitch: IStringParameter;
  readonly logGroup: LogGroup;
  /** Receives events that could not be delivered to the state machine. */
  readonly deadLetterQueue: Queue;
  readonly schedules: Schedule[];
  /** The schedules in words, such as `At 03:00 (Etc/UTC)`. */
  readonly scheduleInWords: string;
  /** The longest time between the ends of two runs if all is well; undefined if the schedule is disabled. */
  readonly completedWithin?: Duration;

  readonly #service: string;

  constructor(scope: Construct, id: string, props: TokenCleanupFleetProps) {
    super(scope, id);
    this.stage = props.stage;
    this.#service = props.serviceName ?? SERVICE;
    this.deadLetterQueue = createDeadLetterQueue(this);
    this.logGroup = new LogGroup(this, 'Logs', { retention: props.logRetention ?? RetentionDays.THREE_MONTHS });
    this.bucket = createFleetBucket(this);
    const created = createFleetFunction(this, props, this);
    const { timeout, targetLists } = created;
    this.function = created.function;
    this.grantPrincipal = created.role;
    this.name = props.functionName ?? created.function.functionName;
    this.summaryFunction = createSummaryFunction(this, props, targetLists, this.bucket, this.logGroup);
    this.offSwitch = props.offSwitch ?? new OffSwitch(this, 'OffSwitch').parameter;
    this.stateMachine = this.#createStateMachine(props, timeout);
    const schedule = createSchedule(this, props, this);
    this.schedules = schedule.schedules;
    this.scheduleInWords = schedule.inWords;
    if (schedule.startsWithin) {
      const longestRun = props.continueUntil === undefined ? LONGEST_RUN : schedule.longestWindow.plus(timeout);
      this.completedWithin = schedule.startsWithin.plus(longestRun);
    }
  }

  /** Only in a VPC. */
  get connections(): ec2.Connections {
    return this.function.connections;
  }

  /**
   * A metric of the whole fleet. Every run except a dry run emits it once.
   *
   * @param metricName one of those in lambda/README.md, such as `DatabasesFailed` or `OldestSweepHours`
   * @default - maximum over 5 minutes
   */
  metric(metricName: string, props: MetricOptions = {}): Metric {
    const names: string[] = [...Object.values(RUN_METRICS), ...Object.values(FLEET_METRICS)];
    if (!names.includes(metricName)) {
      throw new Error(`metricName must be one of ${names.join(', ')}, got ${JSON.stringify(metricName)}`);
    }
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName,
      dimensionsMap: { service: this.#service, [STAGE_DIMENSION]: this.stage },
      statistic: Stats.MAXIMUM,
      ...props,
    });
  }

  #createStateMachine(props: TokenCleanupFleetProps, timeout: Duration): StateMachine {
    const scope = new Construct(this, 'Workflow');
    const start = fleetStates(scope, {
      stage: this.stage,
      function: this.function,
      timeout,
      summary: this.summaryFunction,
      bucket: this.bucket,
      offSwitch: this.offSwitch,
      request: requestOf(props.continueUntil, props.timeZone),
      serversAtOnce: props.serversAtOnce ?? DEFAULT_SERVERS_AT_ONCE,
      toleratedFailurePercentage: props.toleratedFailurePercentage ?? 25,
    });
    const stateMachine = createStateMachine(scope, props, {
      comment: `Runs the token cleanup of a fleet (${this.stage})`,
      definitionBody: DefinitionBody.fromChainable(start),
      // The map is written in JSONPath, all other states in JSONata.
      queryLanguage: QueryLanguage.JSON_PATH,
      functions: [this.function, this.summaryFunction],
    });
    const { role } = stateMachine;
    // The policy names the bucket in the first of these, and the objects by their ARN in the second.
    const objects = `arn:${Aws.PARTITION}:s3:::${this.bucket.bucketName}/*`;
    justifyWildcard(role, objects, 'The CDK grants the reader and the writer of a map the objects of this one bucket.');
    justifyWildcard(role, this.bucket.arnForObjects('runs/*'), 'Each run has a folder of its own.');
    const reason = 'A map starts, follows and stops executions of this one state machine.';
    const name = Fn.select(6, Fn.split(':', stateMachine.stateMachineArn));
    for (const path of [name, `${name}/${MAP_LABEL}`]) {
      justifyWildcard(stateMachine, arnOf(this, 'states', 'execution', `${path}:*`), reason);
    }
    return stateMachine;
  }
}

/** Without `continueUntil`. A run that takes longer may set off the alarm about missing runs. */
const LONGEST_RUN = Duration.hours(6);
