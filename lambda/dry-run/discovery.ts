import { parseTargets, type TargetsInput } from '../configuration/targets';
import { describeError, sqlStateOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { conditionOf } from '../engine/condition';
import { inspect, PreflightError } from '../engine/preflight';
import { type CatalogTable, readCatalog, readSize, readValues, sampleOf, type Values } from './catalog';
import { adviseOnIndexes } from './index-advice';
import { knownSystems } from './known-systems';
import { type Lookalike, lookalike } from './lookalikes';

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
  /** The reasons, and what to think of before using the target. */
  readonly remarks: readonly string[];
  readonly tables: readonly FoundTable[];
}

export interface FoundTable {
  readonly schema: string;
  readonly table: string;
  /** Absent if the server has no statistics and the rows were not counted. */
  readonly rows?: number | undefined;
  /** The rows that the target would delete, foreign keys aside; absent if they were not counted. */
  readonly rowsToDelete?: number | undefined;
  /** Whether the two numbers are estimates from a part of the table. */
  readonly isEstimate: boolean;
  /** SQL for the owner of the table: missing privileges, and indexes that a run would be glad of. */
  readonly missing: readonly string[];
  /** The reason why the target cannot be used as it is, or why the rows were not counted. */
  readonly problem?: string | undefined;
}

const COUNT_LIMITS = { statementTimeoutMs: 10_000, lockTimeoutMs: 500 };

/** Looks for the tables of known systems, and for tables that look like tokens, codes or sessions. Read only. */
export async function discover(session: Queryable): Promise<Discovery> {
  const catalog = await readCatalog(session);
  const known = knownSystems(catalog);
  const taken = new Set(known.flatMap(({ tables }) => tables));
  const alike = catalog.flatMap((table) => {
    const proposal = taken.has(table) ? undefined : lookalike(table);
    return proposal ? [{ table, proposal }] : [];
  });
  const clock = await readClock(session);
  const found: Found[] = [];
  for (const { tables, ...system } of known) {
    found.push({
      ...system,
      remarks: [...system.remarks, ...zoneRemarks(tables, clock)],
      tables: await examine(session, system.target, tables, clock),
    });
  }
  for (const { table, proposal } of alike) {
    found.push(await examineLookalike(session, table, proposal, clock));
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
          'service writes them in another zone, say so with "timeZone"',
      ]
    : [];
}

/** Counts what a target would delete, and looks for what a run would miss. */
async function examine(
  session: Queryable,
  input: TargetsInput[number],
  tables: readonly CatalogTable[],
  { now }: Clock,
): Promise<FoundTable[]> {
  const targets = parseTargets([input]);
  const inspected = await inspect(session, { configured: targets, requested: targets, dryRun: true });
  const examined: FoundTable[] = [];
  for (const target of targets) {
    const oid = tables.find(({ table }) => table === target.table)?.oid ?? 0;
    const size = await readSize(session, oid);
    const result = inspected.get(target);
    const found = { schema: target.schema, table: target.table, isEstimate: true, rows: size.rows ?? undefined };
    if (!result || result instanceof PreflightError) {
      examined.push({ ...found, missing: result?.remedies ?? [], problem: result?.message });
      continue;
    }
    const missing = [...result.missingGrants, ...result.missingIndexes];
    const condition = conditionOf(target, now, result);
    const { share, sql: sample } = sampleOf(target.schema, target.table, size);
    try {
      const { rows } = await session.query<{ rows: number; dead: number }>(
        `select count(*)::float8 as rows, count(*) filter (where ${condition.text})::float8 as dead
         from ${sample}`,
        condition.values,
        COUNT_LIMITS,
      );
      const { rows: read = 0, dead = 0 } = rows[0] ?? {};
      const whole = { rows: Math.round(read / share), dead: Math.round(dead / share) };
      const advice = await adviseOnIndexes(session, {
        target,
        inspected: result,
        largest: result.relations[0]?.oid ?? oid,
        heapBytes: size.heapBytes,
        ...whole,
      });
      examined.push({
        ...found,
        rows: whole.rows,
        rowsToDelete: whole.dead,
        isEstimate: share < 1,
        missing: [...missing, ...advice.statements],
      });
    } catch (error) {
      if (sqlStateOf(error) === undefined) {
        throw error;
      }
      examined.push({ ...found, missing, problem: `the rows were not counted: ${describeError(error)}` });
    }
  }
  return examined;
}

async function examineLookalike(
  session: Queryable,
  table: CatalogTable,
  proposal: Lookalike,
  clock: Clock,
): Promise<Found> {
  const values = new Map<string, Values>();
  for (const column of new Set([...proposal.epochColumns, ...(proposal.expiry ? [proposal.expiry] : [])])) {
    values.set(column, await readValues(session, table, column, clock.now));
  }
  const epochs = new Map(
    proposal.epochColumns.map((column) => [column, epochOf(column, values.get(column)?.median ?? null)] as const),
  );
  const expiry = proposal.expiry === undefined ? undefined : values.get(proposal.expiry);
  const isLastUse = expiry !== undefined && expiry.count >= ENOUGH_VALUES && expiry.future === 0;
  const target = {
    ...(table.schema !== 'public' && { schema: table.schema }),
    table: table.table,
    deleteWhen: proposal.rules.map((rule) => withEpochs(rule, epochs)),
  } as TargetsInput[number];
  return {
    sureness: proposal.isLikely && !isLastUse ? 'likely' : 'possible',
    target,
    remarks: [
      `recognized by ${proposal.evidence.join(', ')}; the ages are cautious`,
      ...[...epochs].map(
        ([column, epoch]) =>
          `${column} is taken for ${epoch === 's' ? 'seconds' : 'milliseconds'} since 1970` +
          (values.get(column)?.median ? '' : ', by a guess: no value could be read'),
      ),
      ...(isLastUse
        ? [`no ${proposal.expiry} lies in the future: if it is the time of the last use, the target deletes live rows`]
        : []),
      ...zoneRemarks([table], clock),
    ],
    tables: await examine(session, target, [table], clock),
  };
}

/** Fewer values than this say nothing about a column. */
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
