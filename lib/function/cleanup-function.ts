import { ArnFormat, Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import type { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { DEFAULT_PORT } from '../../lambda/configuration/settings';
import { withDatabase } from '../database';
import type { IamUser } from '../login';
import { DatabaseFunction, type FunctionSettings, READ_SECRET } from './database-function';
import { decryption } from './decryption';
import { functionEnvironment } from './function-environment';
import type { CleanupNetworkProps } from './function-network';

/** The job, its place in the network, and the resources of its function. */
export interface CleanupFunctionProps extends CleanupNetworkProps, FunctionSettings {}

/** A function that deletes dead rows in one PostgreSQL database, with the permissions that this takes. */
export class CleanupFunction extends DatabaseFunction {
  /** Names of the tables in metrics. */
  readonly tables: string[];

  /** Creates the resources directly in the scope, whose other children it shares the log and the queue with. */
  constructor(scope: Construct, given: CleanupFunctionProps, logGroup: LogGroup, deadLetterQueue: IQueue) {
    const props = withDatabase(given);
    const { secret, iamUser, databasePort = DEFAULT_PORT } = props;
    const { variables, targets } = functionEnvironment(props);
    const tables = targets.map(({ name }) => name);
    const job = {
      ...props,
      code: 'function' as const,
      description: `Deletes dead rows of ${tables.join(', ')} (${props.stage})`,
      environment: variables,
      statements: [...(secret ? reading(scope, secret) : []), ...(iamUser ? [connecting(scope, iamUser)] : [])],
      ports: [databasePort],
      readsSecrets: secret !== undefined,
    };
    super(scope, job, logGroup, deadLetterQueue);
    this.tables = tables;
  }
}

/** Narrower than `grantRead` of the secret, which also allows reading its metadata. */
function reading(scope: Construct, secret: ISecret): iam.PolicyStatement[] {
  const resources = [secret.secretFullArn ?? `${secret.secretArn}-??????`];
  return [
    new iam.PolicyStatement({ actions: [READ_SECRET], resources }),
    ...(secret.encryptionKey ? [decryption(scope, secret.encryptionKey)] : []),
  ];
}

function connecting(scope: Construct, { name, resourceId }: IamUser): iam.PolicyStatement {
  const arn = Stack.of(scope).formatArn({
    service: 'rds-db',
    resource: 'dbuser',
    resourceName: `${resourceId}/${name}`,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });
  return new iam.PolicyStatement({ actions: ['rds-db:connect'], resources: [arn] });
}
