/**
 * The response that a database error calls for:
 * - `connection-lost`: reconnect, then repeat the statement
 * - `transient`: repeat the statement
 * - `refused`: the server rejected the password
 * - `locked`, `protected`, `slow`: a row of the statement is in the way; the others can be deleted
 * - `fatal`: repeating does not help
 */
export type ErrorKind = 'connection-lost' | 'transient' | 'refused' | 'locked' | 'protected' | 'slow' | 'fatal';

/** Classifies an error by its SQLSTATE, or by its system error code if the server did not answer. */
export function kindOf(error: unknown): ErrorKind {
  if (error instanceof OutdatedError) {
    return 'transient';
  }
  const sqlState = sqlStateOf(error);
  if (sqlState === undefined) {
    return isNetworkFailure(error) ? 'connection-lost' : 'fatal';
  }
  if (notAdmitted(error as ServerError)) {
    return 'fatal';
  }
  const kind = KIND_BY_SQLSTATE[sqlState] ?? KIND_BY_CLASS[sqlState.slice(0, 2)] ?? 'protected';
  // A trigger can veto the delete of a row with any SQLSTATE.
  return kind === 'fatal' && isRaisedInside(error) && !RESOURCE_CLASSES.has(sqlState.slice(0, 2)) ? 'protected' : kind;
}

/**
 * Whether the server lacks a function, or does not let the role call it. Aurora lacks some functions of the write-ahead log.
 */
export function isUnsupported(error: unknown): boolean {
  return ['0A000', '42501', '42883', '55000'].includes(sqlStateOf(error) ?? '');
}

/** One line for logs and results, without any row's values, password or user name. */
export function describeError(error: unknown): string {
  return textOf(error)
    .split('\n')
    .map((line) => printable(line))
    .join('\n');
}

/**
 * Escapes characters that control a terminal, or that change what a person sees: control characters, line and paragraph
 * separators, changes of text direction, characters without a width. Names of tables may contain them.
 *
 * @param mark precedes the four hexadecimal digits of the character
 */
export function printable(text: string, mark = '\\u'): string {
  return text.replace(
    /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu,
    (character) => mark + character.charCodeAt(0).toString(16).padStart(4, '0'),
  );
}

function textOf(error: unknown): string {
  const sqlState = sqlStateOf(error);
  if (sqlState === undefined) {
    return (error as Error | undefined)?.message || String(error);
  }
  const reason = notAdmitted(error as ServerError);
  if (reason !== undefined) {
    return `${reason} (SQLSTATE ${sqlState})`;
  }
  const { constraint, table } = error as ServerError;
  switch (kindOf(error)) {
    case 'refused':
      return `the server refused the credentials (SQLSTATE ${sqlState})`;
    case 'protected':
      return constraint
        ? `constraint ${JSON.stringify(constraint)} of table ${JSON.stringify(table)} (SQLSTATE ${sqlState})`
        : `an exception, probably from a trigger (SQLSTATE ${sqlState}; its text may contain values of a row and is left out)`;
    default:
      return serverText(error as ServerError);
  }
}

/**
 * The reason why the server rejects the role with any password; undefined if the password was wrong. All reasons have
 * the same SQLSTATE, and the text may be in any language, so the routine in the server's source distinguishes them.
 */
function notAdmitted({ code, routine, isEncrypted }: ServerError): string | undefined {
  if (code !== '28000') {
    return undefined;
  }
  switch (routine) {
    case 'ClientAuthentication':
      return (
        "the server's pg_hba.conf does not admit this role from this address to this database over a connection that is " +
        (isEncrypted ? 'encrypted' : 'not encrypted')
      );
    case 'InitializeSessionUserId':
      return 'the role may not log in, or does not exist';
    default:
      return undefined;
  }
}

function serverText(error: ServerError): string {
  if (isRaisedInside(error)) {
    return `an error in a function (SQLSTATE ${error.code}; its text may contain values of a row and is left out)`;
  }
  // The server's own message about too many connections names the role.
  return error.code === '53300' ? 'too many connections (SQLSTATE 53300)' : `${error.message} (SQLSTATE ${error.code})`;
}

/** Whether the error was raised in a function, such as a trigger's, or in the query of a constraint: it then has a context. */
function isRaisedInside(error: unknown): boolean {
  return Boolean((error as ServerError).where);
}

/** The five characters that identify an error of the server; undefined for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  const { code, severity } = (error ?? {}) as Partial<ServerError>;
  // Only errors of the server have a severity. EPIPE, a system error, has five capitals too.
  return severity !== undefined && typeof code === 'string' ? code : undefined;
}

interface ServerError extends Error {
  readonly code: string;
  readonly severity: string;
  readonly where?: string;
  /** The function of the server's source that raised it. */
  readonly routine?: string;
  /** Whether a connection attempt that failed was encrypted. */
  readonly isEncrypted?: boolean;
  readonly constraint?: string;
  readonly table?: string;
}

// Appendix A of the PostgreSQL manual. All codes that are not listed come from a row: its constraint, its trigger, its data.
const KIND_BY_SQLSTATE: Readonly<Record<string, ErrorKind>> = {
  '25006': 'connection-lost', // read only: the address still leads to the server that was the primary
  '40001': 'transient', // serialization failure
  '40P01': 'transient', // deadlock
  '53300': 'connection-lost', // too many connections
  '55P03': 'locked',
  '57014': 'slow', // statement timeout, or a person cancelled it
};

/** Out of disk or memory is fatal even if a trigger raises it. */
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
  '53': 'fatal', // out of disk, memory or another resource: the cleanup must not press on
  '54': 'fatal', // limits
  '55': 'fatal', // object state, such as a published table without a replica identity
  '57': 'connection-lost', // shut down by an administrator, crashed, still starting
  '58': 'fatal', // system errors outside of PostgreSQL
  F0: 'fatal', // configuration file
  XX: 'fatal', // internal errors
};

/** The classes of errors that no single row raises. */
export const CLASSES_OF_NO_ROW: readonly string[] = [...Object.keys(KIND_BY_CLASS), '40'];

/** Rows that a statement relied on had changed before its commit. */
export class OutdatedError extends Error {
  override readonly name = 'OutdatedError';

  constructor() {
    super('a row that a deleted row refers to became live again');
  }
}

/** The connection ended during a statement, which may or may not have taken effect. */
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

// The driver's messages, without a code, for a connection attempt that got no answer or was cut off.
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
  // For a name with several addresses, Node.js wraps an error for each.
  return errors
    ? errors.some(isNetworkFailure)
    : NETWORK_CODES.has(code ?? '') || (code === undefined && NETWORK_MESSAGES.has(message ?? ''));
}
