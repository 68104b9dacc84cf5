import { createInterface } from 'node:readline';
import type { Target } from '../../lambda/configuration/targets';
import type { Queryable } from '../../lambda/database/queryable';

const LIMITS = { statementTimeoutMs: 2_000, lockTimeoutMs: 500 };

/**
 * Reads the server's estimates of the rows of each table, and none of the tables.
 *
 * @returns a number for each target; undefined if the server has no estimate
 */
export async function estimateRows(session: Queryable, targets: readonly Target[]): Promise<(number | undefined)[]> {
  const names = [targets.map(({ schema }) => schema), targets.map(({ table }) => table)];
  const { rows } = await session.query<{ rows: number | null }>(ESTIMATE_SQL, names, LIMITS);
  return rows.map(({ rows: estimate }) => estimate ?? undefined);
}

// A table that was never vacuumed or analyzed has -1.
const ESTIMATE_SQL = `
  select (
    select sum(nullif(leaf.reltuples, -1))
    from pg_class as root
    join pg_namespace on pg_namespace.oid = root.relnamespace
    join pg_class as leaf on leaf.oid = root.oid or leaf.oid in (select relid from pg_partition_tree(root.oid) where isleaf)
    where nspname = wanted.schema and root.relname = wanted.name and leaf.relkind = 'r'
  )::float8 as rows
  from unnest($1::text[], $2::text[]) with ordinality as wanted (schema, name, position)
  order by position`;

/** Asks on a terminal. Any answer but yes is a no, and so are the end of the input and Ctrl-C. */
export async function isConfirmed(
  question: string,
  output: NodeJS.WriteStream,
  interrupt: AbortSignal,
): Promise<boolean> {
  const prompt = createInterface({ input: process.stdin, output });
  const answer = await new Promise<string>((answered) => {
    prompt.question(question, answered);
    prompt.once('SIGINT', () => answered(''));
    prompt.once('close', () => answered(''));
    interrupt.addEventListener('abort', () => answered(''));
  });
  prompt.close();
  return /^y(es)?$/i.test(answer.trim());
}
