import type { TargetsInput } from '../configuration/targets';
import type { Queryable } from '../database/queryable';
import { type CatalogTable, readCascades, readCatalog, readValues, type Values } from './catalog';
import { examine, type FoundTable } from './examination';
import { knownSystems } from './known-systems';
import { type Lookalike, lookalike } from './lookalikes';

export type { FoundTable } from './examination';

/** The tables of a database that a run could clean. */
export interface Discovery {
  /** The surest first. */
  readonly found: readonly Found[];
}

/** A known system, or a table that looks like tokens, codes or sessions. */
export interface Found {
  /**
   * - `certain`: a known system, by columns that no other has
   * - `likely`: a known system by common columns, or a table with the name, the secret and the expiry of tokens
   * - `possible`: a table that might hold tokens; look at its rows before you use the target
   */
  readonly sureness: 'certain' | 'likely' | 'possible';
  /** The name of the system, if it is known. */
  readonly system?: string | undefined;
  /** The target to copy, as JSON. */
  readonly target: TargetsInput[number];
  /** The reasons, and the points to check before using the target. */
  readonly remarks: readonly string[];
  readonly tables: readonly FoundTable[];
}

/** Looks for the tables of known systems, and for tables that look like tokens, codes or sessions. Read only. */
export async function discover(session: Queryable): Promise<Discovery> {
  const catalog = await readCatalog(session);
  const known = knownSystems(catalog);
  const alike = await lookalikes(session, catalog, new Set(known.flatMap(({ tables }) => tables)));
  const clock = await readClock(session);
  const found: Found[] = [];
  for (const system of known) {
    const remarks = [...system.remarks, ...zoneRemarks(system.tables, clock)];
    found.push({ ...system, remarks, tables: await examine(session, system.target, system.tables, clock.now) });
  }
  for (const candidate of alike) {
    found.push(await examineLookalike(session, candidate, clock));
  }
  const order = ['certain', 'likely', 'possible'];
  return { found: found.sort((a, b) => order.indexOf(a.sureness) - order.indexOf(b.sureness)) };
}

interface Clock {
  readonly now: Date;
  readonly timeZone: string;
}

async function readClock(session: Queryable): Promise<Clock> {
  const { rows } = await session.query<Clock>(`
    select
      clock_timestamp() as now,
      coalesce((
        select substr(setting, 10)
        from pg_db_role_setting join pg_database on pg_database.oid = setdatabase, unnest(setconfig) as setting
        where datname = current_database() and setrole = 0 and setting ilike 'timezone=%'
      ), (select reset_val from pg_settings where name = 'TimeZone')) as "timeZone"`);
  return rows[0] ?? { now: new Date(), timeZone: 'UTC' };
}

function zoneRemarks(tables: readonly CatalogTable[], { timeZone }: Clock): string[] {
  const withoutZone = tables.some(({ columns }) => columns.some(({ type }) => type === 'timestamp without time zone'));
  return withoutZone && !/^(etc\/)?(utc|gmt|uct|zulu|universal)$/i.test(timeZone)
    ? [
        `timestamps without time zone are taken for UTC, and the time zone of this database is ${timeZone}: if the ` +
          'service writes them in another zone, set "timeZone"',
      ]
    : [];
}

interface Candidate {
  readonly table: CatalogTable;
  readonly proposal: Lookalike;
  /** Other candidates whose rows `on delete cascade` deletes with those of this table: their live rows must stay. */
  readonly children: readonly string[];
  /** Tables that are swept already, and from which deletes cascade to this one. */
  readonly goesWith: readonly string[];
}

