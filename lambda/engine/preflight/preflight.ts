import type { Target } from '../../configuration/targets';
import type { Queryable } from '../../database/queryable';
import type { Catalog } from '../conditions/condition';
import type { ReferringKey } from '../conditions/referring-key';
import type { Relation, Root } from '../conditions/relation';
import { type Columns, readColumns } from './columns';
import { type Finding, findingOf, messageOf } from './finding';
import { type ForeignKeyFindings, readForeignKeys } from './foreign-keys';
import { type GuardFindings, type Need, readGuards } from './guards';
import { type Reads, readMissingGrants } from './privileges';
import { isTable, readMissingTables, readTables, storageFindings, type TargetTable } from './tables';

/** A table that may be swept. */
export interface Inspected extends Catalog {
  readonly oid: number;
  readonly isPartitioned: boolean;
  readonly root: Root;
  /** The table itself, or its partitions and other children: all that have blocks of their own. */
  readonly relations: readonly Relation[];
  /** The foreign keys that point at the table, besides the keepers. */
  readonly referringKeys: readonly ReferringKey[];
  /** Whether policies hide rows from the role, so that what it counts is not all. */
  readonly rowsAreHidden: boolean;
  /** Findings that do not forbid a sweep. */
  readonly warnings: readonly Finding[];
  /** Whether a foreign key has no index on its own side. */
  readonly missesIndex: boolean;
}

/** The findings that forbid a sweep. The message has one line for each. */
export class PreflightError extends Error {
  override readonly name = 'PreflightError';

  constructor(
    readonly findings: readonly Finding[],
    readonly warnings: readonly Finding[] = [],
  ) {
    super(findings.map(messageOf).join('\n'));
  }
}

export interface PreflightOptions {
  /** All targets of the configuration. Deletes from one must not reach the rows of another. */
  readonly configured: readonly Target[];
  /** The targets of this run. */
  readonly requested: readonly Target[];
  /** Whether rows are to be deleted, or only counted. */
  readonly needs: 'read' | 'delete';
}

/** Inspects all tables before the first delete. Read only. A table that must not be swept gets an error. */
export async function inspect(
  session: Queryable,
  { configured, requested, needs }: PreflightOptions,
): Promise<Map<Target, Inspected | PreflightError>> {
  const tables = await readTables(session, configured);
  const keysOf = await readForeignKeys(session, [...tables.values()]);
  const found = requested.flatMap((target) => tables.get(target) ?? []);
  const columnsOf = await readColumns(
    session,
    found.filter(({ root }) => isTable(root)),
  );
  const missing = await readMissingTables(
    session,
    requested.filter((target) => !tables.has(target)),
  );
  const results = new Map<Target, Inspected | PreflightError>(
    [...missing].map(([target, finding]) => [target, new PreflightError([findingOf(finding)])]),
  );
  const usable = new Map<TargetTable, Columns>();
  for (const table of found) {
    const columns = columnsOf(table);
    const findings = [...(isTable(table.root) ? columns.findings : []), ...storageFindings(table)];
    if (findings.length === 0) {
      usable.set(table, columns);
    } else {
      results.set(table.target, new PreflightError(findings.map((text) => findingOf(text))));
    }
  }
  const guardsOf = await readGuards(session, [...usable.keys()]);
  const read = [...usable].map(([table, columns]) => {
    const keys = keysOf(table, columns.references.size > 0);
    return { table, columns, keys, guards: guardsOf(table) };
  });
  const missingGrants = await readMissingGrants(session, read);
  for (const [index, each] of read.entries()) {
    results.set(each.table.target, judge(each, missingGrants[index] ?? [], needs));
  }
  return results;
}

interface Read extends Reads {
  readonly columns: Columns;
  readonly keys: ForeignKeyFindings;
  readonly guards: GuardFindings;
}

function judge(
  { table: { root, heaps }, columns, keys, guards }: Read,
  missingGrants: readonly Need[],
  needs: PreflightOptions['needs'],
): Inspected | PreflightError {
  const grants = [...missingGrants, ...guards.needs];
  const dangers = [...keys.dangers, ...guards.dangers];
  // A dry run does not need the privilege to delete, but names it if another finding ends it anyway.
  if (dangers.length > 0 || grants.some(({ toRead }) => toRead || needs === 'delete')) {
    return new PreflightError(
      [...dangers.map((text) => findingOf(text)), ...grants.map(({ finding }) => finding)],
      keys.warnings,
    );
  }
  return {
    oid: root.oid,
    isPartitioned: root.kind === 'p',
    root: { oid: root.oid, quotedName: root.quotedName },
    relations: heaps.map(({ oid, quotedName, takingKeys }) => ({
      oid,
      quotedName,
      takingKeys,
      ...(oid !== root.oid && { rootOid: root.oid }),
    })),
    columnTypes: columns.types,
    references: columns.references,
    keepers: keys.keepers,
    referringKeys: keys.referringKeys,
    rowsAreHidden: guards.rowsAreHidden,
    warnings: [
      ...grants.map(({ finding }) => finding),
      ...keys.warnings,
      ...(guards.rowsAreHidden && needs === 'read' ? [findingOf(HIDDEN)] : []),
    ],
    missesIndex: keys.missesIndex,
  };
}

const HIDDEN =
  'row security hides rows from this role: the counts cover only the rows that it sees, and a run deletes no others';
