import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { parseTargets } from '../../lambda/configuration/targets';
import { type ConnectionOptions, fixedCredentials } from '../../lambda/database/session';
import type { RunLogger } from '../../lambda/run/report';
import { type TokenCleanupOptions, TokenCleanupService } from '../../lambda/token-cleanup-service';
import { connect } from './laboratory';
import type { Table } from './tables';

/** Something that deletes dead rows. */
export interface Contender {
  readonly name: string;
  /** Its method, in a few words. */
  readonly detail?: string;
  /** Whether it is this project, which has to leave a right result. */
  readonly ours?: boolean;
  /**
   * Returns when nothing is left to do, or soon after the signal.
   *
   * @returns the time that counts, in milliseconds, if not all of it does
   */
  readonly run: (arena: Arena) => Promise<number | undefined>;
  /** Whether it works in batches, between which it can rest. */
  readonly batched?: boolean;
}

/** Where a contender works. */
export interface Arena {
  readonly url: string;
  readonly table: Table;
  readonly signal: AbortSignal;
  /** How contenders rest between batches: not at all, as their projects do, or so that they delete so many rows a second. */
  readonly rest: 'none' | 'usual' | { readonly rowsPerSecond: number };
}

export function titleOf({ name, detail }: Contender): string {
  return detail ? `${name}: ${detail}` : name;
}

/** The baseline. */
export const ONE_DELETE: Contender = {
  name: 'one DELETE',
  run: onConnection(async (client, { table }) => {
    await client.query(`delete from ${table.name} where ${table.dead}`);
  }),
};

/** As it is without any settings: at the automatic pace. */
export const BY_DEFAULT = ours('this project', {});

export const OURS: readonly Contender[] = [
  BY_DEFAULT,
  ours('this project, 1 connection', { concurrency: 1, maxLoad: 1 }),
  ours('this project, 2 connections', { concurrency: 2, maxLoad: 1 }),
  ours('this project, 4 connections', { concurrency: 4, maxLoad: 1 }),
];

export function ours(
  name: string,
  settings: Pick<TokenCleanupOptions, 'concurrency' | 'maxLoad'>,
  ofTargets: { readonly dropPartitions?: true } = {},
  timeLeftMs?: number,
): Contender {
  return {
    name,
    ours: true,
    run: async ({ url, table, signal }) => {
      const service = new TokenCleanupService({
        connection: connectionTo(url),
        targets: parseTargets(table.targets.map((target) => ({ ...target, ...ofTargets }))),
        ...settings,
        logger: SILENT,
      });
      const report = await service.run({ signal, ...(timeLeftMs && { timeLeftMs }) });
      if (report.status === 'failed') {
        throw new Error(report.error);
      }
      return undefined;
    },
  };
}

export function connectionTo(url: string): ConnectionOptions {
  const { hostname: host, port, pathname, username: user, password } = new URL(url);
  return {
    credentials: fixedCredentials({ host, port: Number(port), database: pathname.slice(1), user, password }),
    trustedCertificates: false,
  };
}

export const SILENT: RunLogger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

const DEAD = '(revoked = true or expires_at < now())';

