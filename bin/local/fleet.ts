import type { Environment } from '../../lambda/configuration/environment';
import {
  DEFAULT_LIST,
  LISTS_VARIABLE,
  readTargetLists,
  type TargetLists,
} from '../../lambda/configuration/target-lists';
import { parseManifest, type Server } from '../../lambda/fleet/manifest';
import { readTargets, readText, settingsOfFleet } from './job';

/** The servers of a manifest, and what they share. */
export interface Fleet {
  readonly file: string;
  readonly servers: readonly Server[];
  readonly lists: TargetLists;
  /** Variables of the function for every server. */
  readonly settings: Environment;
  /** The timeout of the function, if a stage sets it. */
  readonly timeLimitMs?: number | undefined;
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
 * @throws InvalidInputError with every mistake
 */
export function readFleet(file: string, { stage, targets }: Sources): Fleet {
  const { environment: settings, timeLimitMs } = stage === undefined ? { environment: {} } : settingsOfFleet(stage);
  const lists =
    targets === undefined ? readTargetLists(settings[LISTS_VARIABLE]) : { [DEFAULT_LIST]: readTargets(targets) };
  const servers = parseManifest(readText(file, '--manifest'), Object.keys(lists), `${file}:`);
  return { file, servers, lists, settings, timeLimitMs };
}
