import { Client } from 'pg';
import { DEFAULT_TARGETS, type Target, type TargetsInput } from '../../lambda/configuration/targets';
import type { RunReport } from '../../lambda/run/report';
import { ruleSql } from './target-sql';

/** The default rules of the demo. */
export const DEMO_TARGETS = [
  ...DEFAULT_TARGETS,
  { schema: 'public', table: 'password_resets', deleteWhen: [{ used: true }, { expires_at: { olderThan: '0s' } }] },
] as const satisfies TargetsInput;

/** The rows of a table before and after a run, counted in the database, independently of the function. */
export interface Census {
  readonly table: string;
  readonly before: Readonly<Record<Kind, number>>;
  readonly after: Readonly<Record<Kind, number>>;
  readonly gone: number;
  /** The rows to keep; all rows in a dry run. */
  readonly toStay: number;
  /** Rows to keep that are missing or changed. */
  readonly missing: number;
  /** Rows that match the rules and are left. */
  readonly dead: number;
}

/** Each row is of exactly one kind. `flag` is the column that marks a token as revoked or used. */
const CONDITIONS = {
  live: `not flag and expires_at >= cutoff + interval '1 second'`,
  'live, never expires': 'not flag and expires_at is null',
  'live for less than a second': `not flag and expires_at > cutoff and expires_at < cutoff + interval '1 second'`,
  'expires at the very cutoff': 'not flag and expires_at = cutoff',
  'expired for less than a second': `not flag and expires_at < cutoff and expires_at > cutoff - interval '1 second'`,
  expired: `not flag and expires_at <= cutoff - interval '1 second'`,
  'revoked or used': 'flag and (expires_at is null or expires_at >= cutoff)',
  'revoked or used, and expired': 'flag and expires_at < cutoff',
};

export type Kind = keyof typeof CONDITIONS;

/** The kinds of rows, live ones first. */
export const KINDS = Object.keys(CONDITIONS) as Kind[];

const USERS = 5_000;
/** In addition to the tokens that expire around the cutoff. */
const REFRESH_TOKENS = 170_000;
const PASSWORD_RESETS = 10_000;
/**
 * One row expires in each millisecond of this time. The cutoff of the run falls into it, so that there are rows on both
 * sides of the cutoff, and one at the cutoff.
 */
const BOUNDARY_MS = 10_000;

/** The tables of an imaginary service, and a census of their rows before and after a run. */
export class DemoTables {
  readonly #client: Client;

  private constructor(client: Client) {
    this.#client = client;
  }

  static async connect(url: string): Promise<DemoTables> {
    const client = new Client(url);
    client.on('error', () => {}); // the next query reports it
    await client.connect();
    await client.query(`set time zone 'UTC'`);
    return new DemoTables(client);
  }

  /**
   * Creates and fills the tables, and keeps a copy of every row for comparison.
   *
   * @returns the number of rows in the token tables
   * @throws the reason of `until` if it is aborted
   */
  async fill(until: AbortSignal): Promise<number> {
    for (const sql of [TABLES_SQL, ROWS_SQL, KEYS_SQL, BOUNDARY_SQL, COPY_SQL]) {
      until.throwIfAborted();
      await this.#client.query(sql);
    }
    return REFRESH_TOKENS + PASSWORD_RESETS + 2 * BOUNDARY_MS;
  }

  /** Compares the tables after a run with the copy, by the cutoff of the run. */
  async takeCensus(report: RunReport, targets: readonly Target[]): Promise<Census[]> {
    const cutoff = `'${report.cutoff ?? new Date().toISOString()}'::timestamptz`;
    const census: Census[] = [];
    for (const [table, flag] of Object.entries(FLAGS)) {
      const target = targets.find(({ name }) => name === table);
      const swept = report.targets.some((part) => part.table === table && (part.batches > 0 || part.stopReason));
      const rules = target && swept ? ruleSql(target, cutoff).join(') or (') : 'false';
      census.push({
        table,
        before: await this.#count(`copy.${table}`, flag, cutoff),
        after: await this.#count(table, flag, cutoff),
        ...(await this.#compare(table, `coalesce((${rules}), false)`, report.dryRun)),
      });
    }
    return census;
  }

  async close(): Promise<void> {
    await this.#client.end();
  }

  async #count(table: string, flag: string, cutoff: string): Promise<Record<Kind, number>> {
    const counts = KINDS.map((kind) => `count(*) filter (where ${CONDITIONS[kind]})::float8 as "${kind}"`);
    const { rows } = await this.#client.query(
      `select ${counts.join(', ')} from (select ${flag} as flag, expires_at, ${cutoff} as cutoff from ${table}) as rows`,
    );
    return rows[0];
  }

  async #compare(table: string, dead: string, dryRun: boolean) {
    const toStay = dryRun ? 'true' : `not ${dead}`;
    const { rows } = await this.#client.query<Pick<Census, 'gone' | 'toStay' | 'missing' | 'dead'>>(
      `select
         (select count(*) from copy.${table})::float8 - (select count(*) from ${table})::float8 as gone,
         (select count(*) from copy.${table} where ${toStay})::float8 as "toStay",
         (select count(*) from (
           select * from copy.${table} where ${toStay} except select * from ${table}
         ) as missing)::float8 as missing,
         (select count(*) from ${table} where ${dead})::float8 as dead`,
    );
    return rows[0] as (typeof rows)[number];
  }
}

