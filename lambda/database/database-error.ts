/**
 * What an error of the database asks for:
 * - `connection-lost`: connect again, then repeat the statement
 * - `transient`: repeat the statement
 * - `refused`: the server did not accept the credentials
 * - `locked`, `protected`, `slow`: some row of the statement is in the way; the others can go
 * - `fatal`: repeating does not help
 */
export type ErrorKind = 'connection-lost' | 'transient' | 'refused' | 'locked' | 'protected' | 'slow' | 'fatal';

/** Tells what to do about an error by its SQLSTATE, or by its system error code where the server did not answer. */
export function kindOf(error: unknown): ErrorKind {
  const sqlState = sqlStateOf(error);
  if (sqlState === undefined) {
    return isNetworkFailure(error) ? 'connection-lost' : 'fatal';
  }
  const kind = KIND_BY_SQLSTATE[sqlState] ?? KIND_BY_CLASS[sqlState.slice(0, 2)] ?? 'protected';
  // A trigger may say that one row must stay by any error of its choice.
  return kind === 'fatal' && isRaisedInside(error) && !RESOURCE_CLASSES.has(sqlState.slice(0, 2)) ? 'protected' : kind;
}

/** Whether a row has to stay for a row that refers to it; once that one is gone, it may go as well. */
export function isForeignKeyViolation(error: unknown): boolean {
  return ['23503', '23001'].includes(sqlStateOf(error) ?? '');
}

/** One line for logs and results. It repeats nothing that could hold a row's values, a password or a user's name. */
export function describeError(error: unknown): string {
  const sqlState = sqlStateOf(error);
  if (sqlState === undefined) {
    return (error as Error | undefined)?.message || String(error);
  }
  const { constraint, table } = error as ServerError;
  switch (kindOf(error)) {
    case 'refused':
      return `the server refused the credentials (SQLSTATE ${sqlState})`;
    case 'protected':
      return constraint
        ? `constraint ${JSON.stringify(constraint)} of table ${JSON.stringify(table)} (SQLSTATE ${sqlState})`
        : `an exception, of a trigger probably (SQLSTATE ${sqlState}; its text may hold a row's values and is not repeated)`;
    default:
      return serverText(error as ServerError);
  }
}

function serverText(error: ServerError): string {
  if (isRaisedInside(error)) {
    return `an error in a function (SQLSTATE ${error.code}; its text may hold a row's values and is not repeated)`;
  }
  // The server's own words for too many connections name the role.
  return error.code === '53300' ? 'too many connections (SQLSTATE 53300)' : `${error.message} (SQLSTATE ${error.code})`;
}

/** Whether it came up in a function, such as a trigger's, or in what a constraint asks the server: then it tells where. */
function isRaisedInside(error: unknown): boolean {
  return Boolean((error as ServerError).where);
}

/** The five characters by which the server names an error, or nothing when the error is not the server's. */
export function sqlStateOf(error: unknown): string | undefined {
  const { code, severity } = (error ?? {}) as Partial<ServerError>;
  // The severity tells them from system errors: EPIPE has five capitals too.
  return severity !== undefined && typeof code === 'string' ? code : undefined;
}

interface ServerError extends Error {
  readonly code: string;
  readonly severity: string;
  readonly where?: string;
  readonly constraint?: string;
  readonly table?: string;
}

// Appendix A of the PostgreSQL manual. Whatever is not listed is raised by a row: by its constraint, its trigger, its data.
const KIND_BY_SQLSTATE: Readonly<Record<string, ErrorKind>> = {
  '25006': 'connection-lost', // read only: the address still leads to the server that was the primary
  '40001': 'transient', // serialization failure
  '40P01': 'transient', // deadlock
  '53300': 'connection-lost', // too many connections
  '55P03': 'locked',
  '57014': 'slow', // statement timeout, or a person cancelled it
};

/** What is short stays short, whoever notices it. */
const RESOURCE_CLASSES = new Set(['53', '58']);

const KIND_BY_CLASS: Readonly<Record<string, ErrorKind>> = {
  '08': 'connection-lost',
  '0A': 'fatal', // feature not supported
  '25': 'fatal', // transaction state
  '26': 'fatal', // statement name
  '28': 'refused',
  '3D': 'fatal', // no such database
  '3F': 'fatal', // no such schema
  '42': 'fatal', // syntax, names and privileges
  '53': 'fatal', // out of disk, memory or another resource: a cleaner should not press on
  '54': 'fatal', // limits
  '55': 'fatal', // object state, such as a published table without a replica identity
  '57': 'connection-lost', // shut down by an administrator, crashed, still starting
  '58': 'fatal', // system errors outside of PostgreSQL
  F0: 'fatal', // configuration file
  XX: 'fatal', // internal errors
};

/** The connection ended in the middle of a statement: whether the statement took effect is not known. */
export class ConnectionLostError extends Error {
  override readonly name = 'ConnectionLostError';

  constructor(cause: unknown) {
    super(`the connection was lost: ${describeError(cause)}`, { cause });
  }
}

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

// What the driver says without a code when a connection attempt gets no answer or is cut off.
const NETWORK_MESSAGES = new Set([
  'timeout expired',
  'Connection terminated unexpectedly',
  'There was an error establishing an SSL connection',
]);

function isNetworkFailure(error: unknown): boolean {
  if (error instanceof ConnectionLostError) {
    return true;
  }
  const { code, message, errors } = (error ?? {}) as { code?: string; message?: string; errors?: unknown[] };
  // Node.js reports a name that has several addresses as one error of many.
  return errors
    ? errors.some(isNetworkFailure)
    : NETWORK_CODES.has(code ?? '') || (code === undefined && NETWORK_MESSAGES.has(message ?? ''));
}
