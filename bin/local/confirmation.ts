import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { rootCertificates } from 'node:tls';
import { Client } from 'pg';
import type { Target } from '../../lambda/configuration/targets';
import type { Database } from './database-url';

/** A connection may have to wake a database up; the catalog answers in milliseconds. */
const CONNECT_TIMEOUT_MS = 20_000;
const STATEMENT_TIMEOUT_MS = 2_000;

/**
 * Looks up how many rows each table has, as the server estimates it. Reads no table.
 *
 * @returns a number for each target; undefined if the server has no estimate
 * @throws the driver's error if the database cannot be reached
 */
export async function estimateRows(database: Database, targets: readonly Target[]): Promise<(number | undefined)[]> {
  const { host, port, name, user, password, sslMode, rootCertificateFile } = database;
  const authorities = rootCertificateFile ? [readFileSync(rootCertificateFile, 'utf8')] : [];
  const client = new Client({
    ...{ host, port, user, password, database: name },
    ssl: sslMode === 'verify-full' && { ca: [...rootCertificates, ...authorities] },
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  client.on('error', () => {}); // the query reports it
  await client.connect();
  try {
    // Only for this transaction, so that nothing stays on a connection of a pooler.
    await client.query(
      `begin read only; set local search_path = pg_catalog; set local statement_timeout = ${STATEMENT_TIMEOUT_MS}`,
    );
    const { rows } = await client.query<{ rows: number | null }>(ESTIMATE_SQL, [
      targets.map(({ schema }) => schema),
      targets.map(({ table }) => table),
    ]);
    return rows.map(({ rows: estimate }) => estimate ?? undefined);
  } finally {
    await client.end();
  }
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

/** Asks on the terminal. Everything but yes is a no, the end of the input and Ctrl-C among them. */
export async function isConfirmed(question: string, interrupt: AbortSignal): Promise<boolean> {
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await new Promise<string>((answered) => {
    prompt.question(question, answered);
    prompt.once('SIGINT', () => answered(''));
    prompt.once('close', () => answered(''));
    interrupt.addEventListener('abort', () => answered(''));
  });
  prompt.close();
  return /^y(es)?$/i.test(answer.trim());
}