/** The tables that look like it, except those of known systems. Children come before their parents. */
async function lookalikes(
  session: Queryable,
  catalog: readonly CatalogTable[],
  known: ReadonlySet<CatalogTable>,
): Promise<readonly Candidate[]> {
  const alike = catalog.flatMap((table) => {
    const proposal = known.has(table) ? undefined : lookalike(table);
    return proposal ? { table, proposal } : [];
  });
  const tables = alike.map(({ table }) => table);
  const parents = await readCascades(session);
  const isParent = (parent: CatalogTable, child: CatalogTable) =>
    parent !== child && parent.schema === child.schema && (parents.get(child.oid) ?? []).includes(parent.oid);
  return alike
    .map(({ table, proposal }) => {
      const ancestors = ancestorsOf(table.oid, parents);
      const above = [...known, ...tables].filter(({ oid }) => ancestors.has(oid));
      return {
        table,
        proposal,
        depth: ancestors.size,
        children: tables.filter((other) => isParent(table, other)).map((child) => child.table),
        goesWith: above.filter((other) => known.has(other) || !isParent(other, table)).map((other) => other.table),
      };
    })
    .sort((a, b) => b.depth - a.depth);
}

/** All tables whose deletes cascade to this one, directly or through others. */
function ancestorsOf(oid: number, parents: ReadonlyMap<number, readonly number[]>): Set<number> {
  const found = new Set<number>();
  const pending = [oid];
  for (const each of pending) {
    for (const parent of parents.get(each) ?? []) {
      if (parent !== oid && !found.has(parent)) {
        found.add(parent);
        pending.push(parent);
      }
    }
  }
  return found;
}

async function examineLookalike(
  session: Queryable,
  { table, proposal, children, goesWith }: Candidate,
  clock: Clock,
): Promise<Found> {
  const { rules, epochColumns, expiry = '' } = proposal;
  const values = new Map<string, Values>();
  for (const column of new Set(expiry ? [...epochColumns, expiry] : epochColumns)) {
    values.set(column, await readValues(session, table, column, clock.now));
  }
  const epochs = new Map(
    epochColumns.map((column) => [column, epochOf(column, values.get(column)?.median ?? null)] as const),
  );
  const { count = 0, future = 0 } = values.get(expiry) ?? {};
  const isLastUse = count >= ENOUGH_VALUES && future === 0;
  const target = {
    ...(table.schema !== 'public' && { schema: table.schema }),
    table: table.table,
    deleteWhen: rules.map((rule) => withEpochs(rule, epochs)),
    ...(children.length > 0 && { unlessReferredToBy: children }),
  } as TargetsInput[number];
  return {
    sureness: proposal.isLikely && !isLastUse && goesWith.length === 0 ? 'likely' : 'possible',
    target,
    remarks: [
      `recognized by ${proposal.evidence.join(', ')}; the ages are cautious`,
      ...(goesWith.length > 0
        ? [
            `its rows are deleted with those of ${goesWith.join(', ')} (on delete cascade), so it cannot be a target besides`,
          ]
        : []),
      ...[...epochs].map(
        ([column, epoch]) =>
          `${column} is taken for ${epoch === 's' ? 'seconds' : 'milliseconds'} since 1970` +
          (values.get(column)?.median ? '' : ', as a guess: no value could be read'),
      ),
      ...(isLastUse
        ? [`no ${expiry} lies in the future: if it is the time of the last use, the target deletes live rows`]
        : []),
      ...zoneRemarks([table], clock),
    ],
    tables: await examine(session, target, [table], clock.now),
  };
}

/** Fewer values than this prove nothing about a column. */
const ENOUGH_VALUES = 20;

/** Milliseconds since 1970 passed this number in 1973, and seconds will in the year 5138. */
const LEAST_MILLISECONDS = 100_000_000_000;

function epochOf(column: string, median: number | null): 's' | 'ms' {
  return (median === null ? /(ms|milli|millis)$/i.test(column) : median >= LEAST_MILLISECONDS) ? 'ms' : 's';
}

function withEpochs(rule: Readonly<Record<string, unknown>>, epochs: ReadonlyMap<string, 's' | 'ms'>) {
  return Object.fromEntries(
    Object.entries(rule).map(([column, test]) => {
      const epoch = epochs.get(column);
      return [column, epoch && typeof test === 'object' ? { ...test, epoch } : test];
    }),
  );
}
