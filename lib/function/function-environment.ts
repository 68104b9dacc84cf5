import { basename } from 'node:path';
import { type Duration, Fn, Token, Tokenization } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { ANY_TEXT_VARIABLES, readConfig } from '../../lambda/configuration/environment';
import { loginMistakes } from '../../lambda/configuration/login';
import { isLikeTest, NODE_ENV_RULE, SERVICE } from '../../lambda/configuration/settings';
import { LISTS_VARIABLE, readTargetLists } from '../../lambda/configuration/target-lists';
import { given } from '../given';
import { IAM_USER_NAME, type IamUser, RESOURCE_ID, type SslMode } from '../login';
import { type CleanupTarget, targetListsJson, targetsJson } from '../target';

/** Patterns of database names, in which `*` stands for any characters. */
export interface DatabasePattern {
  /** The databases to sweep. */
  readonly like: string[];

  /**
   * The databases among those to leave out.
   *
   * @default - none
   */
  readonly except?: string[];
}

/** The connection, the pace and the names of a function. */
export interface CleanupSettings {
  /** The name of the deployment, a dimension of every metric and a key of every log line. */
  readonly stage: string;

  /** @default SslMode.VERIFY_FULL */
  readonly sslMode?: SslMode;

  /**
   * A local PEM file of certificate authorities to trust in addition to those of Node.js. It is deployed as a layer.
   *
   * @default - the authorities of RDS, which the Lambda runtime contains
   */
  readonly rootCertificates?: string;

  /**
   * The number of connections that delete at once, 1 to 16.
   *
   * @default 1
   */
  readonly concurrency?: number;

  /**
   * A fixed share of time that each connection works, above 0 up to 1.
   *
   * @default - the automatic pace: full speed alone, at most 5 % of the time beside other sessions
   */
  readonly maxLoad?: number;

  /**
   * About how many rows of a table a run may delete, at most one batch more: 1 to 1,000,000,000,000. The next run continues
   * where it ended. A run with this limit works on one connection and drops no partitions.
   *
   * @default - limited only by time
   */
  readonly maxRows?: number;

  /**
   * The run pauses while a streaming replica is further behind than this.
   *
   * @default - replicas are not checked
   */
  readonly maxReplicaLag?: Duration;

  /**
   * The variable `NODE_ENV` of the function. If it is `test`, the job never runs and its schedule is disabled.
   *
   * @default production
   */
  readonly nodeEnv?: string;

  /**
   * A Secrets Manager endpoint through which the function reads the secret. Its policy gets a statement for this secret.
   * It needs no private DNS, since the function receives its address. Not allowed with `iamUser`, which needs no secret.
   *
   * @default - the public address, by way of a NAT gateway or an endpoint with private DNS
   */
  readonly secretsManagerEndpoint?: ec2.InterfaceVpcEndpoint;

  /**
   * The dimension `service` of every metric. Must differ between the databases of a stage.
   *
   * @default token-cleanup
   */
  readonly serviceName?: string;
}

/** The database, the login and the targets of a function. */
export interface CleanupJobProps extends CleanupSettings {
  /**
   * The user and password to log in with, in the format that RDS writes. The function may read only this secret, and
   * decrypt it with its `encryptionKey`, if it has one.
   *
   * @default - the secret of `database`, unless the function logs in as `iamUser`
   */
  readonly secret?: ISecret;

  /**
   * Log in as this user with a token that the function signs, instead of a password. The function may connect only as this
   * user and needs no secret. Requires `database` or `databaseHost`, and an encrypted connection.
   *
   * @default - the function logs in with `secret`
   */
  readonly iamUser?: IamUser;

  /**
   * Required with `iamUser`. It must then be the endpoint that RDS shows: tokens for an alias are refused.
   *
   * @default - the host of `database`, else the one in the secret
   */
  readonly databaseHost?: string;

  /**
   * Required in a VPC if it is not 5432: the function's security group opens only this port.
   *
   * @default - the port of `database`, else the one in the secret, else 5432
   */
  readonly databasePort?: number;

  /** @default - the database in the secret, else postgres */
  readonly databaseName?: string;

  /**
   * Sweep each database of the server whose name matches, one after the other, under one lock. The list is read in the
   * database of `databaseName`.
   *
   * @default - one database
   */
  readonly databases?: DatabasePattern;

  /**
   * The tables to clean, each with the rules that select its dead rows.
   *
   * @default - the rows of public.refresh_tokens that are revoked or expired
   */
  readonly targets?: CleanupTarget[];
}

/** Lambda's limit for environment variables, names and values together. */
const ENVIRONMENT_BYTES = 4096;

/** The folder in which Lambda mounts layers. */
const LAYERS = '/opt';

/**
 * The environment of a function, and the targets in it.
 *
 * @throws Error with every mistake
 */
