import type { Environment } from '../../lambda/configuration/environment';
import {
  DEFAULT_LIST,
  LISTS_VARIABLE,
  readTargetLists,
  type TargetLists,
} from '../../lambda/configuration/target-lists';
import { InvalidInputError } from '../../lambda/configuration/validation';
import { parseManifest, type Server } from '../../lambda/fleet/manifest';
import { jobOfFile, readText, settingsOfFleet } from './job';

/** The servers of a manifest, and what they share. */
export interface Fleet {
  readonly file: string;
  readonly servers: readonly Server[];
  readonly lists: TargetLists;
  /** Variables of the function for every server. */
  readonly settings: Environment;
}

interface Sources {
  /** The stage that has the lists of targets and the settings. */
  readonly stage?: string | undefined;
  /** A file with the targets of every server. */
  readonly targets?: string | undefined;
}

/**
 * Reads a manifest.
 *
 * @param environment from which psql, too, takes how connections are encrypted
 * @throws InvalidInputError with every mistake
 */
export function readFleet(file: string, { stage, targets }: Sources, environment: Environment): Fleet {
  const settings = stage === undefined ? settingsOfFile(targets) : settingsOfFleet(stage);
  const lists = readTargetLists(settings[LISTS_VARIABLE]);
  const { PGSSLMODE: sslMode, PGSSLROOTCERT: rootCertificates } = environment;
  return {
    file,
    servers: manifestIn(file, lists),
    lists,
    settings: {
      ...settings,
      ...(sslMode && { DB_SSL_MODE: sslMode }),
      ...(rootCertificates && { DB_SSL_ROOT_CERT: rootCertificates }),
    },
  };
}

function settingsOfFile(targets: string | undefined): Environment {
  if (targets === undefined) {
    return {};
  }
  const { CLEANUP_TARGETS: list = '' } = jobOfFile(targets).environment;
  return { [LISTS_VARIABLE]: `{"${DEFAULT_LIST}":${list}}` };
}

function manifestIn(file: string, lists: TargetLists): Server[] {
  try {
    return parseManifest(readText(file, '--manifest'), Object.keys(lists));
  } catch (error) {
    throw error instanceof InvalidInputError
      ? new InvalidInputError(error.mistakes.map((mistake) => mistake.replace(/^line (\d+)/, `${file}:$1`)))
      : error;
  }
}
