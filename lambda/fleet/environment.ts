import type { Environment } from '../configuration/environment';
import type { TargetLists } from '../configuration/target-lists';
import type { Server } from './manifest';

/**
 * The variables of a run on one server: those of its line in the manifest, and beside them those that the fleet has for all
 * servers.
 */
export function environmentOf(server: Server, lists: TargetLists, fleet: Environment): Environment {
  const { host, port, secretArn, iamUser, database, databases, targets } = server;
  return {
    ...fleet,
    DB_AUTH: iamUser === undefined ? 'password' : 'iam',
    DB_SECRET_ARN: secretArn,
    DB_USER: iamUser,
    DB_HOST: host,
    DB_PORT: String(port),
    DB_NAME: database,
    DB_NAMES: JSON.stringify(databases),
    CLEANUP_TARGETS: JSON.stringify(lists[targets]),
  };
}
