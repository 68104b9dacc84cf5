import type { Target } from '../configuration/targets';
import { printable } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import type { Root } from '../engine/aftermath';
import type { Catalog } from '../engine/condition';
import type { Relation } from '../engine/relation';
import { printableSql, quoteTable } from '../engine/sql';
import { type Columns, inspectColumns } from './columns';
import { type ForeignKeyFindings, readForeignKeys } from './foreign-keys';
import { type GuardFindings, type Need, readGuards } from './guards';
import { type Keepers, keepersOf } from './keepers';
import { type Reads, readMissingGrants } from './privileges';
import type { ReferringKey } from './referring-key';
import { isTable, missingTable, readTables, storageFindings, type TargetTable } from './tables';

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
  readonly warnings: readonly string[];
  /** Statements that provide the requirements of a run that a dry run does not have, such as privileges. */
  readonly missingGrants: readonly string[];
  /** Statements that create the missing indexes on the own side of foreign keys. */
  readonly missingIndexes: readonly string[];
}

/** The findings that forbid a sweep, one a line. */
export class PreflightError extends Error {
  override readonly name = 'PreflightError';
  readonly warnings: readonly string[];
  /** Statements that remove some of the findings. */
  readonly remedies: readonly string[];

  constructor(findings: readonly string[], warnings: readonly string[] = [], remedies: readonly string[] = []) {
    super(findings.map((finding) => printable(finding)).join('\n'));
    this.warnings = warnings;
    this.remedies = remedies;
  }
}

export interface PreflightOptions {
  /** All targets of the configuration. Deletes from one must not reach the rows of another. */
  readonly configured: readonly Target[];
  /** The targets of this run. */
  readonly requested: readonly Target[];
  readonly dryRun: boolean;
}

/** Inspects all tables before the first delete. Read only. A table that must not be swept gets an error. */
export async function inspect(
  session: Queryable,
  { configured, requested, dryRun }: PreflightOptions,
): Promise<Map<Target, Inspected | PreflightError>> {
  const tables = await readTables(session, configured);
  const foreignKeys = await readForeignKeys(session, [...tables.values()]);
  const results = new Map<Target, Inspected | PreflightError>();
  const usable = new Map<TargetTable, Columns>();
  for (const target of requested) {
    const table = tables.get(target);
    if (!table) {
      results.set(target, new PreflightError([await missingTable(session, target)]));
      continue;
    }
    const quotedName = quoteTable(target.schema, target.table);
    const columns = isTable(table.root)
      ? await inspectColumns(session, target, { oid: table.root.oid, quotedName })
      : undefined;
    const findings = [...(columns?.findings ?? []), ...storageFindings(table)];
    if (columns && findings.length === 0) {
      usable.set(table, columns);
    } else {
      results.set(target, new PreflightError(findings));
    }
  }
  const guardsOf = await readGuards(session, [...usable.keys()]);
  const read = [...usable].map(([table, columns]) => {
    const keys = foreignKeys.of(table);
    return { columns, keys, guards: guardsOf(table), ...keepersOf(table, keys.referringKeys, columns) };
  });
  const missingGrantsOf = await readMissingGrants(session, read);
  for (const each of read) {
    results.set(each.table.target, judge(each, missingGrantsOf(each), dryRun));
  }
  return results;
}

interface Read extends Reads, Keepers {
  readonly columns: Columns;
  readonly keys: ForeignKeyFindings;
  readonly guards: GuardFindings;
}

function judge(
  { table: { target, root, heaps }, columns, keys, guards, keepers, findings }: Read,
  missingGrants: readonly Need[],
  dryRun: boolean,
): Inspected | PreflightError {
  const needs = [...missingGrants, ...guards.needs];
  const dangers = [...keys.dangers, ...guards.dangers, ...findings];
  const remedies = needs.map(({ sql }) => printableSql(sql));
  const missingIndexes = keys.missingIndexes.map(printableSql);
  // A dry run does not need the privilege to delete, but names it if another finding ends it anyway.
  if (dangers.length > 0 || needs.some(({ toRead }) => toRead || !dryRun)) {
    return new PreflightError(
      [...dangers, ...needs.map(({ finding }) => finding)],
      keys.warnings.map((warning) => printable(warning)),
      [...remedies, ...missingIndexes],
    );
  }
  const warnings = [
    ...needs.map(({ finding }) => `${target.name}: ${finding}`),
    ...keys.warnings,
    ...(guards.rowsAreHidden && dryRun ? [`${target.name}: ${HIDDEN}`] : []),
  ];
  return {
    oid: root.oid,
    isPartitioned: root.kind === 'p',
    root: { oid: root.oid, quotedName: quoteTable(root.schema, root.table) },
    relations: heaps.map(({ oid, schema, table }) => ({
      oid,
      quotedName: quoteTable(schema, table),
      ...(oid !== root.oid && { rootOid: root.oid }),
    })),
    columnTypes: columns.types,
    references: columns.references,
    keepers,
    referringKeys: keys.referringKeys.filter((key) => !keepers.includes(key)),
    rowsAreHidden: guards.rowsAreHidden,
    warnings: warnings.map((warning) => printable(warning)),
    missingGrants: remedies,
    missingIndexes,
  };
}

const HIDDEN =
  'row security hides rows from this role: the counts are of the rows that it sees, and a run deletes no other';
