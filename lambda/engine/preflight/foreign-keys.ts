import { systemOf } from '../../configuration/presets';
import { columnsIn, type Target, testsIn } from '../../configuration/targets';
import type { Queryable } from '../../database/queryable';
import { byTable } from '../conditions/by-table';
import { isKeeper, isKeyOf, type ReferringKey, takesRows } from '../conditions/referring-key';
import { quoteIdentifier, quoteTable } from '../conditions/sql';
import { type Finding, findingOf } from './finding';
import { type Key, readKeys } from './key-catalog';
import type { TargetTable } from './tables';

/** The foreign keys that point at the table of a target. */
export interface ForeignKeyFindings {
  /** Those of the tables that `unlessReferredToBy` names: their rows keep the rows to which they refer. */
  readonly keepers: readonly ReferringKey[];
  /** All others. */
  readonly referringKeys: readonly ReferringKey[];
  /**
   * Cascades that would delete or change live rows of a target, or delete those of a known system's table, and keepers that
   * are missing or cannot be relied on.
   */
  readonly dangers: readonly string[];
  readonly warnings: readonly Finding[];
  /** Whether one of the keys has no index on its own side. */
  readonly missesIndex: boolean;
}

type Find<Thing> = (oids: Iterable<number>) => readonly Thing[];

/**
 * Reads the foreign keys that deletes from the targets set off, those behind a cascade included.
 *
 * @param configured all targets, even those that are not swept: a cascade from one must not reach another
 * @returns the findings about one of them. `followsKeys`: whether a rule of it tests rows to which others refer
 */
export async function readForeignKeys(
  session: Queryable,
  configured: readonly TargetTable[],
): Promise<(table: TargetTable, followsKeys: boolean) => ForeignKeyFindings> {
  // A foreign key puts triggers on the table that it points at. Without any, the slowest query of the preflight is saved.
  const mayBeReferred = configured.some(({ members }) => members.some(({ hasTriggers }) => hasTriggers));
  const read = mayBeReferred ? await readKeys(session, configured.flatMap(oidsOf)) : [];
  const keysAt = byTable(read, ({ pointsAt }) => pointsAt);
  const targetsAt = byTable(configured, oidsOf);
  return (table, followsKeys) => {
    const { target } = table;
    const oids = oidsOf(table);
    const effects = effectsOf(oids, target, keysAt);
    const judged = effects
      .filter(({ keeps }) => !keeps)
      .map((effect) => ({ ...effect, dangers: dangersOf(effect, target, targetsAt(effect.key.referring)) }));
    const unindexed = effects.flatMap(({ key }) => (key.hasIndex ? [] : [key]));
    const keys = keysAt(oids).map((key) => referringKey(key, new Set(oids), [], keysAt));
    const keepers = keys.filter((key) => isKeeper(key, target));
    return {
      keepers,
      referringKeys: keys.filter((key) => !keepers.includes(key)),
      dangers: [...judged.flatMap(({ dangers }) => dangers), ...unreliable(target, keys, keepers, followsKeys)],
      warnings: [
        ...judged.filter(({ key, dangers }) => key.onDelete === 'cascade' && dangers.length === 0).map(cascadeWarning),
        ...unindexed.map(({ constraint, quotedTable, createIndex }) =>
          findingOf(
            `foreign key ${quoteIdentifier(constraint)} has no index on its own side, so each deleted row reads all of ` +
              quotedTable,
            createIndex,
          ),
        ),
      ],
      missesIndex: unindexed.length > 0,
    };
  };
}

/** The keys that a DELETE on some tables fires, each once and the nearest first. */
function effectsOf(oids: readonly number[], target: Target, keysAt: Find<Key>): Effect[] {
  const effects: Effect[] = keysAt(oids).map((key) => ({ key, by: [], keeps: isKeeper(key, target) }));
  const seen = new Set(effects.map(({ key }) => key));
  for (const { key, by, keeps } of effects) {
    const further = key.onDelete === 'cascade' && !keeps ? keysAt(key.referring) : [];
    for (const next of further.filter((candidate) => !seen.has(candidate))) {
      seen.add(next);
      effects.push({ key: next, by: [...by, key], keeps: false });
    }
  }
  return effects;
}

