import type { TestDatabase } from './database';

export const REFRESH_TOKENS_TABLE = `
  create table refresh_tokens (
    id int primary key, revoked boolean not null default false, expires_at timestamptz, filler text default repeat('x', 100)
  )`;

/** A table with live and dead rows in turn: even ids are revoked. */
export async function fillTokens(database: TestDatabase, rows: number): Promise<void> {
  await database.sql(REFRESH_TOKENS_TABLE);
  await database.sql(
    `insert into refresh_tokens select id, id % 2 = 0, now() + interval '1 day' from generate_series(1, $1::int) as id`,
    [rows],
  );
}

/** The ids of the remaining rows, sorted. */
export function survivors(database: TestDatabase): Promise<number[]> {
  return database.column<number>('select id from refresh_tokens');
}

/** The ids of the live rows, sorted like {@link survivors}. */
export function odd(upTo: number): number[] {
  return Array.from({ length: Math.ceil(upTo / 2) }, (_, index) => 2 * index + 1).sort();
}
