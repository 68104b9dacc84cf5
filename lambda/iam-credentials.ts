/** Logging in with IAM, without a password. */

import { Signer } from '@aws-sdk/rds-signer';
import type { IamLogin } from './configuration/environment';
import { DEFAULT_DATABASE, DEFAULT_PORT } from './configuration/settings';
import type { Credentials } from './database/connection';
import type { CredentialSource } from './database/session';

/**
 * Credentials whose password is a token, signed locally with the keys of the function's role: this needs neither a secret
 * nor the network. A token opens connections for 15 minutes, so each connection gets a new one.
 */
export class IamCredentials implements CredentialSource {
  readonly #login: Omit<Credentials, 'password'>;
  readonly #signer: Signer;

  constructor({ host, port = DEFAULT_PORT, name: database = DEFAULT_DATABASE, user }: IamLogin) {
    this.#login = { host, port, database, user };
    // The signer reads the region and the keys from the environment that Lambda provides.
    this.#signer = new Signer({ hostname: host, port, username: user });
  }

  async current(): Promise<Credentials> {
    try {
      return { ...this.#login, password: await this.#signer.getAuthToken() };
    } catch (error) {
      throw new Error(`no token for the database could be signed: ${(error as Error).message}`, { cause: error });
    }
  }

  /**
   * Never has any: another token would be as good as the one that was just signed.
   *
   * @throws Error with the likely reasons, since the server gives none
   */
  async otherThan(): Promise<undefined> {
    throw new Error(
      "the server refused the function's token: the role's policy must allow rds-db:connect on " +
        'dbuser:<resource id>/<DB_USER>, the database must have IAM authentication enabled, its user must be granted ' +
        'rds_iam, and DB_HOST must be the endpoint that RDS names, not an alias',
    );
  }
}
