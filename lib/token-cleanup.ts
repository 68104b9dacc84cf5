import { basename, dirname } from 'node:path';
import { ArnFormat, Duration, Fn, RemovalPolicy, Stack, TimeZone, Token, Tokenization, Validations } from 'aws-cdk-lib';
import { Metric, type MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { CfnSchema } from 'aws-cdk-lib/aws-eventschemas';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { SqsDestination } from 'aws-cdk-lib/aws-lambda-destinations';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Schedule, ScheduleExpression, ScheduleGroup, TimeWindow } from 'aws-cdk-lib/aws-scheduler';
import { LambdaInvoke } from 'aws-cdk-lib/aws-scheduler-targets';
import type { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { toString as describeCrontab } from 'cronstrue';
import { isEnabled, readConfig } from '../lambda/configuration/environment';
import { SERVICE } from '../lambda/configuration/settings';
import type { TargetsInput } from '../lambda/configuration/targets';
import { METRIC_NAMESPACE, RUN_METRICS, STAGE_DIMENSION, TABLE_DIMENSION, TABLE_METRICS } from '../lambda/metrics';
import { functionCode } from './function-code';
import { longestGapMs, scheduleExpressions } from './schedule-expression';

export interface TokenCleanupProps {
  /** The name of the deployment: a dimension of every metric, a key of every log line. */
  readonly stage: string;

  /**
   * The user and password to log in with, in the shape that RDS writes. The function may read this secret and no other,
   * and decrypt with its `encryptionKey`, if there is one.
   *
   * @default - the function logs in as `iamUser`; one of the two must be given
   */
  readonly secret?: ISecret | undefined;

  /**
   * Logs in as this user with a token that the function signs, in place of a password. The function may connect as this
   * user and no other, and needs no secret. Needs `databaseHost`, and an encrypted connection.
   *
   * @default - the function logs in with `secret`
   */
  readonly iamUser?: IamUser | undefined;

  /**
   * Has to be set with `iamUser`, to what RDS calls the endpoint: tokens for an alias are refused.
   *
   * @default - what the secret says
   */
  readonly databaseHost?: string | undefined;

  /**
   * Has to be set where it is not 5432 and the function is in a VPC, because the security group lets only this port out.
   *
   * @default - what the secret says, else 5432
   */
  readonly databasePort?: number | undefined;

  /** @default - what the secret says, else postgres */
  readonly databaseName?: string | undefined;

  /** @default verify-full */
  readonly sslMode?: 'verify-full' | 'disable' | undefined;

  /**
   * A PEM file on this machine, with certificate authorities to trust besides those of Node.js. It is deployed as a layer.
   *
   * @default - the authorities of RDS, which the runtime of Lambda holds
   */
  readonly rootCertificates?: string | undefined;

  /**
   * The tables, and which of their rows are dead.
   *
   * @default - the rows of public.refresh_tokens that are revoked or expired
   */
  readonly targets?: TargetsInput | undefined;

  /**
   * How many connections sweep at once, 1 to 16.
   *
   * @default 1
   */
  readonly concurrency?: number | undefined;

  /**
   * The share of time that a connection works, above 0 up to 1.
   *
   * @default 0.5
   */
  readonly maxLoad?: number | undefined;

  /**
   * A sweep pauses while a streaming replica is further behind.
   *
   * @default - replicas are not looked at
   */
  readonly maxReplicaLag?: Duration | undefined;

  /**
   * When the function runs, as a five-field crontab.
   *
   * @default 0 3 * * *
   */
  readonly schedule?: string | undefined;

  /** @default TimeZone.ETC_UTC */
  readonly timeZone?: TimeZone | undefined;

  /**
   * A run begins at any moment within this time after the scheduled one, 1 minute to 24 hours.
   *
   * @default - at the scheduled minute
   */
  readonly flexibleWindow?: Duration | undefined;

  /**
   * The variable `NODE_ENV` of the function. With `test` the job never runs, and its schedule is disabled.
   *
   * @default production
   */
  readonly nodeEnv?: string | undefined;

  /**
   * How long a run may take, at most 15 minutes. What it does not get done by then is left to the next run.
   *
   * @default Duration.minutes(15)
   */
  readonly timeout?: Duration | undefined;

  /**
   * In MiB. A sweep needs little memory, whatever the size of the table; but processor time comes with it.
   *
   * @default 256
   */
  readonly memorySize?: number | undefined;

  /**
   * Takes this much from the account's concurrency, which accounts with a low quota cannot spare. Not needed to keep runs
   * apart: a lock in the database does that.
   *
   * @default - not reserved
   */
  readonly reservedConcurrentExecutions?: number | undefined;

  /**
   * Whether X-Ray records the invocations.
   *
   * @default false
   */
  readonly tracing?: boolean | undefined;

  /** @default RetentionDays.THREE_MONTHS */
  readonly logRetention?: RetentionDays | undefined;

  /** @default - the function is outside of any VPC */
  readonly vpc?: ec2.IVpc | undefined;

  /** @default - the private subnets */
  readonly vpcSubnets?: ec2.SubnetSelection | undefined;

  /**
   * The function's security group lets connections out to this group, which gets a rule that lets them in unless it is
   * imported with `mutable: false`.
   *
   * @default - connections go out to `databaseCidrs`
   */
  readonly databaseSecurityGroup?: ec2.ISecurityGroup | undefined;

  /** @default - the addresses of the VPC */
  readonly databaseCidrs?: readonly string[] | undefined;

  /**
   * An endpoint of Secrets Manager to read the secret through. Its policy is opened for this secret. It needs no private
   * DNS: the function is told its address. Must not be set with `iamUser`, which needs no secret.
   *
   * @default - the secret is read at the public address, over a NAT gateway or an endpoint with private DNS
   */
  readonly secretsManagerEndpoint?: ec2.InterfaceVpcEndpoint | undefined;

  /** @default - generated by CloudFormation */
  readonly functionName?: string | undefined;

  /**
   * The dimension `service` of every metric. Has to differ between the databases of a stage.
   *
   * @default token-cleanup
   */
  readonly serviceName?: string | undefined;

  /**
   * The registry `lambda-testevent-schemas`, if the Lambda console is to offer shareable test events.
   *
   * @default - no test events
   */
  readonly testEventRegistryName?: string | undefined;
}

/** A user of a database, for IAM. */
export interface IamUser {
  /** The name of a role of PostgreSQL that was granted `rds_iam`. */
  readonly name: string;

  /** The resource id of the instance (`db-…`), the cluster (`cluster-…`) or the proxy (`prx-…`), not its name. */
  readonly resourceId: string;
}

export interface TableMetricOptions extends MetricOptions {
  /**
   * Which of the tables; `schema.table` outside of the schema `public`.
   *
   * @default - the first
   */
  readonly table?: string;
}

/** The longest that Lambda lets a function run. */
const LONGEST_TIMEOUT = Duration.minutes(15);

/** For how long Lambda and EventBridge try to start a run. Later it would meet the business of the day, or the next run. */
const DELIVERY_WINDOW = Duration.hours(1);

/** What Lambda takes of environment variables, names and values together. */
const ENVIRONMENT_BYTES = 4096;

/** A policy reads `*` and `?` as anything, and `$` as a variable. */
export const IAM_USER_NAME = {
  rule: 'must be a name of at most 63 characters, without spaces, *, ?, $ and /',
  pattern: /^[^\s*?$/]{1,63}$/,
};

/** Names of databases are lower case, by which they are told from ids. */
export const RESOURCE_ID = {
  rule: 'must be a resource id, which begins with db-, cluster- or prx-, and not a name',
  pattern: /^(?:(?:db|cluster)-[A-Z0-9]{8,}|prx-[A-Za-z0-9]{8,})$/,
};

/** A function that deletes the dead rows of token tables in one PostgreSQL database, and the schedule that runs it. */
export class TokenCleanup extends Construct implements iam.IGrantable, ec2.IConnectable {
  /** What the names of its alarms begin with: the name of the function. */
  readonly name: string;
  readonly stage: string;
  readonly function: lambda.Function;
  readonly grantPrincipal: iam.IPrincipal;
  readonly logGroup: LogGroup;
  /** Gets what could not be delivered to the function, and invocations in which the function itself broke. */
  readonly deadLetterQueue: Queue;
  readonly scheduleGroup: ScheduleGroup;
  /** Two where the crontab picks both dates and weekdays, else one. */
  readonly schedules: readonly Schedule[];
  /** The schedules as a person would say them. */
  readonly scheduleInWords: string;
  /** The longest time between two successful runs when all is well; absent where the schedule is disabled. */
  readonly successWithin?: Duration;
  /** What the tables are called in metrics. */
  readonly tables: readonly string[];

  readonly #service: string;

  constructor(scope: Construct, id: string, props: TokenCleanupProps) {
    super(scope, id);
    this.stage = props.stage;
    this.#service = props.serviceName ?? SERVICE;
    const timeout = props.timeout ?? LONGEST_TIMEOUT;
    if (timeout.toSeconds() > LONGEST_TIMEOUT.toSeconds()) {
      throw new Error(`timeout must be at most ${LONGEST_TIMEOUT.toSeconds()} seconds, got ${timeout.toSeconds()}`);
    }
    checkLogin(props);
    const environment = this.#environment(props);
    this.tables = readConfig(knownAtSynth(environment)).targets.map(({ name }) => name);

    this.deadLetterQueue = this.#createDeadLetterQueue();
    this.logGroup = new LogGroup(this, 'Logs', { retention: props.logRetention ?? RetentionDays.THREE_MONTHS });
    const role = this.#createRole(props);
    this.grantPrincipal = role;
    this.function = this.#createFunction(props, role, timeout, environment);
    // The literal name where there is one, so that a person can read the names of the alarms in the template.
    this.name = props.functionName ?? this.function.functionName;
    if (props.vpc) {
      this.#keepCodeFromNetworking(role);
    }

    const crontab = props.schedule ?? '0 3 * * *';
    const timeZone = props.timeZone ?? TimeZone.ETC_UTC;
    const expressions = scheduleExpressions(crontab);
    const longestGap = Duration.millis(longestGapMs(crontab, timeZone.timezoneName));
    const enabled = isEnabled(environment);
    this.scheduleGroup = new ScheduleGroup(this, 'ScheduleGroup', { removalPolicy: RemovalPolicy.DESTROY });
    const target = this.#createTarget();
    this.schedules = expressions.map(
      (expression, i) =>
        new Schedule(this, i === 0 ? 'Schedule' : 'WeekdaySchedule', {
          ...given({ timeWindow: props.flexibleWindow && TimeWindow.flexible(props.flexibleWindow) }),
          schedule: ScheduleExpression.expression(expression, timeZone),
          description: `The crontab ${crontab}`,
          scheduleGroup: this.scheduleGroup,
          target,
          enabled,
        }),
    );
    this.scheduleInWords = `${expressions.map(inWords).join(', and ')} (${timeZone.timezoneName})`;
    if (enabled) {
      const delay = (props.flexibleWindow ?? Duration.millis(0)).plus(DELIVERY_WINDOW).plus(timeout);
      this.successWithin = longestGap.plus(delay);
    } else {
      this.scheduleInWords += ', disabled';
    }
    if (props.testEventRegistryName !== undefined) {
      this.#createTestEvents(props.testEventRegistryName);
    }
  }

  /** Only where the function is in a VPC. */
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
   * The dead rows that a run left in a table; no value where they could not be counted.
   *
   * @default - maximum over 5 minutes
   */
  metricRowsRemaining(props: TableMetricOptions = {}): Metric {
    return this.#tableMetric(TABLE_METRICS.rowsRemaining, { statistic: Stats.MAXIMUM, ...props });
  }

  /**
   * How long the sweep of a table took, in milliseconds.
   *
   * @default - maximum over 5 minutes
   */
  metricDuration(props: TableMetricOptions = {}): Metric {
    return this.#tableMetric(TABLE_METRICS.duration, { statistic: Stats.MAXIMUM, ...props });
  }

  /**
   * Runs that swept every table to its end. Dry runs do not count.
   *
   * @default - sum over 5 minutes
   */
  metricSucceeded(props: MetricOptions = {}): Metric {
    return this.#metric(RUN_METRICS.succeeded, {}, props);
  }

  /**
   * Runs that left dead rows for the next one. Dry runs do not count.
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
      // A metric is its name and exactly these dimensions: with one more or less there is no data.
      dimensionsMap: { service: this.#service, [STAGE_DIMENSION]: this.stage, ...dimensions },
      statistic: Stats.SUM,
      ...props,
    });
  }

  #environment(props: TokenCleanupProps): Record<string, string> {
    const environment = given({
      STAGE: props.stage,
      NODE_ENV: props.nodeEnv ?? 'production',
      POWERTOOLS_SERVICE_NAME: this.#service,
      DB_AUTH: props.iamUser && 'iam',
      DB_SECRET_ARN: props.secret?.secretArn,
      DB_USER: props.iamUser?.name,
      DB_HOST: props.databaseHost,
      DB_PORT: props.databasePort === undefined ? undefined : Tokenization.stringifyNumber(props.databasePort),
      DB_NAME: props.databaseName,
      DB_SSL_MODE: props.sslMode,
      DB_SSL_ROOT_CERT: props.rootCertificates && `/opt/${basename(props.rootCertificates)}`,
      CLEANUP_TARGETS: props.targets && JSON.stringify(props.targets),
      CLEANUP_CONCURRENCY: props.concurrency?.toString(),
      CLEANUP_MAX_LOAD: props.maxLoad?.toString(),
      CLEANUP_MAX_REPLICA_LAG_SECONDS: props.maxReplicaLag?.toSeconds().toString(),
      AWS_ENDPOINT_URL_SECRETS_MANAGER: props.secretsManagerEndpoint && addressOf(props.secretsManagerEndpoint),
    }) as Record<string, string>;
    const bytes = Buffer.byteLength(Object.entries(environment).flat().join(''));
    if (bytes > ENVIRONMENT_BYTES) {
      throw new Error(
        `the function's environment must be at most ${ENVIRONMENT_BYTES} bytes, got ${bytes}, ` +
          `${environment.CLEANUP_TARGETS?.length ?? 0} of them for the targets`,
      );
    }
    return environment;
  }

  #createDeadLetterQueue(): Queue {
    const queue = new Queue(this, 'DeadLetterQueue', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
    const reason = 'This is a dead-letter queue itself, that of the schedule and of the function.';
    Validations.of(queue).acknowledge(
      { id: 'AwsSolutions-SQS3', reason },
      { id: 'Serverless-SQSRedrivePolicy', reason },
    );
    return queue;
  }

  /** With less than the managed policies of Lambda, which may write to every log group and make any. */
  #createRole(props: TokenCleanupProps): iam.Role {
    const { secret, iamUser, vpc, tracing } = props;
    const role = new iam.Role(this, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
    this.logGroup.grantWrite(role);
    if (secret) {
      this.#grantRead(role, secret, props.secretsManagerEndpoint);
    }
    if (iamUser) {
      const resourceName = `${iamUser.resourceId}/${iamUser.name}`;
      const arnFormat = ArnFormat.COLON_RESOURCE_NAME;
      const arn = Stack.of(this).formatArn({ service: 'rds-db', resource: 'dbuser', resourceName, arnFormat });
      role.addToPolicy(new iam.PolicyStatement({ actions: ['rds-db:connect'], resources: [arn] }));
    }
    if (vpc) {
      role.addToPolicy(new iam.PolicyStatement({ actions: NETWORK_INTERFACE_ACTIONS, resources: ['*'] }));
    }
    const reasons = [
      ...(vpc ? ['Lambda attaches the function to the VPC, by interfaces that have no names beforehand.'] : []),
      ...(tracing ? ['X-Ray has no resources to name.'] : []),
    ];
    if (reasons.length > 0) {
      Validations.of(role).acknowledge({ id: 'AwsSolutions-IAM5[Resource::*]', reason: reasons.join(' ') });
    }
    return role;
  }

  #grantRead(role: iam.Role, secret: ISecret, endpoint?: ec2.InterfaceVpcEndpoint): void {
    secret.grantRead(role);
    if (secret.encryptionKey) {
      // What the secret itself grants goes into the policy of the key, and nowhere where the key is imported.
      role.addToPolicy(
        new iam.PolicyStatement({
          actions: ['kms:Decrypt'],
          resources: [secret.encryptionKey.keyArn],
          conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${Stack.of(this).region}.amazonaws.com` } },
        }),
      );
    }
    endpoint?.addToPolicy(
      new iam.PolicyStatement({
        principals: [role],
        actions: ['secretsmanager:GetSecretValue'],
        resources: [secret.secretFullArn ?? `${secret.secretArn}-??????`],
      }),
    );
  }

  #createFunction(
    props: TokenCleanupProps,
    role: iam.IRole,
    timeout: Duration,
    environment: Record<string, string>,
  ): lambda.Function {
    const created = new lambda.Function(this, 'Function', {
      code: functionCode(),
      handler: 'index.handler',
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.ARM_64,
      ...given({
        functionName: props.functionName,
        reservedConcurrentExecutions: props.reservedConcurrentExecutions,
        ...this.#network(props),
      }),
      description: `Deletes dead rows of ${this.tables.join(', ')} (${props.stage})`.slice(0, 256),
      role,
      timeout,
      environment,
      memorySize: props.memorySize ?? 256,
      layers: this.#certificateLayers(props),
      tracing: props.tracing ? lambda.Tracing.ACTIVE : lambda.Tracing.DISABLED,
      logGroup: this.logGroup,
      loggingFormat: lambda.LoggingFormat.JSON,
      // What the function can report it reports, and returns. What breaks it would break it again, and the next run comes anyway.
      retryAttempts: 0,
      maxEventAge: DELIVERY_WINDOW,
      onFailure: new SqsDestination(this.deadLetterQueue),
    });
    Validations.of(created).acknowledge({
      id: 'Serverless-LambdaDLQ',
      reason: 'It has an on-failure destination, which gets the error besides the event.',
    });
    if (!props.tracing) {
      Validations.of(created).acknowledge({
        id: 'Serverless-LambdaTracing',
        reason: 'A run is one conversation with one database; tracing is an option.',
      });
    }
    return created;
  }

  /** The rights over network interfaces are for Lambda, which cannot be given them apart from the code. */
  #keepCodeFromNetworking(role: iam.Role): void {
    new iam.Policy(this, 'NoNetworkingByCode', {
      roles: [role],
      statements: [
        new iam.PolicyStatement({
          effect: iam.Effect.DENY,
          actions: NETWORK_INTERFACE_ACTIONS,
          resources: ['*'],
          conditions: { ArnEquals: { 'lambda:SourceFunctionArn': this.function.functionArn } },
        }),
      ],
    });
  }

  #network(props: TokenCleanupProps): Pick<lambda.FunctionOptions, 'vpc' | 'vpcSubnets' | 'securityGroups'> {
    const { vpc, databaseSecurityGroup, secret, secretsManagerEndpoint: endpoint } = props;
    if (!vpc) {
      return {};
    }
    const group = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc,
      description: `Token cleanup: out to PostgreSQL${secret ? ' and Secrets Manager' : ''}, nothing in`,
      allowAllOutbound: false,
    });
    // By id, so that the rules are part of the group: one that is made without any begins with every port open.
    const port = ec2.Port.tcp(props.databasePort ?? 5432);
    if (databaseSecurityGroup) {
      group.addEgressRule(ec2.Peer.securityGroupId(databaseSecurityGroup.securityGroupId), port, 'PostgreSQL');
      databaseSecurityGroup.addIngressRule(group, port, `Token cleanup (${props.stage})`);
    } else {
      for (const cidr of props.databaseCidrs ?? [vpc.vpcCidrBlock]) {
        group.addEgressRule(ec2.Peer.ipv4(cidr), port, 'PostgreSQL');
      }
    }
    if (secret && !endpoint) {
      group.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.HTTPS, 'Secrets Manager');
    }
    for (const endpointGroup of endpoint?.connections.securityGroups ?? []) {
      group.addEgressRule(ec2.Peer.securityGroupId(endpointGroup.securityGroupId), ec2.Port.HTTPS, 'Secrets Manager');
      endpointGroup.addIngressRule(group, ec2.Port.HTTPS, `Token cleanup (${props.stage})`);
    }
    return { vpc, ...given({ vpcSubnets: props.vpcSubnets }), securityGroups: [group] };
  }

  #certificateLayers({ rootCertificates }: TokenCleanupProps): lambda.LayerVersion[] {
    if (rootCertificates === undefined) {
      return [];
    }
    const file = basename(rootCertificates);
    const code = lambda.Code.fromAsset(dirname(rootCertificates), { exclude: ['*', `!${file}`] });
    return [new lambda.LayerVersion(this, 'RootCertificates', { code, description: 'Certificate authorities' })];
  }

  #createTarget(): LambdaInvoke {
    const role = new iam.Role(this, 'ScheduleRole', {
      assumedBy: new iam.ServicePrincipal('scheduler.amazonaws.com', {
        conditions: {
          StringEquals: {
            'aws:SourceAccount': Stack.of(this).account,
            'aws:SourceArn': this.scheduleGroup.scheduleGroupArn,
          },
        },
      }),
    });
    const functionId = Stack.of(this).getLogicalId(this.function.node.defaultChild as lambda.CfnFunction);
    Validations.of(role).acknowledge({
      id: `AwsSolutions-IAM5[Resource::<${functionId}.Arn>:*]`,
      reason: 'The CDK lets every version and alias of the one function be invoked.',
    });
    return new LambdaInvoke(this.function, {
      role,
      deadLetterQueue: this.deadLetterQueue,
      // This is about handing the event over, which fails by throttling at most. Not 185 times in a day, as by default.
      retryAttempts: 3,
      maxEventAge: DELIVERY_WINDOW,
    });
  }

  /** What the Lambda console offers for a test, to everybody who may see the function. */
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

const NETWORK_INTERFACE_ACTIONS = [
  'ec2:CreateNetworkInterface',
  'ec2:DescribeNetworkInterfaces',
  'ec2:DescribeSubnets',
  'ec2:DeleteNetworkInterface',
  'ec2:AssignPrivateIpAddresses',
  'ec2:UnassignPrivateIpAddresses',
];

/** A resource id and a user go into a policy, where some characters would stand for any. */
function checkLogin({ secret, iamUser, secretsManagerEndpoint }: TokenCleanupProps): void {
  if (!secret === !iamUser) {
    throw new Error(`either secret or iamUser must be given, got ${secret ? 'both' : 'neither'}`);
  }
  if (iamUser && secretsManagerEndpoint) {
    throw new Error('secretsManagerEndpoint must not be given beside iamUser, which needs no secret');
  }
  const parts = [
    ['iamUser.name', iamUser?.name, IAM_USER_NAME],
    ['iamUser.resourceId', iamUser?.resourceId, RESOURCE_ID],
  ] as const;
  for (const [name, value, { rule, pattern }] of parts) {
    if (value !== undefined && !Token.isUnresolved(value) && !pattern.test(value)) {
      throw new Error(`${name} ${rule}, got ${JSON.stringify(value)}`);
    }
  }
}

/** Variables that only have to be there. */
const TEXTS: readonly string[] = ['DB_SECRET_ARN', 'DB_HOST', 'DB_USER', 'DB_NAME'];

/** What can be checked before the deployment. That a text is there is known, whatever it will be. */
function knownAtSynth(environment: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter(([name, value]) => TEXTS.includes(name) || !Token.isUnresolved(value)),
  );
}

/** The address of an endpoint without private DNS; the first entry is that of the region, as `zone:name`. */
function addressOf(endpoint: ec2.InterfaceVpcEndpoint): string {
  return `https://${Fn.select(1, Fn.split(':', Fn.select(0, endpoint.vpcEndpointDnsEntries)))}`;
}

/** `cron(0 3 * * ? *)` as `At 03:00`. */
function inWords(expression: string): string {
  const crontab = expression.replace(/^cron\((.+) \*\)$/, '$1');
  return describeCrontab(crontab, { use24HourTimeFormat: true });
}

/** Leaves out what is `undefined`: the props of the CDK do not take it. */
function given<T extends object>(props: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(props).filter(([, value]) => value !== undefined)) as never;
}
