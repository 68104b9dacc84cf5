import type { Target } from '../configuration/targets';
import type { Query } from '../database/session';
import { type Diagnosis, examine } from '../dry-run/diagnosis';
import type { PreflightError, PreflightOptions } from '../engine/preflight/preflight';
import type { Table, Visiting } from '../engine/purge';
import { type ErasingContext, type ErasureReading, erasingPurge, examinedErasures } from '../erasure/erasing-purge';
import type { RunOptions } from './options';
import type { Examined } from './report';
import { replicasOf, type ServerReport, takeLock } from './server';

/** The differences between a run and a dry run. */
export interface Plan {
  readonly needs: PreflightOptions['needs'];
  /** Executed on every new connection of the first session. */
  readonly onConnect?: (query: Query) => Promise<void>;
  /** The part of the report about the server, if there is one. */
  describe(server: ServerReport, context: ErasureReading): Promise<ServerReport | undefined>;
  /** Works on the tables that passed the preflight. */
  work(tables: readonly Table[], visiting: Visiting, context: ErasingContext): Promise<ReadonlyMap<Target, Examined>>;
  /** The diagnosis of a table that did not pass the preflight, if there is one. */
  diagnose(refusal: PreflightError): Diagnosis | undefined;
}

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
  async describe(server, { session, warn }) {
    const { replicas, warning } = await replicasOf(session);
    if (warning) {
      warn(warning);
    }
    return { ...server, ...(replicas && { replicas }) };
  },
  async work(tables, visiting, context) {
    const examined = await examine(tables, visiting);
    for (const surprise of [...examined.values()].flatMap(({ diagnosis }) => diagnosis.surprises ?? [])) {
      context.warn(surprise);
    }
    const erasures = await examinedErasures(tables, context);
    return new Map(
      [...examined].map(([target, work]) => {
        const erasure = erasures.get(target);
        return [target, { ...work, ...(erasure && { erasure }) }];
      }),
    );
  },
  diagnose: ({ findings, warnings }) => ({ findings: [...findings, ...warnings] }),
};
