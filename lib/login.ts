/** Parts of a database login, for the constructs and for the stages of cdk.json. Imports nothing of the CDK. */

/** A database user that logs in with IAM. */
export interface IamUser {
  /** A PostgreSQL role to which `rds_iam` was granted. */
  readonly name: string;

  /**
   * The resource id of the instance (`db-…`), the cluster (`cluster-…`) or the proxy (`prx-…`), not its name.
   *
   * @default - that of `database`
   */
  readonly resourceId?: string;
}

/** Whether the connection to the database is encrypted. */
export enum SslMode {
  /** Encrypted, and both the certificate and the name of the host are verified. */
  VERIFY_FULL = 'verify-full',
  /** Not encrypted. */
  DISABLE = 'disable',
}

/** IAM policies treat `*` and `?` as wildcards, and `$` as the start of a variable. */
export const IAM_USER_NAME = {
  rule: 'must be a name of at most 63 characters, without spaces, *, ?, $ and /',
  pattern: /^[^\s*?$/]{1,63}$/,
};

/** Database identifiers are lower case, so upper case distinguishes a resource id from them. */
export const RESOURCE_ID = {
  rule: 'must be a resource id, which begins with db-, cluster- or prx-, and not a name',
  pattern: /^(?:(?:db|cluster)-[A-Z0-9]{8,}|prx-[A-Za-z0-9]{8,})$/,
};
