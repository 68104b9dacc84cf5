import { accessSync, constants } from 'node:fs';
import { resolve } from 'node:path';
import type { Environment } from '../../lambda/configuration/environment';
import { refuse } from '../../lambda/configuration/validation';

/** How a connection is encrypted. */
export interface Encryption {
  readonly sslMode: 'verify-full' | 'disable';
  /** An absolute path. */
  readonly rootCertificateFile?: string;
}

/** The servers to which the other modes of libpq would send the password. */
const RECIPIENTS: Readonly<Record<string, string>> = {
  allow: 'any server that answers',
  prefer: 'any server that answers',
  require: 'any server that answers',
  'verify-ca': 'any server with a certificate of a trusted authority, for whatever host',
};

/**
 * Reads the parameters of a URL, and `PGSSLROOTCERT` unless the connection stays on the machine.
 *
 * @throws InvalidInputError with every mistake
 */
export function readEncryption(parameters: URLSearchParams, environment: Environment, host: string): Encryption {
  const given = parameters.get('sslrootcert');
  const stays = isSocket(host) || (isLoopback(host) && given === null);
  const mode = parameters.get('sslmode') ?? (stays ? 'disable' : 'verify-full');
  const sslMode = isSocket(host) || mode === 'disable' ? 'disable' : 'verify-full';
  const file = sslMode === 'disable' ? undefined : (given ?? environment.PGSSLROOTCERT);
  const isUseless = mode === 'disable' && given !== null && !isSocket(host);
  refuse([
    ...mistakesInMode(mode, '--database-url: sslmode', 'sslmode', 'sslrootcert'),
    ...(isUseless ? ['--database-url: sslrootcert must not be set with sslmode=disable'] : []),
    ...(file ? mistakesInFile(file, given === null ? 'PGSSLROOTCERT' : '--database-url: sslrootcert') : []),
  ]);
  return { sslMode, ...(file && { rootCertificateFile: resolve(file) }) };
}

/**
 * Reads the variables of psql, which apply to every server of a manifest.
 *
 * @returns variables of the function
 * @throws InvalidInputError with every mistake
 */
export function encryptionOfFleet({ PGSSLMODE: sslMode, PGSSLROOTCERT: file }: Environment): Environment {
  refuse([
    ...(sslMode ? mistakesInMode(sslMode, 'PGSSLMODE', 'PGSSLMODE', 'PGSSLROOTCERT') : []),
    ...(file ? mistakesInFile(file, 'PGSSLROOTCERT') : []),
  ]);
  return { ...(sslMode && { DB_SSL_MODE: sslMode }), ...(file && { DB_SSL_ROOT_CERT: resolve(file) }) };
}

function mistakesInMode(sslMode: string, name: string, mode: string, file: string): string[] {
  if (sslMode === 'verify-full' || sslMode === 'disable') {
    return [];
  }
  const recipient = Object.hasOwn(RECIPIENTS, sslMode) ? `, which sends the password to ${RECIPIENTS[sslMode]}` : '';
  return [
    `${name} must be verify-full or disable, got ${JSON.stringify(sslMode)}${recipient}. Write ${mode}=verify-full, and ` +
      `${file}=FILE if the authority is not a public one (Amazon RDS: global-bundle.pem)`,
  ];
}

function mistakesInFile(file: string, name: string): string[] {
  try {
    accessSync(resolve(file), constants.R_OK);
    return [];
  } catch (error) {
    return [`${name} must be a readable file: ${(error as Error).message}`];
  }
}

export function isSocket(host: string): boolean {
  return host.startsWith('/');
}

/** Connections that stay on the machine need no encryption, and its servers rarely offer it. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}
