import type { Client } from 'pg';
import type { RunReport } from '../lambda/report';
import { useDatabase } from './support/database';

/** How long the race takes; an hour of it is `RACE_SECONDS=3600 npx jest test/race.test.ts`. */
const SECONDS = Number(process.env.RACE_SECONDS ?? 10);
const CONNECTIONS = 6;
/** What nobody who waits for a token should have to wait longer for. */
const LONGEST_LOCK_WAIT_MS = 250;

const database = useDatabase();

/**
 * One transaction of the service. Whatever it commits, it also writes to a ledger that no purge touches: the state in
 * which it left each row. Rows that were purged before it came are not there any more, and so not in what it changes.
 */
async function serve(client: Client, random: () => number): Promise<void> {
  const ids = Array.from({ length: 1 + Math.floor(random() * 5) }, () => Math.floor(random() * 3_000));
  // In one order, as a service that does not want to deadlock with itself would.
  const some = `(select id from refresh_tokens where family = any($1) order by id for update)`;
  const changes = [
    `update refresh_tokens set revoked = true where id in ${some}`,
    `update refresh_tokens set revoked = false, expires_at = now() + interval '1 day' where id in ${some}`,
    `update refresh_tokens set expires_at = now() + interval '2 days' where id in ${some}`,
    `update refresh_tokens set expires_at = now() - interval '1 second' where id in ${some}`,
    `insert into refresh_tokens (family, revoked, expires_at)
     select family, random() < 0.2, now() + (random() * 2 - 0.5) * interval '1 hour' from unnest($1::int[]) as family`,
    `insert into refresh_tokens (family, revoked, expires_at)
     select family, false, now() + interval '1 day' from unnest($1::int[]) as family`,
  ];
  await client.query('begin');
  for (let statement = 0; statement < 1 + random() * 2; statement += 1) {
    const change = changes[Math.floor(random() * changes.length)];
    await client.query(
      `with changed as (${change} returning id, revoked, expires_at)
       insert into ledger select * from changed
       on conflict (id) do update set revoked = excluded.revoked, expires_at = excluded.expires_at`,
      [ids],
    );
  }
  await client.query(random() < 0.15 ? 'rollback' : 'commit');
}

test(
  `loses no row that a service leaves alive, in a race of ${SECONDS} s, and keeps no transaction waiting`,
  async () => {
    await database.sql(`
    create table refresh_tokens (
      id bigint generated always as identity primary key, family int not null, revoked boolean not null,
      expires_at timestamptz, filler text not null default repeat('x', 150)
    );
    create index on refresh_tokens (family);
    create table ledger (id bigint primary key, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens (family, revoked, expires_at)
    select n % 3000, n % 3 = 0, now() + interval '1 day' from generate_series(1, 30000) as n;
    insert into ledger select id, revoked, expires_at from refresh_tokens`);
    const endsAt = Date.now() + SECONDS * 1_000;
    const raceIsOn = () => Date.now() < endsAt;

    let transactions = 0;
    const service = Array.from({ length: CONNECTIONS }, async () => {
      const client = await database.connect();
      for (; raceIsOn(); transactions += 1) {
        await serve(client, Math.random);
      }
    });
    const reports: RunReport[] = [];
    const purge = (async () => {
      while (raceIsOn()) {
        reports.push(await database.service().run({ concurrency: 2 }));
      }
    })();
    let longestWaitMs = 0;
    const watch = (async () => {
      const observer = await database.connect();
      while (raceIsOn()) {
        const { rows } = await observer.query<{ ms: number | null }>(`
        select max(extract(epoch from clock_timestamp() - waitstart) * 1000)::float8 as ms
        from pg_locks as waiting
        where not granted and pid in (select pid from pg_stat_activity where application_name = '') and exists (
          select from unnest(pg_blocking_pids(waiting.pid)) as blocker
          join pg_stat_activity as purge on purge.pid = blocker and purge.application_name = 'token-cleanup')`);
        longestWaitMs = Math.max(longestWaitMs, rows[0]?.ms ?? 0);
      }
    })();
    // A deadlock would be an error in one of these.
    await Promise.all([...service, purge, watch]);

    const alive = 'not revoked and expires_at >= now()';
    const lost = await database.sql(
      `select * from ledger where ${alive} and id not in (select id from refresh_tokens)`,
    );
    expect(lost).toEqual([]);
    const last = await database.service().run();
    reports.push(last);
    expect(last).toMatchObject({ status: 'succeeded', targets: [{ rowsRemaining: 0 }] });
    expect(await database.sql('select id, revoked, expires_at from refresh_tokens order by id')).toEqual(
      await database.sql(`select * from ledger where not revoked and expires_at >= '${last.cutoff}' order by id`),
    );
    const [{ gone = 0 } = {}] = await database.sql<{ gone: number }>(
      'select count(*)::int as gone from ledger where id not in (select id from refresh_tokens)',
    );
    expect(reports.reduce((sum, { rowsDeleted }) => sum + rowsDeleted, 0)).toBe(gone);
    expect(reports.map(({ error }) => error).filter(Boolean)).toEqual([]);
    const [{ deadlocks = 0 } = {}] = await database.sql<{ deadlocks: number }>(
      'select deadlocks::int as deadlocks from pg_stat_database where datname = current_database()',
    );
    expect(deadlocks).toBe(0);
    expect(longestWaitMs).toBeLessThan(LONGEST_LOCK_WAIT_MS);
    // That there was a race at all.
    expect(transactions).toBeGreaterThan(100);
    expect(reports.length).toBeGreaterThan(3);
  },
  SECONDS * 1_000 + 60_000,
);
