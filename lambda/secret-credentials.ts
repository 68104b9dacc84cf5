/** Logging in with a secret of Secrets Manager. */

import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import * as z from 'zod';
import type { PasswordLogin } from './configuration/environment';
import { DEFAULT_DATABASE, DEFAULT_PORT, PORT } from './configuration/settings';
import { mistakesIn } from './configuration/validation';
import type { Credentials } from './database/connection';
import type { CredentialSource } from './database/session';

/** Values that win over those in a secret, or complete them. */
export type DatabaseOverrides = Pick<PasswordLogin, 'host' | 'port' | 'name'>;

/** Without a route to the service, the SDK would wait until the function times out. */
export const REQUEST_TIMEOUTS = { connectionTimeout: 3_000, requestTimeout: 5_000, throwOnRequestTimeout: true };

/**
 * Credentials in a secret of Secrets Manager, in the shape that RDS writes. They are read once, and once more if the server
 * refuses them, since the secret may have been rotated in between.
 */
export class SecretCredentials implements CredentialSource {
  readonly #client: SecretsManagerClient;
  readonly #secretArn: string;
  readonly #overrides: DatabaseOverrides;
  #current: Promise<Credentials> | undefined;
  #readAgain = false;

  constructor(client: SecretsManagerClient, secretArn: string, overrides: DatabaseOverrides = {}) {
    this.#client = client;
    this.#secretArn = secretArn;
    this.#overrides = overrides;
  }

  async current(abandon: AbortSignal): Promise<Credentials> {
    this.#current ??= this.#read(abandon);
    return await this.#current;
  }

  async otherThan(refused: Credentials, abandon: AbortSignal): Promise<Credentials | undefined> {
    const known = await this.current(abandon);
    if (known.password !== refused.password || known.user !== refused.user) {
      return known; // another session has read them already
    }
    if (this.#readAgain) {
      return undefined;
    }
    this.#readAgain = true;
    this.#current = this.#read(abandon);
    const read = await this.#current;
    return read.password !== refused.password || read.user !== refused.user ? read : undefined;
  }

  async #read(abandon: AbortSignal): Promise<Credentials> {
    const secretId = this.#secretArn;
    let secret: string | undefined;
    try {
      const command = new GetSecretValueCommand({ SecretId: secretId });
      ({ SecretString: secret } = await this.#client.send(command, { abortSignal: abandon }));
    } catch (error) {
      throw new Error(explain(error), { cause: error });
    }
    return parseSecret(secret, this.#overrides);
  }
}

/** Explains a failure. If the service answered, its own message is kept: it holds no secret. */
function explain(error: unknown): string {
  const { name, message, $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } };
  if ($metadata?.httpStatusCode) {
    return `the secret could not be read: ${name}: ${message}`;
  }
  return (
    `Secrets Manager could not be reached (${name}: ${message}): a function in a VPC needs an interface endpoint with ` +
    'private DNS, or a NAT gateway, and a security group that lets HTTPS out'
  );
}

const NOT_EMPTY = 'must be a non-empty string';

const text = z.string(NOT_EMPTY).min(1, NOT_EMPTY);

const secretSchema = z.object(
  {
    username: text,
    password: text,
    host: text.optional(),
    port: z
      .union([z.number(), z.string().regex(/^\d+$/).transform(Number)], PORT.rule)
      .refine(PORT.accepts, PORT.rule)
      .optional(),
    dbname: text.optional(),
  },
  'must be an object',
);

/**
 * @throws Error that names each missing or invalid field, and repeats no value of the secret
 */
export function parseSecret(secret: string | undefined, overrides: DatabaseOverrides): Credentials {
  if (secret === undefined) {
    throw new Error('the secret must be text, got binary data');
  }
  const result = secretSchema.safeParse(parseJson(secret));
  if (!result.success) {
    throw new Error(mistakesIn(result.error, 'the secret', parseJson(secret), { confidential: true }).join('\n'));
  }
  const { username, password, port, dbname } = result.data;
  const host = overrides.host ?? result.data.host;
  if (host === undefined) {
    throw new Error('the secret.host is required, unless DB_HOST is set');
  }
  return {
    host,
    port: overrides.port ?? port ?? DEFAULT_PORT,
    database: overrides.name ?? dbname ?? DEFAULT_DATABASE,
    user: username,
    password,
  };
}

function parseJson(secret: string): unknown {
  try {
    return JSON.parse(secret);
  } catch {
    // The parser's own message quotes the text.
    throw new Error(`the secret must be JSON, got ${secret === '' ? 'an empty string' : 'text that is not JSON'}`);
  }
}
