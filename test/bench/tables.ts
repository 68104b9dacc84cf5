import type { Client } from 'pg';
import { DEFAULT_TARGETS, type TargetsInput } from '../../lambda/configuration/targets';

/** A table with dead rows in it, in the words of SQL and in those of this project. */
export interface Table {
  readonly name: string;
  /** An expression that differs from row to row. */
  readonly key: string;
  /** The condition that dead rows meet. */
  readonly dead: string;
  readonly targets: TargetsInput;
}

export const REFRESH_TOKENS: Table = {
  name: 'refresh_tokens',
  key: 'id',
  dead: 'revoked = true or expires_at < now()',
  targets: DEFAULT_TARGETS,
};

export interface TokenRows {
  readonly rows: number;
  /** The share of rows that are dead: half of them revoked, half of them expired, spread evenly. */
  readonly deadShare: number;
  /** Whether there are indexes that find dead rows. */
  readonly indexed: boolean;
}

/** Rows that a service looks up have users with about this many tokens. */
export const TOKENS_PER_USER = 10;

/** Makes and fills `refresh_tokens`. Row `n` holds the hash of the token `n`. */
export async function fillTokens(client: Client, { rows, deadShare, indexed }: TokenRows): Promise<void> {
  await client.query(`create table refresh_tokens (${TOKEN_COLUMNS})`);
  await client.query('select setseed(0.5)');
  // Nothing expires within the hours that a benchmark takes.
  await client.query(
    `insert into refresh_tokens (user_id, token_hash, revoked, expires_at, created_at)
     select
       1 + (random() * $1::int / ${TOKENS_PER_USER})::bigint,
       encode(sha256(n::text::bytea), 'hex'),
       fate < $2::float8 / 2,
       case
         when fate >= $2::float8 / 2 and fate < $2::float8 then now() - interval '1 minute' - random() * interval '30 days'
         when fate < 0.99 then now() + interval '1 day' + random() * interval '30 days'
       end,
       now() - random() * interval '60 days'
     from generate_series(1, $1::int) as n cross join lateral (select random() + 0 * n as fate) as drawn`,
    [rows, deadShare],
  );
  await client.query(`
    alter table refresh_tokens add primary key (id);
    create unique index on refresh_tokens (token_hash);
    create index on refresh_tokens (user_id)`);
  if (indexed) {
    await client.query(`
      create index on refresh_tokens (expires_at);
      create index on refresh_tokens (id) where revoked`);
  }
}

export const TOKEN_COLUMNS = `
  id uuid not null default gen_random_uuid(),
  user_id bigint not null,
  token_hash text not null,
  family_id uuid not null default gen_random_uuid(),
  revoked boolean not null default false,
  expires_at timestamptz,
  created_at timestamptz not null default now()`;

/** Tokens of which a tenth has a device that refers to it, dead or not: those rows have to stay. */
export const PROTECTED_TOKENS: Table = {
  ...REFRESH_TOKENS,
  dead: `(${REFRESH_TOKENS.dead}) and not exists (select from devices where token_id = refresh_tokens.id)`,
};

export async function fillProtectedTokens(client: Client, rows: number): Promise<void> {
  await fillTokens(client, { rows, deadShare: 0.5, indexed: true });
  await client.query('create table devices (token_id uuid not null references refresh_tokens, seen_at timestamptz)');
  await client.query('insert into devices select id, now() from refresh_tokens where random() < 0.1');
  await client.query('create index on devices (token_id)');
}

/** The content of a table. Two tables with the same live rows, in any order, have the same fingerprint. */
export interface Census {
  readonly live: number;
  readonly dead: number;
  readonly fingerprint: string;
}

export async function census(client: Client, { name, key, dead }: Table): Promise<Census> {
  const { rows } = await client.query<Census>(
    `select
       count(*) filter (where not is_dead)::float8 as live,
       count(*) filter (where is_dead)::float8 as dead,
       coalesce(bit_xor(hashtextextended((${key})::text, 0)) filter (where not is_dead), 0)::text as fingerprint
     from ${name} cross join lateral (select coalesce(${dead}, false) as is_dead) as verdict`,
  );
  return rows[0] as Census;
}