/** @param others the targets whose rows refer by the key */
function dangersOf({ key, by }: Effect, source: Target, others: readonly TargetTable[]): string[] {
  const rule = `foreign key ${quoteIdentifier(key.constraint)} must not be on delete ${key.onDelete}`;
  const targets = others.map(({ target }) => target);
  if (key.onDelete !== 'cascade') {
    return targets.flatMap((target) =>
      changeable(target)
        .filter((column) => key.changes.includes(column))
        .map(
          (column) =>
            `${rule}: it would change column ${quoteIdentifier(column)}, which a rule of ${target.name} tests`,
        ),
    );
  }
  const remedy = by.length === 0 ? `; "unlessReferredToBy": [${JSON.stringify(key.table)}] would keep both` : '';
  const loss = (child: string) =>
    `${rule}: live rows of ${child} would be deleted with the dead ones that they refer to${remedy}`;
  const system = targets.length === 0 ? systemOf(key.table, key.tableColumns) : undefined;
  return [
    ...targets.map((target) =>
      target === source
        ? `${rule}: a live row would be deleted with the dead one that it refers to`
        : loss(`the target ${target.name}`),
    ),
    ...(system === undefined ? [] : [loss(`${key.quotedTable}, a table of ${system},`)]),
  ];
}

function referringKey(key: Key, oids: ReadonlySet<number>, path: readonly Key[], keysAt: Find<Key>): ReferringKey {
  const { pointsAt, referring, changes, createIndex, table, tableColumns, ...rest } = key;
  // A cascade among other tables may lead in a circle.
  const further = key.onDelete === 'cascade' && !path.includes(key) ? keysAt(referring) : [];
  return {
    ...rest,
    isSelf: referring.some((oid) => oids.has(oid)),
    next: further.map((next) => referringKey(next, new Set(referring), [...path, key], keysAt)),
  };
}

/** All the tables that a DELETE by the name of the target reaches. */
function oidsOf({ members }: TargetTable): number[] {
  return members.map(({ oid }) => oid);
}

/** The columns whose change may make a live row meet a rule. One that refers to another row keeps it, once it is NULL. */
function changeable({ deleteWhen }: Target): string[] {
  return [...new Set(deleteWhen.flatMap((rule) => columnsIn(Object.fromEntries(testsIn(rule).own))))];
}

/** The reasons why a run cannot rely on the keepers of a target. */
function unreliable(
  { unlessReferredToBy = [], schema, table }: Target,
  keys: readonly ReferringKey[],
  keepers: readonly ReferringKey[],
  followsKeys: boolean,
): string[] {
  const quotedTable = quoteTable(schema, table);
  const missing = unlessReferredToBy.filter((listed) => !keepers.some((key) => isKeyOf(key, listed)));
  // The name of a table stands alone, without its schema.
  const remedyFor = (listed: string) => {
    const name = listed.slice(listed.indexOf('.') + 1);
    return keys.some((key) => isKeyOf(key, name))
      ? `; the schema is not part of the name: ${JSON.stringify(name)}`
      : '';
  };
  const known = [...new Set(keys.map((key) => key.quotedTable))].join(', ');
  return [
    ...missing.map(
      (listed) =>
        `no foreign key of a table ${quoteIdentifier(listed)} refers to ${quotedTable}${remedyFor(listed) || (known && `, only those of ${known}`)}`,
    ),
    ...keepers
      .filter(({ hidesRows }) => hidesRows)
      .map(
        (key) =>
          `row-level security may hide rows of ${key.quotedTable} that refer to ${quotedTable}: a role that relies on ` +
          '"unlessReferredToBy" needs bypassrls',
      ),
    // One check needs a later snapshot of the tables, the other the same snapshot to the end.
    ...(followsKeys ? keepers.filter(takesRows) : []).map(
      ({ constraint, onDelete }) =>
        `foreign key ${quoteIdentifier(constraint)} must not be on delete ${onDelete}: beside "refersTo", ` +
        '"unlessReferredToBy" relies on keys that restrict deletes',
    ),
  ];
}

function cascadeWarning({ key, by }: Effect): Finding {
  const way = by.map(({ quotedTable }) => `, by way of ${quotedTable}`).slice(-1);
  return findingOf(
    `foreign key ${quoteIdentifier(key.constraint)} deletes rows of ${key.quotedTable} too ` +
      `(on delete cascade${way})`,
  );
}

interface Effect {
  readonly key: Key;
  /** The cascades that lead to it. */
  readonly by: readonly Key[];
  /** Whether the key keeps its rows by the target's `unlessReferredToBy`, so that it never deletes any. */
  readonly keeps: boolean;
}
