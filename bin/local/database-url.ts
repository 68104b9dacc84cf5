import { accessSync, constants } from 'node:fs';
import { resolve } from 'node:path';
import { InvalidInputError } from '../../lambda/configuration/validation';

/** A database, and how to log in to it. */
export interface Database {
  readonly host: string;
  readonly port: number;
  readonly name: string;
  readonly user: string;
  readonly password: string;
  readonly sslMode: 'verify-full' | 'disable';
  /** An absolute path. */
  readonly rootCertificateFile?: string;
}

const SHAPE = 'postgres://USER:PASSWORD@HOST:PORT/DATABASE';
const DEFAULT_PORT = 5432;

/**
 * Reads a connection URL.
 *
 * @param option what the URL is called in messages
 * @throws InvalidInputError with every mistake; none repeats the URL, since that holds a password
 */
export function parseDatabaseUrl(url: string, option = '--database-url'): Database {
  const parts = URL.canParse(url) ? new URL(url) : undefined;
  if (!parts || !['postgres:', 'postgresql:'].includes(parts.protocol)) {
    throw new InvalidInputError([
      `${option} must look like ${SHAPE}, with special characters of the password percent-encoded`,
    ]);
  }
  const mistakes: string[] = [];
  const decoded = (part: string, text: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      mistakes.push(`${option}: the ${part} holds a % that encodes nothing; a % itself is written %25`);
      return text;
    }
  };
  const database = {
    user: decoded('user', parts.username),
    password: decoded('password', parts.password),
    host: decoded('host', parts.hostname).replace(/^\[(.*)\]$/, '$1'), // the brackets of an IPv6 address
    port: Number(parts.port || DEFAULT_PORT),
    name: decoded('database', parts.pathname.slice(1)),
  };
  const missing = (['user', 'password', 'host', 'name'] as const).filter((part) => database[part] === '');
  if (missing.length > 0) {
    const names = missing.map((part) => (part === 'name' ? 'no database' : `no ${part}`));
    mistakes.push(`${option} has ${names.join(', ')}: it must look like ${SHAPE}`);
  }
  const tls = readTls(parts.searchParams, database.host, option, mistakes);
  if (mistakes.length > 0) {
    throw new InvalidInputError(mistakes);
  }
  return { ...database, ...tls };
}

function readTls(
  parameters: URLSearchParams,
  host: string,
  option: string,
  mistakes: string[],
): Pick<Database, 'sslMode' | 'rootCertificateFile'> {
  for (const name of new Set(parameters.keys())) {
    if (name !== 'sslmode' && name !== 'sslrootcert') {
      mistakes.push(`${option}: the parameter ${name} is not supported, only sslmode and sslrootcert are`);
    }
  }
  const certificateFile = parameters.get('sslrootcert');
  const sslMode =
    parameters.get('sslmode') ?? (isLoopback(host) && certificateFile === null ? 'disable' : 'verify-full');
  if (sslMode !== 'verify-full' && sslMode !== 'disable') {
    mistakes.push(
      `${option}: sslmode must be verify-full or disable, got ${JSON.stringify(sslMode)}; what lies between them ` +
        'hands the password to whoever answers. A certificate authority of your own goes into sslrootcert=FILE',
    );
  }
  if (certificateFile === null) {
    return { sslMode: sslMode === 'disable' ? 'disable' : 'verify-full' };
  }
  if (sslMode === 'disable') {
    mistakes.push(`${option}: sslrootcert has no meaning with sslmode=disable`);
  }
  const rootCertificateFile = resolve(certificateFile);
  try {
    accessSync(rootCertificateFile, constants.R_OK);
  } catch (error) {
    mistakes.push(`${option}: sslrootcert cannot be read: ${(error as Error).message}`);
  }
  return { sslMode: 'verify-full', rootCertificateFile };
}

/** What stays on this machine needs no encryption, and servers there rarely offer it. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}
