/** The manifest of a fleet: JSON lines, one server a line. Imports nothing but zod and the configuration. */

import * as z from 'zod';
import type { Environment } from '../configuration/environment';
import { loginMistakes } from '../configuration/login';
import { type NamePattern, namePattern } from '../configuration/name-pattern';
import { DEFAULT_PORT, numberIn, PORT } from '../configuration/settings';
import { DEFAULT_LIST, type TargetLists } from '../configuration/target-lists';
import { didYouMean, InvalidInputError, isObject, parse, refuse } from '../configuration/validation';

/** A server of a fleet. */
export interface Server {
  /** Unique in the fleet. */
  readonly name: string;
  /** With `iamUser`, the endpoint that RDS shows: tokens for an alias are refused. */
  readonly host: string;
  readonly port: number;
  /** Either the secret with the user and the password, or the user that logs in with IAM. */
  readonly secretArn?: string | undefined;
  readonly iamUser?: string | undefined;
  /**
   * The database in which the list of databases is read and the lock of a run is held.
   *
   * @default - the one in the secret, else postgres
   */
  readonly database?: string | undefined;
  /** The databases to sweep. */
  readonly databases: NamePattern;
  /** The name of the list of targets. */
  readonly targets: string;
}

/**
 * Reads a manifest.
 *
 * @param lists the names of the lists of targets
 * @param beforeNumber the text before the number of a line in messages
 * @throws InvalidInputError with every mistake, each with its line, its field, its rule and the value
 */
export function parseManifest(text: string, lists: readonly string[], beforeNumber = 'line '): Server[] {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  const read = lines.map((line, index) => readLine(line, `${beforeNumber}${index + 1}`, lists));
  refuse([
    ...read.flatMap((line) => line.mistakes),
    ...repeated(read, 'name', ({ name }) => name),
    ...repeated(read, 'host and port', ({ host, port }) => `${host.toLowerCase()}:${port}`),
  ]);
  return read.flatMap(({ server }) => server ?? []);
}

/**
 * Reads one line of a manifest.
 *
 * @param value the JSON of the line
 * @param name its name in messages; without one, its fields stand alone
 * @throws InvalidInputError with every mistake
 */
export function readServer(value: unknown, lists: readonly string[], name?: string): Server {
  return parse(serverSchema(lists, isObject(value) ? value.databases : undefined), value, name);
}

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

interface Line {
  readonly place: string;
  readonly server?: Server;
  readonly mistakes: readonly string[];
}

function readLine(text: string, place: string, lists: readonly string[]): Line {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { place, mistakes: [`${place}: must be a server as JSON, got ${JSON.stringify(text.slice(0, 120))}`] };
  }
  try {
    return { place, server: readServer(value, lists), mistakes: [] };
  } catch (error) {
    if (!(error instanceof InvalidInputError)) {
      throw error;
    }
    return { place, mistakes: error.mistakes.map((mistake) => `${place}: ${mistake}`) };
  }
}

/** A server that two lines name would be swept twice at once. */
function repeated(lines: readonly Line[], field: string, keyOf: (server: Server) => string): string[] {
  const places = new Map<string, string>();
  return lines.flatMap(({ place, server }) => {
    if (!server) {
      return [];
    }
    const key = keyOf(server);
    const earlier = places.get(key);
    places.set(key, earlier ?? place);
    return earlier === undefined ? [] : [`${place}: ${field} must differ from ${earlier}, got ${JSON.stringify(key)}`];
  });
}

const NAME_RULE = 'must be a name of at most 63 letters, digits, dots, hyphens and underscores';
// It is part of keys in S3.
const NAME = /^[A-Za-z0-9][\w.-]{0,62}$/;

const HOST_RULE = 'must be a host name, without a port';
const SECRET_RULE = 'must be the ARN of a secret';
const ROLE_RULE = 'must be the name of a role';
const DATABASES_RULE = 'must be a list of databases, or a pattern such as { "like": ["tenant_*"] }';
const DATABASE_RULE = 'must be the name of a database';

const database = z
  .string(DATABASE_RULE)
  .min(1, DATABASE_RULE)
  .refine((name) => !name.includes('*'), 'must be a name; patterns stand in { "like": ["tenant_*"] }');

const databaseList = z
  .array(database, 'must be a list of databases')
  .min(1, 'must name at least one database')
  .transform((like): NamePattern => ({ like }));

/** A union of both forms would report only that neither of them fits. */
function databasesSchema(value: unknown) {
  if (Array.isArray(value)) {
    return databaseList;
  }
  return isObject(value) ? namePattern : z.never(DATABASES_RULE);
}

const LOGIN_FIELDS = { secret: 'secretArn', iam: 'iamUser' };

function serverSchema(lists: readonly string[], databases: unknown) {
  return z
    .strictObject(
      {
        name: z.string(NAME_RULE).regex(NAME, NAME_RULE),
        host: z.string(HOST_RULE).regex(/^[\w.-]+$/, HOST_RULE),
        port: numberIn(PORT).default(DEFAULT_PORT),
        secretArn: z
          .string(SECRET_RULE)
          .regex(/^arn:aws[a-z-]*:secretsmanager:[^:]+:\d{12}:secret:.+$/, SECRET_RULE)
          .optional(),
        iamUser: z.string(ROLE_RULE).min(1, ROLE_RULE).optional(),
        database: database.optional(),
        databases: databasesSchema(databases),
        targets: z
          .string('must be the name of a list of targets')
          .default(DEFAULT_LIST)
          .refine((name) => lists.includes(name), {
            error: ({ input }) => `must be one of ${lists.join(', ')}${didYouMean(String(input), lists)}`,
          }),
      },
      'must be an object',
    )
    .superRefine(
      (server, context) => {
        for (const { field, rule } of loginMistakes(server, LOGIN_FIELDS)) {
          context.addIssue({ code: 'custom', path: [field], message: rule });
        }
      },
      { when: ({ value }) => isObject(value) },
    );
}