/** The cleaners in use today on such tables, each with the SQL and the batch size of the project that it names. */
export const OTHERS: readonly Contender[] = [
  {
    // ory/hydra: flushInactiveTokens in persistence/sql/persister_oauth2.go; the batch size is the default of cmd/janitor.go.
    name: 'Ory Hydra',
    detail: 'id in (… limit 100)',
    batched: true,
    run: whileFound(
      100,
      `delete from refresh_tokens
       where id in (
         select id
         from (select id from refresh_tokens where ${DEAD} order by expires_at limit 100) as oldest
       )`,
    ),
  },
  {
    // riverqueue/river: JobDeleteBefore in riverdriver/riverpgxv5/internal/dbsqlc/river_job.sql, called by
    // internal/maintenance/job_cleaner.go; batch size and pauses are those of rivershared/riversharedmaintenance.
    name: 'River',
    detail: 'id in (… limit 10000)',
    batched: true,
    run: whileFound(
      10_000,
      `with deleted as (
         delete from refresh_tokens
         where id in (select id from refresh_tokens where ${DEAD} order by id limit 10000)
         returning *
       )
       select count(*)::int as count from deleted`,
      () => 50 + Math.random() * 950,
    ),
  },
  {
    // django-oauth/django-oauth-toolkit: clear_expired in oauth2_provider/models.py; the batch size is the default of
    // CLEAR_EXPIRED_TOKENS_BATCH_SIZE.
    name: 'django-oauth-toolkit',
    detail: '10000 ids read, then deleted',
    batched: true,
    run: onConnection(async (client, arena) => {
      const { signal } = arena;
      const rest = restOf(arena);
      for (const condition of ['revoked = true', 'expires_at < now()']) {
        const count = async () => {
          const { rows } = await client.query(`select count(*)::int as left from refresh_tokens where ${condition}`);
          return rows[0].left as number;
        };
        while (!signal.aborted && (await count()) > 0) {
          const { rows } = await client.query<{ id: string }>(
            `select id from refresh_tokens where ${condition} limit 10000`,
          );
          if (rows.length > 0) {
            const ids = rows.map(({ id }) => client.escapeLiteral(id)).join(', ');
            await client.query(`delete from refresh_tokens where id in (${ids})`);
            await rest(rows.length);
          }
        }
      }
    }),
  },
  {
    // zabbix/zabbix has this shape in src/zabbix_server/housekeeper/housekeeper.c, with 5000 rows and without the locks.
    name: 'ctid = any (array(…))',
    detail: 'limit 10000',
    batched: true,
    run: whileFound(
      1,
      `delete from refresh_tokens
       where ctid = any (array(select ctid from refresh_tokens where ${DEAD} limit 10000 for update skip locked))`,
    ),
  },
  {
    // xmtp/xmtpd: DeleteExpiredEnvelopesBatch in pkg/db/sqlc/prune.sql; the batch size is that of pkg/config/pruneOptions.go.
    name: 'xmtpd',
    detail: 'order by expires_at limit 10000',
    batched: true,
    run: whileFound(
      1,
      `with to_delete as (
         select id from refresh_tokens where ${DEAD} order by expires_at limit 10000 for update skip locked
       )
       delete from refresh_tokens using to_delete where refresh_tokens.id = to_delete.id`,
    ),
  },
  {
    // The careful form: a condition, an index and a cursor for each of the two reasons to be dead.
    name: 'keyset loop',
    detail: 'two arms, limit 10000',
    batched: true,
    run: onConnection(async (client, arena) => {
      await keysetArm(client, arena, 'revoked = true', 'id', { id: '00000000-0000-0000-0000-000000000000' });
      await keysetArm(client, arena, 'expires_at < now()', 'expires_at, id', {
        expires_at: '-infinity',
        id: '00000000-0000-0000-0000-000000000000',
      });
    }),
  },
];

async function keysetArm(
  client: Client,
  arena: Arena,
  condition: string,
  columns: string,
  start: Readonly<Record<string, string>>,
): Promise<void> {
  const types: Readonly<Record<string, string>> = { id: 'uuid', expires_at: 'timestamptz' };
  const names = Object.keys(start);
  const cursor = names.map((name, index) => `$${index + 1}::${types[name]}`).join(', ');
  const rest = restOf(arena);
  let after: Readonly<Record<string, string>> | undefined = start;
  while (after && !arena.signal.aborted) {
    const { rows }: { rows: (Record<string, string> & { deleted: number })[] } = await client.query(
      `with batch as (
         select ${columns} from refresh_tokens
         where ${condition} and (${columns}) > (${cursor})
         order by ${columns}
         limit 10000
         for update skip locked
       ), deleted as (
         delete from refresh_tokens using batch where refresh_tokens.id = batch.id
       )
       select ${names.map((name) => `${name}::text as ${name}`).join(', ')},
         (select count(*)::int from batch) as deleted
       from batch
       order by ${names.map((name) => `batch.${name} desc`).join(', ')}
       limit 1`,
      names.map((name) => after?.[name]),
    );
    after = rows[0];
    await rest(rows[0]?.deleted ?? 0);
  }
}

/** Repeats a batch until it deletes fewer rows than these. Its SQL deletes them, or returns their `count`. */
function whileFound(leastRows: number, sql: string, usualRestMs?: () => number): Contender['run'] {
  return onConnection(async (client, arena) => {
    const rest = restOf(arena, usualRestMs);
    for (let rows = leastRows; rows >= leastRows && !arena.signal.aborted; ) {
      const batch = await client.query<{ count: number }>(sql);
      rows = batch.rows[0]?.count ?? batch.rowCount ?? 0;
      await rest(rows);
    }
  });
}

/** Rests after a batch of so many rows. */
function restOf({ rest, signal }: Arena, usualMs: () => number = () => 0): (rows: number) => Promise<void> {
  const startedAt = performance.now();
  let total = 0;
  return async (rows) => {
    total += rows;
    const dueMs = typeof rest === 'object' ? (1_000 * total) / rest.rowsPerSecond - (performance.now() - startedAt) : 0;
    const ms = rest === 'usual' ? usualMs() : dueMs;
    if (ms > 0) {
      await delay(ms, undefined, { signal }).catch(() => {});
    }
  };
}

/** Works on a connection of its own, which ends with the work. */
export function onConnection(work: (client: Client, arena: Arena) => Promise<void>): Contender['run'] {
  return async (arena) => {
    const client = await connect(arena.url, 'contender');
    try {
      await work(client, arena);
      return undefined;
    } finally {
      await client.end();
    }
  };
}
