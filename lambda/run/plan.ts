import type { Target } from '../configuration/targets';
import type { Queryable } from '../database/queryable';
import type { Query } from '../database/session';
import { type Diagnosis, examine } from '../dry-run/diagnosis';
import type { PreflightError, PreflightOptions } from '../engine/preflight/preflight';
import type { Table } from '../engine/purge';
import { type ErasingContext, erasingPurge, examinedErasures } from '../erasure/erasing-purge';
import type { RunOptions } from './options';
import type { Examined } from './report';
import { replicasOf, type ServerReport, takeLock } from './server';

/** The differences between a run and a dry run. */
export interface Plan {
  readonly needs: PreflightOptions['needs'];
  /** Executed on every new connection of the first session. */
  readonly onConnect?: (query: Query) => Promise<void>;
  /** The part of the report about the server, if there is one. */
  describe(server: ServerReport, session: Queryable, warn: Warn): Promise<ServerReport | undefined>;
  /** Works on the tables that passed the preflight. */
  work(tables: readonly Table[], context: ErasingContext): Promise<ReadonlyMap<Target, Examined>>;
  /** The diagnosis of a table that did not pass the preflight, if there is one. */
  diagnose(refusal: PreflightError): Diagnosis | undefined;
}

type Warn = ErasingContext['warn'];

export function planOf({ dryRun }: RunOptions): Plan {
  return dryRun ? EXAMINATION : PURGE;
}

const PURGE: Plan = {
  needs: 'delete',
  onConnect: takeLock,
  describe: async () => undefined,
  work: erasingPurge,
  diagnose: () => undefined,
};

const EXAMINATION: Plan = {
  needs: 'read',
  async describe(server, session, warn) {
    const replicas = await replicasOf(session, warn);
    return { ...server, ...(replicas && { replicas }) };
  },
  async work(tables, { warn }) {
    const examined = await examine(tables);
    for (const surprise of [...examined.values()].flatMap(({ diagnosis }) => diagnosis.surprises ?? [])) {
      warn(surprise);
    }
    const erasures = await examinedErasures(tables, warn);
    return new Map([...examined].map(([target, work]) => [target, { ...work, erasure: erasures.get(target) }]));
  },
  diagnose: ({ findings, warnings }) => ({ findings: [...findings, ...warnings] }),
};
