import * as iam from 'aws-cdk-lib/aws-iam';
import type { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { DEFAULT_PORT } from '../../lambda/configuration/settings';
import { withDatabase } from '../database';
import { createDatabaseFunction, type FunctionSettings, type Outlets } from './database-function';
import { functionEnvironment } from './function-environment';
import type { CleanupNetworkProps } from './function-network';
import { connecting, decryption, READ_SECRET, userArn } from './login-permissions';

/** The job, its place in the network, and the resources of its function. */
export interface CleanupFunctionProps extends CleanupNetworkProps, FunctionSettings {}

/** A function that deletes dead rows in one PostgreSQL database, and the names of its tables in metrics. */
export function createCleanupFunction(scope: Construct, given: CleanupFunctionProps, outlets: Outlets) {
  const props = withDatabase(given);
  const { secret, iamUser, databasePort = DEFAULT_PORT } = props;
  const { variables, targets } = functionEnvironment(props);
  const tables = targets.map(({ name }) => name);
  const job = {
    ...props,
    code: 'function' as const,
    description: `Deletes dead rows of ${tables.join(', ')} (${props.stage})`,
    environment: variables,
    statements: [
      ...(secret ? reading(scope, secret) : []),
      // The resource id was checked above.
      ...(iamUser ? [connecting(userArn(scope, `${iamUser.resourceId}`, iamUser.name))] : []),
    ],
    ports: [databasePort],
    readsSecrets: secret !== undefined,
  };
  return { ...createDatabaseFunction(scope, job, outlets), tables };
}

/** Narrower than `grantRead` of the secret, which also allows reading its metadata. */
function reading(scope: Construct, secret: ISecret): iam.PolicyStatement[] {
  const resources = [secret.secretFullArn ?? `${secret.secretArn}-??????`];
  return [
    new iam.PolicyStatement({ actions: [READ_SECRET], resources }),
    ...(secret.encryptionKey ? [decryption(scope, secret.encryptionKey)] : []),
  ];
}
