import type { Client } from 'pg';
import { systemClock } from '../../lambda/clock';
import { Session } from '../../lambda/database/session';
import { vacuum } from '../../lambda/erasure/vacuum';
import { documentedSql } from '../support/readme';
import { type Contender, connectionTo, ONE_DELETE, onConnection, ours } from './contenders';
import { count, duration, megabytes, times } from './figures';
import { race, type Standing, timeOf } from './race';
import type { Section } from './section';
import { LATENCIES, latenciesOf, NOBODY, play, type Scene } from './service';
import { median } from './statistics';
import { fillTokens, REFRESH_TOKENS, type Table } from './tables';

interface Erased {
  readonly partitions: readonly Standing[];
  readonly vacuums: Scene;
  /** How long each kind of vacuum took; not those that were not done in their time. */
  readonly vacuumMs: Readonly<Record<string, number>>;
}

const DEAD_SESSIONS: Table['targets'] = [{ table: 'sessions', deleteWhen: [{ expires_at: { olderThan: '0s' } }] }];

/** A partition of dead sessions and one of live ones, as many in each. */
const SESSIONS: Table = { name: 'sessions', key: 'id', dead: 'expires_at < now()', targets: DEAD_SESSIONS };

async function fillSessions(client: Client, rows: number): Promise<void> {
  await client.query(`
    create table sessions (
      id uuid not null default gen_random_uuid(), user_id bigint not null, hash text not null, expires_at timestamptz not null
    ) partition by range (expires_at);
    create table sessions_dead partition of sessions for values from (minvalue) to ('2021-01-01');
    create table sessions_live partition of sessions for values from ('2021-01-01') to (maxvalue);
    create index on sessions (id);
    create index on sessions (user_id)`);
  await client.query(
    `insert into sessions (user_id, hash, expires_at)
     select n, encode(sha256(n::text::bytea), 'hex'), case when n % 2 = 0 then '2020-06-01' else '2100-01-01' end::timestamptz
     from generate_series(1, 2 * $1::int) as n`,
    [rows],
  );
  await client.query(`
    do $$ begin create role token_cleanup login; exception when duplicate_object then null; end $$`);
  await client.query(documentedSql('drop-partition'));
}

const SWEPT = ours('this project, swept', { maxLoad: 1 });
const DROPPED = ours('this project, dropped', { maxLoad: 1 }, { dropPartitions: true });

/** What it costs to go further than deleting: to drop a partition, and to vacuum. */
export const erasure: Section<Erased> = {
  name: 'erasure',

  steps: ({ scale, chosen }) =>
    scale.rounds * chosen([ONE_DELETE, SWEPT, DROPPED]).length +
    scale.serviceRounds * chosen([NOBODY, ...vacuumsOf(new Map())]).length,

  async run(bench) {
    const { laboratory, scale } = bench;
    const { rows, rounds, capMs } = scale;
    const sessions = await laboratory.prepare({
      title: 'a dead partition',
      table: SESSIONS,
      fill: (client) => fillSessions(client, rows),
    });
    const contenders = bench.chosen([ONE_DELETE, SWEPT, DROPPED]);
    const partitions = await race(bench, sessions, contenders, { rounds, capMs });
    await laboratory.discard(sessions);

    const deleted = await laboratory.prepare({
      title: 'to be vacuumed',
      table: REFRESH_TOKENS,
      keepsDeadTuples: true,
      fill: async (client) => {
        await fillTokens(client, { rows: 2 * rows, deadShare: 0.5, indexed: true });
        await client.query('vacuum');
        await client.query(`delete from refresh_tokens where ${REFRESH_TOKENS.dead}`);
      },
    });
    const durationsMs = new Map<string, number[]>();
    const vacuums = await play(bench, deleted, 'a vacuum', {
      contenders: [NOBODY, ...vacuumsOf(durationsMs)],
      rate: scale.serviceRate,
    });
    await laboratory.discard(deleted);
    return {
      partitions,
      vacuums,
      vacuumMs: Object.fromEntries([...durationsMs].map(([name, values]) => [name, median(values)])),
    };
  },

  show: ({ partitions, vacuums, vacuumMs }, { rows, capMs }) => [
    {
      title: `A dead partition of ${count(rows)} rows, beside a live one`,
      head: ['', 'time', 'of one DELETE', 'log written'],
      rows: partitions.map((standing) => [
        standing.contender,
        timeOf(standing, capMs),
        times(standing.medianMs / (partitions[0]?.medianMs ?? Number.NaN)),
        megabytes(median(standing.turns.map(({ walBytes }) => walBytes))),
      ]),
    },
    {
      title:
        `What a token service feels of the vacuum after ${count(rows)} of ${count(2 * rows)} rows were deleted: ` +
        `${count(vacuums.operationsPerSecond)} operations a second`,
      head: ['beside', 'vacuum took', ...LATENCIES],
      rows: vacuums.felt.map((its) => [
        its.contender,
        its.name === NOBODY.name ? '' : its.name in vacuumMs ? duration(vacuumMs[its.name] ?? Number.NaN) : 'not done',
        ...latenciesOf(its),
      ]),
    },
  ],
};

/** @param durationsMs receives, by the name of the contender, how long its vacuums took */
function vacuumsOf(durationsMs: Map<string, number[]>): Contender[] {
  const timed = async (name: string, work: () => Promise<unknown>) => {
    const startedAt = performance.now();
    await work();
    durationsMs.set(name, [...(durationsMs.get(name) ?? []), performance.now() - startedAt]);
  };
  const plain: Contender = {
    name: 'VACUUM',
    detail: 'by hand, at full speed',
    run: onConnection((client) =>
      timed(plain.name, () => client.query('vacuum (index_cleanup on, truncate off) refresh_tokens')),
    ),
  };
  const paced: Contender = {
    name: 'this project',
    detail: '"vacuum": true',
    ours: true,
    run: async ({ url, signal }) => {
      const context = { clock: systemClock, stop: signal, abandon: signal, onRetry: () => {} };
      const session = new Session(connectionTo(url), context);
      try {
        const { rows } = await session.query<{ oid: number }>(
          `select 'public.refresh_tokens'::regclass::oid::int as oid`,
        );
        const relations = [{ oid: rows[0]?.oid ?? 0, quotedName: 'public.refresh_tokens' }];
        await timed(paced.name, async () => {
          const reason = await vacuum(session, relations, systemClock, () => LONGEST_VACUUM_MS);
          if (reason !== undefined) {
            throw new Error(reason);
          }
        });
      } catch (error) {
        if (!signal.aborted) {
          throw error;
        }
      } finally {
        await session.close();
      }
      return undefined;
    },
  };
  return [plain, paced];
}

const LONGEST_VACUUM_MS = 600_000;