/** The tables, each with the column that marks a token as revoked or used. */
const FLAGS = { refresh_tokens: 'revoked', password_resets: 'used' };

// The first table is like an entity of NestJS and TypeORM, the second like a model of Prisma, whose times are in UTC.
const TABLES_SQL = `
  create table users (
    id uuid primary key,
    email text not null unique,
    created_at timestamptz not null default now()
  );
  create table refresh_tokens (
    id uuid not null default gen_random_uuid(),
    user_id uuid not null,
    family_id uuid not null,
    token_hash text not null,
    revoked boolean not null default false,
    revoked_at timestamptz,
    expires_at timestamptz,
    user_agent text,
    created_at timestamptz not null default now()
  );
  create table password_resets (
    id text not null,
    user_id uuid not null,
    token_hash text not null,
    used boolean not null default false,
    used_at timestamp(3),
    expires_at timestamp(3) not null,
    created_at timestamp(3) not null default current_timestamp
  );`;

// Created after the rows, as pg_dump does: it takes a third of the time.
const KEYS_SQL = `
  alter table refresh_tokens
    add primary key (id),
    add unique (token_hash),
    add foreign key (user_id) references users on delete cascade;
  create index on refresh_tokens (user_id);
  create index on refresh_tokens (expires_at);
  alter table password_resets
    add primary key (id),
    add unique (token_hash),
    add foreign key (user_id) references users on update cascade on delete restrict;
  create index on password_resets (user_id);
  analyze;`;

// Tokens of 90 days. A refresh token lives for 30 days and is revoked when it is exchanged for the next; one in 25 never
// expires. A password reset lives for an hour; one in four was requested just now.
const ROWS_SQL = `
  insert into users (id, email)
  select md5('user ' || n)::uuid, 'user' || n || '@example.com'
  from generate_series(1, ${USERS}) as n;

  insert into refresh_tokens
    (user_id, family_id, token_hash, revoked, revoked_at, expires_at, user_agent, created_at)
  select
    md5('user ' || 1 + n % ${USERS})::uuid,
    md5('family ' || n / 10)::uuid,
    encode(sha256(n::text::bytea), 'hex'),
    n % 5 in (0, 2),
    case when n % 5 in (0, 2) then created_at + interval '1 day' end,
    case when n % 25 <> 1 then created_at + interval '30 days' end,
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    created_at
  from generate_series(1, ${REFRESH_TOKENS}) as n
  cross join lateral (select now() - interval '90 days' * (1 - n / ${REFRESH_TOKENS}.0)) as age (created_at);

  insert into password_resets (id, user_id, token_hash, used, used_at, expires_at, created_at)
  select
    'reset-' || n,
    md5('user ' || 1 + n % ${USERS})::uuid,
    encode(sha256(('reset ' || n)::bytea), 'hex'),
    n % 3 = 0,
    case when n % 3 = 0 then created_at + interval '5 minutes' end,
    created_at + interval '1 hour',
    created_at
  from generate_series(1, ${PASSWORD_RESETS}) as n
  cross join lateral (
    select case when n % 4 = 0 then now() else now() - interval '90 days' * (1 - n / ${PASSWORD_RESETS}.0) end
  ) as age (created_at);`;

const BOUNDARY_SQL = `
  with clock as materialized (select date_trunc('milliseconds', clock_timestamp()) as start)
  insert into refresh_tokens (user_id, family_id, token_hash, expires_at)
  select
    md5('user ' || 1 + ms % ${USERS})::uuid,
    gen_random_uuid(),
    encode(sha256(('boundary ' || ms)::bytea), 'hex'),
    start + ms * interval '1 millisecond'
  from clock, generate_series(1, ${BOUNDARY_MS}) as ms;

  with clock as materialized (select date_trunc('milliseconds', clock_timestamp()) as start)
  insert into password_resets (id, user_id, token_hash, expires_at)
  select
    'boundary-' || ms,
    md5('user ' || 1 + ms % ${USERS})::uuid,
    encode(sha256(('boundary reset ' || ms)::bytea), 'hex'),
    start + ms * interval '1 millisecond'
  from clock, generate_series(1, ${BOUNDARY_MS}) as ms;`;

const COPY_SQL = `
  create schema copy;
  create table copy.refresh_tokens as table refresh_tokens;
  create table copy.password_resets as table password_resets;`;
