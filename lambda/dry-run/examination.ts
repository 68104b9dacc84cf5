import { parseTargets, type TargetsInput } from '../configuration/targets';
import { describeError, sqlStateOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { conditionOf } from '../engine/conditions/condition';
import { statementsOf } from '../engine/preflight/finding';
import { inspect, PreflightError } from '../engine/preflight/preflight';
import { type CatalogTable, readSize, sampleOf } from './catalog';
import { adviseOnIndexes, type IndexAdvice } from './index-advice';

/** The effect that a target would have on a table. */
export interface FoundTable {
  readonly schema: string;
  readonly table: string;
  /** Absent if the server has no statistics and the rows were not counted. */
  readonly rows?: number | undefined;
  /** The rows that the target would delete, foreign keys aside; absent if they were not counted. */
  readonly rowsToDelete?: number | undefined;
  /** Whether the two numbers are estimates from a part of the table. */
  readonly isEstimate: boolean;
  /** SQL for the owner of the table: the privileges that are missing, and the indexes of foreign keys. */
  readonly missing: readonly string[];
  /** Absent if no further index is of use. */
  readonly indexAdvice?: IndexAdvice;
  /** The reason why the target cannot be used as it is, or why the rows were not counted. */
  readonly problem?: string | undefined;
}

const COUNT_LIMITS = { statementTimeoutMs: 10_000, lockTimeoutMs: 500 };

/** Counts the rows that targets would delete, and finds missing privileges and indexes. */
export async function examine(
  session: Queryable,
  input: TargetsInput[number],
  tables: readonly CatalogTable[],
  now: Date,
): Promise<FoundTable[]> {
  const targets = parseTargets([input]);
  const inspected = await inspect(session, { configured: targets, requested: targets, needs: 'read' });
  const examined: FoundTable[] = [];
  for (const target of targets) {
    const oid = tables.find(({ table }) => table === target.table)?.oid ?? 0;
    const size = await readSize(session, oid);
    const result = inspected.get(target);
    const found = { schema: target.schema, table: target.table, isEstimate: true, rows: size.rows ?? undefined };
    if (!result || result instanceof PreflightError) {
      const missing = result ? statementsOf([...result.findings, ...result.warnings]) : [];
      examined.push({ ...found, missing, problem: result?.message });
      continue;
    }
    const missing = statementsOf(result.warnings);
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
        missing,
        ...(advice.statements.length > 0 && { indexAdvice: advice }),
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
