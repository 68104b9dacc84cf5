import * as iam from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { loginMistakes } from '../../lambda/configuration/login';
import { DEFAULT_PORT } from '../../lambda/configuration/settings';
import { LISTS_VARIABLE } from '../../lambda/configuration/target-lists';
import { createDatabaseFunction, type FunctionSettings, type Outlets } from '../function/database-function';
import { type CleanupSettings, fleetEnvironment } from '../function/function-environment';
import type { CleanupPlace } from '../function/function-network';
import { connecting, decryption, READ_SECRET, userArn } from '../function/login-permissions';
import { IAM_USER_NAME } from '../login';
import { arnOf, justifyWildcard } from '../permissions';
import type { CleanupTarget } from '../target';

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

/** A function that sweeps the databases of a fleet, one server in each invocation, and its lists of targets as JSON. */
export function createFleetFunction(scope: Construct, props: FleetFunctionProps, outlets: Outlets) {
  checkLogin(props);
  const { secretTag, secretsKey, iamUserName } = props;
  const environment = fleetEnvironment(props, props.targetLists);
  const anySecret = arnOf(scope, 'secretsmanager', 'secret', '*');
  const onAnyDatabase = iamUserName === undefined ? undefined : userArn(scope, '*', iamUserName);
  const job = {
    ...props,
    code: 'fleet' as const,
    description: `Deletes dead rows on the servers of a fleet (${props.stage})`,
    environment,
    statements: [
      ...(secretTag ? [readingTagged(anySecret, secretTag)] : []),
      ...(secretsKey ? [decryption(scope, secretsKey)] : []),
      ...(onAnyDatabase ? [connecting(onAnyDatabase)] : []),
    ],
    ports: props.databasePorts ?? [DEFAULT_PORT],
    readsSecrets: secretTag !== undefined,
  };
  const created = createDatabaseFunction(scope, job, outlets);
  // Servers are data that changes without a deployment.
  const reason = 'The servers are in the manifest. Only';
  if (secretTag) {
    justifyWildcard(created.role, anySecret, `${reason} secrets with the tag of the fleet can be read.`);
  }
  if (onAnyDatabase) {
    justifyWildcard(created.role, onAnyDatabase, `${reason} this user can log in, on those that were granted rds_iam.`);
  }
  return { ...created, targetLists: environment[LISTS_VARIABLE] };
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

function readingTagged(secrets: string, { key, value }: SecretTag): iam.PolicyStatement {
  return new iam.PolicyStatement({
    actions: [READ_SECRET],
    resources: [secrets],
    conditions: { StringEquals: { [`aws:ResourceTag/${key}`]: value } },
  });
}
