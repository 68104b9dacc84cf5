import { ArnFormat, Stack, Validations } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { loginMistakes } from '../../lambda/configuration/login';
import { DEFAULT_PORT } from '../../lambda/configuration/settings';
import { LISTS_VARIABLE } from '../../lambda/configuration/target-lists';
import { DatabaseFunction, type FunctionSettings, READ_SECRET } from '../function/database-function';
import { decryption } from '../function/decryption';
import { type CleanupSettings, fleetEnvironment } from '../function/function-environment';
import type { CleanupPlace } from '../function/function-network';
import { IAM_USER_NAME } from '../login';
import type { CleanupTarget } from '../target';
import { wildcard } from '../wildcard';

/** A tag of AWS resources. */
export interface SecretTag {
  readonly key: string;
  readonly value: string;
}

/** The network, login and targets of the function of a fleet. */
export interface FleetFunctionProps extends CleanupSettings, CleanupPlace, FunctionSettings {
  /**
   * The lists of targets, by the names that the manifest uses. A server whose line names none has the list `default`.
   *
   * @default - the rows of public.refresh_tokens that are revoked or expired, as `default`
   */
  readonly targetLists?: { [name: string]: CleanupTarget[] };

  /**
   * The function may read every secret of the account and region that has this tag. This or `iamUserName` is required.
   *
   * @default - no secrets
   */
  readonly secretTag?: SecretTag;

  /**
   * The customer managed key of the secrets, if they have one.
   *
   * @default - the AWS managed key of Secrets Manager
   */
  readonly secretsKey?: IKey;

  /**
   * The function may log in with IAM as the user of this name, on every database of the account and region.
   *
   * @default - none
   */
  readonly iamUserName?: string;

  /**
   * The ports of the servers, which the function's security group opens.
   *
   * @default [5432]
   */
  readonly databasePorts?: number[];
}

/** The function that sweeps the databases of a fleet, one server in each invocation. */
export class FleetFunction extends DatabaseFunction {
  /** The lists of targets as JSON; undefined for the default. */
  readonly targetLists: string | undefined;

  constructor(scope: Construct, props: FleetFunctionProps, logGroup: LogGroup, deadLetterQueue: IQueue) {
    checkLogin(props);
    const environment = fleetEnvironment(props, props.targetLists);
    const job = {
      ...props,
      code: 'fleet' as const,
      description: `Deletes dead rows on the servers of a fleet (${props.stage})`,
      environment,
      statements: statements(scope, props),
      ports: props.databasePorts ?? [DEFAULT_PORT],
      readsSecrets: props.secretTag !== undefined,
    };
    super(scope, job, logGroup, deadLetterQueue);
    this.targetLists = environment[LISTS_VARIABLE];
    Validations.of(this.role).acknowledge(...wildcards(scope, props));
  }
}

const LOGIN_PROPS = { secret: 'secretTag', iam: 'iamUserName', sslMode: 'sslMode', mayHaveBoth: true };

function checkLogin(props: FleetFunctionProps): void {
  const { secretTag, secretsKey, iamUserName, secretsManagerEndpoint } = props;
  const mistakes = loginMistakes(props, LOGIN_PROPS).map(({ field, rule }) => `${field} ${rule}`);
  if (!secretTag && secretsKey) {
    mistakes.push('secretsKey must not be set without secretTag');
  }
  if (!secretTag && secretsManagerEndpoint) {
    mistakes.push('secretsManagerEndpoint must not be set without secretTag');
  }
  if (iamUserName !== undefined && !IAM_USER_NAME.pattern.test(iamUserName)) {
    mistakes.push(`iamUserName ${IAM_USER_NAME.rule}, got ${JSON.stringify(iamUserName)}`);
  }
  if (mistakes.length > 0) {
    throw new Error(mistakes.join('\n'));
  }
}

function statements(scope: Construct, { secretTag, secretsKey, iamUserName }: FleetFunctionProps) {
  return [
    ...(secretTag
      ? [
          new iam.PolicyStatement({
            actions: [READ_SECRET],
            resources: [anySecret(scope)],
            conditions: { StringEquals: { [`aws:ResourceTag/${secretTag.key}`]: secretTag.value } },
          }),
        ]
      : []),
    ...(secretsKey ? [decryption(scope, secretsKey)] : []),
    ...(iamUserName === undefined
      ? []
      : [new iam.PolicyStatement({ actions: ['rds-db:connect'], resources: [anyDatabase(scope, iamUserName)] })]),
  ];
}

function anySecret(scope: Construct): string {
  const arnFormat = ArnFormat.COLON_RESOURCE_NAME;
  return Stack.of(scope).formatArn({ service: 'secretsmanager', resource: 'secret', resourceName: '*', arnFormat });
}

function anyDatabase(scope: Construct, user: string): string {
  const arnFormat = ArnFormat.COLON_RESOURCE_NAME;
  return Stack.of(scope).formatArn({ service: 'rds-db', resource: 'dbuser', resourceName: `*/${user}`, arnFormat });
}

/** Servers are data that changes without a deployment. */
function wildcards(scope: Construct, { secretTag, iamUserName }: FleetFunctionProps) {
  return [
    ...(secretTag
      ? [
          {
            id: wildcard(scope, anySecret(scope)),
            reason: 'The servers are in the manifest. Only secrets with the tag of the fleet can be read.',
          },
        ]
      : []),
    ...(iamUserName === undefined
      ? []
      : [
          {
            id: wildcard(scope, anyDatabase(scope, iamUserName)),
            reason:
              'The servers are in the manifest. Only this one user can log in, on those that were granted rds_iam.',
          },
        ]),
  ];
}
