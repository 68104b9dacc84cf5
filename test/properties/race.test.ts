import type { Client } from 'pg';
import type { RunReport } from '../../lambda/run/report';
import { useDatabase } from '../support/database';

/**
 * How long the race takes. Continuous integration runs it for a minute (`.ci/run`). An hour of it, which changes nothing
 * but the length, is:
 *
 *     RACE_SECONDS=3600 npx jest test/properties/race.test.ts
 */
const SECONDS = Number(process.env.RACE_SECONDS ?? 10);
/** The share of that in which the service runs alone, to compare with. */
const ALONE = 0.2;
/** Of the service, each of which has one transaction after the other. */
const CONNECTIONS = 12;
/** Of the purge. */
const SWEEPERS = 4;
/** One after the other. */
const LEAST_PURGES = 2;
const FAMILIES = 3_000;
/** The longest time that a token request may wait for a lock. */
const LONGEST_LOCK_WAIT_MS = 250;

const database = useDatabase();

/** What a service does with tokens: common table expressions, of which the last has the rows as they are left. */
const OPERATIONS = {
  issue: `
    changed as (
      insert into refresh_tokens (family, revoked, expires_at)
      select family, random() < 0.2, now() + (random() * 2 - 0.5) * interval '1 hour'
      from unnest($1::int[]) as family, generate_series(1, 8)
      returning *
    )`,
  rotate: `
    replaced as (${setting('revoked = true')}),
    successor as (
      insert into refresh_tokens (family, revoked, expires_at)
      select distinct family, false, now() + interval '1 day' from replaced
      returning *
    ),
    changed as (table replaced union all table successor)`,
  revoke: `changed as (${setting('revoked = true')})`,
  unrevoke: `changed as (${setting(`revoked = false, expires_at = now() + interval '1 day'`)})`,
  extend: `changed as (${setting(`expires_at = now() + interval '2 days'`)})`,
  expire: `changed as (${setting(`expires_at = now() - interval '1 second'`)})`,
};

/** The tokens of some families are locked in one order, as a service that does not want to deadlock with itself would. */
function setting(columns: string): string {
  return `
    update refresh_tokens set ${columns}
    where id in (select id from refresh_tokens where family = any($1) order by id for update)
    returning *`;
}

/**
 * One transaction of the service, of one or two statements on the tokens of up to five families. Whatever it commits, it
 * also writes to a ledger that no purge touches.
 */
async function serve(client: Client): Promise<void> {
  const families = Array.from({ length: 1 + Math.floor(Math.random() * 5) }, () =>
    Math.floor(Math.random() * FAMILIES),
  );
  const operations = Object.entries(OPERATIONS);
  await client.query('begin');
  for (let statements = Math.random() < 0.5 ? 1 : 2; statements > 0; statements -= 1) {
    const [name, changed] = operations[Math.floor(Math.random() * operations.length)] as [string, string];
    const text = `
      with ${changed}
      insert into ledger select id, revoked, expires_at from changed
      on conflict (id) do update set revoked = excluded.revoked, expires_at = excluded.expires_at`;
    await client.query({ name, text, values: [families] });
  }
  await client.query(Math.random() < 0.15 ? 'rollback' : 'commit');
}

interface Stopwatch {
  readonly goesOn: () => boolean;
  readonly stop: () => void;
}

/** @param isEnough whether it may stop when its time is up; a busy machine gets less done in the time */
function stopwatch(seconds: number, isEnough: () => boolean = () => true): Stopwatch {
  const endsAt = performance.now() + seconds * 1_000;
  let stopped = false;
  return {
    goesOn: () => !stopped && (performance.now() < endsAt || !isEnough()),
    stop: () => {
      stopped = true;
    },
  };
}

/** Waits for all of them. Where one fails, the others need not go on to the end of an hour. */
async function together<T extends Promise<unknown>[]>({ stop }: Stopwatch, ...racers: T) {
  await Promise.allSettled(racers.map((racer) => racer.catch(stop)));
  return await Promise.all(racers);
}

interface Service {
  transactions: number;
  longestMs: number;
}

async function runService(goesOn: () => boolean): Promise<Service> {
  const service: Service = { transactions: 0, longestMs: 0 };
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const client = await database.connect();
      await client.query(`set application_name = 'service'`);
      while (goesOn()) {
        const startedAt = performance.now();
        await serve(client);
        service.transactions += 1;
        service.longestMs = Math.max(service.longestMs, performance.now() - startedAt);
      }
      await client.end();
    }),
  );
  return service;
}

interface LockWaits {
  looks: number;
  /** The longest that any transaction of the service was seen to wait for a lock. */
  longestMs: number;
  /** The same if a purge held that lock, or was in the queue before it. */
  longestForPurgeMs: number;
}

/**
 * Looks at the locks from inside the server, fifty times a second: this process, which plays the service as well, may be too
 * busy to look as often. A snapshot lasts for half a second at most, so that it holds up no vacuum.
 */
