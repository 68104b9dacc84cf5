import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../../lambda/configuration/environment';
import { DEFAULT_PORT, PORT } from '../../lambda/configuration/settings';
import { InvalidInputError, refuse, together } from '../../lambda/configuration/validation';
import { type Encryption, readEncryption } from './encryption';

/** A database, and how to log in to it. */
export interface Database extends Encryption {
  /** A name, an address, or the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly name: string;
  readonly user: string;
  /** Absent if the URL and `PGPASSWORD` hold none. */
  readonly password?: string;
  /** Whether the password stands in the URL. */
  readonly exposesPassword: boolean;
}

/** Used if there is no password, since a secret must have one. A server that trusts the role ignores it. */
export const NO_PASSWORD = 'none';

const OPTION = '--database-url';

const SHAPE = 'postgres://USER@HOST:PORT/DATABASE';

const WRONG_PORT = `${OPTION}: the port ${PORT.rule}`;

const PARAMETERS = ['host', 'port', 'user', 'password', 'dbname', 'sslmode', 'sslrootcert'];

/** Parameters of ORMs and drivers that choose a schema, which a target names here. */
const SCHEMA_PARAMETERS = ['schema', 'currentSchema', 'search_path', 'options'];

/** Takes the place of a missing host, since the WHATWG parser refuses a URL with a user or a port and no host. */
const NO_HOST = 'no-host.invalid';

/** Where servers put their sockets: Linux distributions, and everybody else. */
const SOCKET_DIRECTORIES = ['/var/run/postgresql', '/tmp'];

/**
 * Reads a connection URL. Like psql, it takes what the URL leaves out from `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`,
 * `PGDATABASE` and `PGSSLROOTCERT`, then from the defaults of the machine; but rows are deleted only in a database that was named.
 *
 * @throws InvalidInputError with every mistake. None repeats a part of the URL that may belong to a password
 */
export function parseDatabaseUrl(url: string, environment: Environment): Database {
  const parts = split(url);
  const mistakes: string[] = [];
  const decoded = (part: string, text: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      mistakes.push(`${OPTION}: the ${part} contains a % that encodes nothing; write %25 for a %`);
      return text;
    }
  };
  const parameters = parts.searchParams;
  const hostname = parts.hostname === NO_HOST ? '' : parts.hostname;
  const port = parameters.get('port') || parts.port || environment.PGPORT || String(DEFAULT_PORT);
  if (!isPort(port)) {
    mistakes.push(WRONG_PORT);
  }
  const host =
    parameters.get('host') ||
    decoded('host', hostname).replace(/^\[(.*)\]$/, '$1') || // the brackets of an IPv6 address
    environment.PGHOST ||
    localServer(port);
  const user = parameters.get('user') || decoded('user', parts.username) || environment.PGUSER || userInfo().username;
  const name = parameters.get('dbname') || decoded('database', parts.pathname.slice(1)) || environment.PGDATABASE || '';
  if (name === '') {
    mistakes.push(`${OPTION} names no database: it must look like ${SHAPE}, unless PGDATABASE is set`);
  }
  const given = parameters.get('password') || decoded('password', parts.password);
  const password = given || environment.PGPASSWORD;
  mistakes.push(...unsupported(parameters));
  const [, encryption] = together(
    () => refuse(mistakes),
    () => readEncryption(parameters, environment, host),
  );
  return {
    ...{ host, port: Number(port), name, user },
    ...(password && { password }),
    exposesPassword: given !== '',
    ...encryption,
  };
}

/** @throws InvalidInputError, with a hint if the password seems to contain a delimiter of URLs */
function split(url: string): URL {
  if (!/^postgres(ql)?:\/\//i.test(url.trim())) {
    const jdbc = /^jdbc:postgresql:/i.test(url.trim()) ? ', without jdbc: in front' : '';
    throw new InvalidInputError([`${OPTION} must look like ${SHAPE}${jdbc}`]);
  }
  const completed = url.trim().replace(/^(\w+:\/\/(?:[^/?#]*@)?)(?=:\d*(?:[/?#]|$)|[/?#]|$)/, `$1${NO_HOST}`);
  const parts = URL.canParse(completed) ? new URL(completed) : undefined;
  const [, hosts = '', rest = ''] = /^\w+:\/\/(?:[^/?#]*@)?([^@/?#]*)(.*)/.exec(completed) ?? [];
  if (hosts.includes(',') && !rest.includes('@')) {
    throw new InvalidInputError([`${OPTION} must name one host: the one that accepts writes`]);
  }
  const [, port] = /:([^:\]]+)$/.exec(hosts) ?? [];
  if (!parts && port !== undefined && !isPort(port) && !rest.includes('@')) {
    throw new InvalidInputError([WRONG_PORT]);
  }
  if (!parts || parts.hash || /@/.test(parts.pathname + parts.search)) {
    throw new InvalidInputError([
      `${OPTION} must look like ${SHAPE}. If the password contains special characters, percent-encode them ` +
        '(/ is %2F, ? %3F, # %23, @ %40, : %3A, % %25), or leave it out and set PGPASSWORD',
    ]);
  }
  return parts;
}

function isPort(text: string): boolean {
  return /^\d+$/.test(text) && PORT.accepts(Number(text));
}

function unsupported(parameters: URLSearchParams): string[] {
  return [...new Set(parameters.keys())]
    .filter((name) => !PARAMETERS.includes(name))
    .map((name) =>
      SCHEMA_PARAMETERS.includes(name)
        ? `${OPTION}: the parameter ${name} is not supported; a schema is part of a target: { "schema": "auth", "table": "sessions", … }`
        : `${OPTION}: the parameter ${name} is not supported, only ${PARAMETERS.join(', ')} are`,
    );
}

/** The socket of a server on this machine, as for psql. */
function localServer(port: string): string {
  return SOCKET_DIRECTORIES.find((directory) => existsSync(join(directory, `.s.PGSQL.${port}`))) ?? 'localhost';
}

type PasswordFile = (
  login: Pick<Database, 'host' | 'port' | 'user'> & { readonly database: string },
  found: (password: string | undefined) => void,
) => void;

/** Looks a password up in `~/.pgpass` or `PGPASSFILE`; undefined if there is none. */
export async function storedPassword({ host, port, name: database, user }: Database): Promise<string | undefined> {
  // pg's own reader. It is not a dependency of ours, so that its version stays the one that pg needs.
  const lookUp: PasswordFile = createRequire(require.resolve('pg'))('pgpass');
  // PostgreSQL's rule for the directory of a socket.
  const listed = SOCKET_DIRECTORIES.includes(host) ? 'localhost' : host;
  return await new Promise((found) => lookUp({ host: listed, port, database, user }, found));
}

/** Adds a hint to the text of an error if the server refused a login without a password. */
export function withPasswordHint(text: string, { password }: Database): string {
  return password === undefined && text.includes('SQLSTATE 28P01')
    ? `${text}; no password was given: set PGPASSWORD, or write it into ~/.pgpass`
    : text;
}