export function functionEnvironment(props: CleanupJobProps) {
  checkLogin(props);
  const { secret, iamUser, databasePort } = props;
  const variables = given({
    ...settingsVariables(props),
    DB_AUTH: iamUser && 'iam',
    DB_SECRET_ARN: secret?.secretArn,
    DB_USER: iamUser?.name,
    DB_HOST: props.databaseHost,
    DB_PORT: databasePort === undefined ? undefined : Tokenization.stringifyNumber(databasePort),
    DB_NAME: props.databaseName,
    DB_NAMES: props.databases && JSON.stringify({ like: props.databases.like, except: props.databases.except }),
    CLEANUP_TARGETS: props.targets && targetsJson(props.targets),
  }) as { [name: string]: string };
  const { targets } = readConfig(knownAtSynth(variables));
  checkSize(variables, 'CLEANUP_TARGETS');
  return { variables, targets };
}

/** @throws Error with every mistake */
export function fleetEnvironment(
  settings: CleanupSettings,
  lists: { [name: string]: CleanupTarget[] } | undefined,
): { [name: string]: string } {
  const variables = given({
    ...settingsVariables(settings),
    [LISTS_VARIABLE]: lists && targetListsJson(lists),
  }) as { [name: string]: string };
  readTargetLists(variables[LISTS_VARIABLE]);
  // The login comes from the manifest.
  readConfig({ ...knownAtSynth(variables), DB_SECRET_ARN: 'of the server' });
  checkSize(variables, LISTS_VARIABLE);
  return variables;
}

function settingsVariables(props: CleanupSettings) {
  const { secretsManagerEndpoint, nodeEnv = 'production' } = props;
  if (isLikeTest(nodeEnv)) {
    throw new Error(`nodeEnv ${NODE_ENV_RULE}, got ${JSON.stringify(nodeEnv)}`);
  }
  return {
    STAGE: props.stage,
    NODE_ENV: nodeEnv,
    POWERTOOLS_SERVICE_NAME: props.serviceName ?? SERVICE,
    DB_SSL_MODE: props.sslMode,
    DB_SSL_ROOT_CERT: props.rootCertificates && `${LAYERS}/${basename(props.rootCertificates)}`,
    CLEANUP_CONCURRENCY: props.concurrency?.toString(),
    CLEANUP_MAX_LOAD: props.maxLoad?.toString(),
    CLEANUP_MAX_ROWS: props.maxRows?.toString(),
    CLEANUP_MAX_REPLICA_LAG_SECONDS: props.maxReplicaLag?.toSeconds().toString(),
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsManagerEndpoint && addressOf(secretsManagerEndpoint),
  };
}

function checkSize(variables: { [name: string]: string }, targets: string): void {
  const bytes = Buffer.byteLength(Object.entries(variables).flat().join(''));
  if (bytes > ENVIRONMENT_BYTES) {
    throw new Error(
      `the function's environment must be at most ${ENVIRONMENT_BYTES} bytes, got ${bytes}, ` +
        `${variables[targets]?.length ?? 0} of them for the targets`,
    );
  }
}

const LOGIN_PROPS = { secret: 'secret', iam: 'iamUser', host: 'databaseHost', sslMode: 'sslMode' };

function checkLogin(props: CleanupJobProps): void {
  const { iamUser, secretsManagerEndpoint } = props;
  const mistakes = loginMistakes(props, LOGIN_PROPS).map(({ field, rule }) => `${field} ${rule}`);
  if (iamUser && secretsManagerEndpoint) {
    mistakes.push('secretsManagerEndpoint must not be set with iamUser, which needs no secret');
  }
  const parts = [
    ['iamUser.name', iamUser?.name, IAM_USER_NAME],
    ['iamUser.resourceId', iamUser?.resourceId, RESOURCE_ID],
  ] as const;
  for (const [name, value, { rule, pattern }] of parts) {
    if (iamUser && value === undefined) {
      mistakes.push(`${name} is required without database`);
    }
    if (value !== undefined && !Token.isUnresolved(value) && !pattern.test(value)) {
      mistakes.push(`${name} ${rule}, got ${JSON.stringify(value)}`);
    }
  }
  if (mistakes.length > 0) {
    throw new Error(mistakes.join('\n'));
  }
}

/** Drops unresolved tokens, except where any text is valid and only presence is checked. */
function knownAtSynth(variables: { [name: string]: string }): { [name: string]: string } {
  return Object.fromEntries(
    Object.entries(variables).filter(([name, value]) => ANY_TEXT_VARIABLES.has(name) || !Token.isUnresolved(value)),
  );
}

/** The address of an endpoint without private DNS. Its first entry is the regional one, as `zone:name`. */
function addressOf(endpoint: ec2.InterfaceVpcEndpoint): string {
  return `https://${Fn.select(1, Fn.split(':', Fn.select(0, endpoint.vpcEndpointDnsEntries)))}`;
}