const WATCH_LOCKS = `
  create function watch_locks(out looks int, out longest float8, out "longestForPurge" float8) language plpgsql as $$
  declare
    until constant timestamptz := clock_timestamp() + interval '0.5 s';
    wait record;
  begin
    looks := 0;
    while clock_timestamp() < until loop
      perform pg_stat_clear_snapshot();
      for wait in
        select
          extract(epoch from clock_timestamp() - waiting.waitstart) * 1000 as ms,
          exists (
            select from unnest(pg_blocking_pids(waiting.pid)) as blocker
            join pg_stat_activity as purge on purge.pid = blocker and purge.application_name = 'token-cleanup'
          ) as for_purge
        from pg_locks as waiting
        join pg_stat_activity as service on service.pid = waiting.pid and service.application_name = 'service'
        where not waiting.granted
      loop
        longest := greatest(longest, wait.ms);
        if wait.for_purge then
          "longestForPurge" := greatest("longestForPurge", wait.ms);
        end if;
      end loop;
      looks := looks + 1;
      perform pg_sleep(0.02);
    end loop;
  end $$`;

async function watchLocks(goesOn: () => boolean): Promise<LockWaits> {
  const waits: LockWaits = { looks: 0, longestMs: 0, longestForPurgeMs: 0 };
  const observer = await database.connect();
  while (goesOn()) {
    const { rows } = await observer.query<{ looks: number; longest: number | null; longestForPurge: number | null }>(
      'select * from watch_locks()',
    );
    for (const { looks, longest, longestForPurge } of rows) {
      waits.looks += looks;
      waits.longestMs = Math.max(waits.longestMs, longest ?? 0);
      waits.longestForPurgeMs = Math.max(waits.longestForPurgeMs, longestForPurge ?? 0);
    }
  }
  await observer.end();
  return waits;
}

/**
 * Holds what a purge said against the ledger. One snapshot shows each row that a transaction committed either in both
 * tables or as gone; and nobody can change a row that is gone, so the ledger has the state in which it went.
 *
 * @returns how many rows were deleted
 */
async function audit({ cutoff, rowsDeleted, error }: RunReport): Promise<number> {
  expect(error).toBeUndefined();
  const gone = await database.sql(
    `with gone as (
       delete from ledger where not exists (select from refresh_tokens where refresh_tokens.id = ledger.id) returning *
     )
     select count(*)::int as rows, count(*) filter (where not revoked and expires_at >= $1)::int as alive from gone`,
    [cutoff],
  );
  expect(gone).toEqual([{ rows: rowsDeleted, alive: 0 }]);
  return rowsDeleted;
}

test(
  `loses no row that a service leaves alive, in a race of ${SECONDS} s, and keeps no transaction waiting`,
  async () => {
    await database.sql(WATCH_LOCKS);
    await database.sql(`
      create table refresh_tokens (
        id bigint generated always as identity primary key, family int not null, revoked boolean not null,
        expires_at timestamptz not null, filler text not null default repeat('x', 150)
      );
      create index on refresh_tokens (family);
      create table ledger (id bigint primary key, revoked boolean not null, expires_at timestamptz not null);
      insert into refresh_tokens (family, revoked, expires_at)
      select n % ${FAMILIES}, n % 3 = 0, now() + interval '1 day' from generate_series(1, 60000) as n;
      insert into ledger select id, revoked, expires_at from refresh_tokens`);

    const calm = stopwatch(SECONDS * ALONE);
    const [alone, waitsAlone] = await together(calm, runService(calm.goesOn), watchLocks(calm.goesOn));

    let purges = 0;
    const race = stopwatch(SECONDS * (1 - ALONE), () => purges >= LEAST_PURGES);
    let rowsDeleted = 0;
    const purgeBackToBack = async () => {
      while (race.goesOn()) {
        rowsDeleted += await audit(await database.service().run({ concurrency: SWEEPERS, maxLoad: 1 }));
        purges += 1;
      }
    };
    // A deadlock would be an error in one of these.
    const [beside, waits] = await together(race, runService(race.goesOn), watchLocks(race.goesOn), purgeBackToBack());

    const last = await database.service().run();
    expect(last).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
    rowsDeleted += await audit(last);
    const left = await database.sql('select id, revoked, expires_at from refresh_tokens order by id');
    expect(left).toEqual(
      await database.sql('select * from ledger where not revoked and expires_at >= $1 order by id', [last.cutoff]),
    );
    const [{ deadlocks = 0 } = {}] = await database.sql<{ deadlocks: number }>(
      'select deadlocks::int as deadlocks from pg_stat_database where datname = current_database()',
    );
    process.stderr.write(`${JSON.stringify({ alone, waitsAlone, beside, waits, purges, rowsDeleted, deadlocks })}\n`);
    expect(deadlocks).toBe(0);
    expect(waits.longestForPurgeMs).toBeLessThan(LONGEST_LOCK_WAIT_MS);
    // There was a race at all, and it was watched.
    expect(beside.transactions).toBeGreaterThan(100);
    expect(purges).toBeGreaterThanOrEqual(LEAST_PURGES);
    expect(rowsDeleted).toBeGreaterThan(10_000);
    expect(waits.looks).toBeGreaterThan(SECONDS * 4);
  },
  SECONDS * 1_000 + 120_000,
);
