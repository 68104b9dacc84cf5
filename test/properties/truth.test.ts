import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { useDatabase } from '../support/database';
import { TcpProxy } from '../support/tcp-proxy';

/** How many random runs; a hundred of them are `TRUTH_RUNS=100 npx jest test/properties/truth.test.ts`. */
const RUNS = Number(process.env.TRUTH_RUNS ?? 10);

// Commits without a waiting client stay in memory, so that a crash undoes some.
const database = useDatabase({ wal_writer_delay: '10s' });

const fault = fc.record({
  atMs: fc.oneof(fc.integer({ min: 0, max: 150 }), fc.integer({ min: 0, max: 1_200 })),
  kind: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('terminate', 'reset', 'cut', 'lock') },
    { weight: 1, arbitrary: fc.constant('crash') },
  ),
});

const scenario = fc.record({
  faults: fc.oneof(
    { weight: 2, arbitrary: fc.array(fault, { minLength: 1, maxLength: 4 }) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ atMs: fault.map(({ atMs }) => atMs), kind: fc.constant('lock') }), {
        maxLength: 3,
      }),
    },
  ),
  dead: fc.integer({ min: 300, max: 1_000 }),
  concurrency: fc.integer({ min: 1, max: 3 }),
  /** Whether a trigger gives the faults their time, or long rests do. */
  dawdles: fc.boolean(),
});

async function strike(kind: string, proxy: TcpProxy): Promise<void> {
  const client = await database.connect();
  switch (kind) {
    case 'terminate':
      await client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'token-cleanup'`,
      );
      return;
    case 'reset':
      return proxy.reset();
    case 'cut':
      return proxy.cut();
    case 'crash':
      await database.server.stop('SIGKILL');
      return await database.server.start();
    default:
      await client.query('begin; select from refresh_tokens where id % 97 = 0 for update');
      await delay(400);
      await client.query('commit');
  }
}

test(
  'never counts more rows than are gone, nor fewer unless a connection was lost, and knows how many remain',
  async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async ({ faults, dead, concurrency, dawdles }) => {
        // Dead and alive in turn.
        await database.sql(`
          drop table if exists refresh_tokens, alive;
          drop function if exists dawdle;
          create table refresh_tokens (id int, revoked boolean, expires_at timestamptz, filler text);
          insert into refresh_tokens
          select id, id % 4 = 0, now() + case when id % 4 = 2 then '-1 day' else '1 day' end::interval, repeat('x', 900)
          from generate_series(1, ${2 * dead}) as id;
          create table alive as select * from refresh_tokens where id % 2 = 1`);
        if (dawdles) {
          await database.slowDown('refresh_tokens', 0.001);
        }
        const proxy = await TcpProxy.start(database.server.host, database.server.port);
        const connection = database.connection({ port: proxy.port });
        let running = true;
        let connectionsLost = false;
        // One after the other, since a server that is down cannot be killed.
        const struck = (async () => {
          let now = 0;
          for (const { atMs, kind } of [...faults].sort((one, other) => one.atMs - other.atMs)) {
            await delay(Math.max(0, atMs - now));
            now = Math.max(now, atMs);
            if (running) {
              connectionsLost ||= kind !== 'lock';
              await strike(kind, proxy);
            }
          }
        })();

        const report = await database.service({ connection }).run({ concurrency, maxLoad: dawdles ? 1 : 0.05 });
        running = false;
        await struck;
        await database.disconnect();
        await proxy.stop();

        const counted = await database.sql<{ left: number }>(
          `select count(*)::int as left from refresh_tokens where revoked or expires_at < $1`,
          [report.cutoff],
        );
        const left = counted[0]?.left ?? Number.NaN;
        expect(report.error).toBeUndefined();
        expect(report.rowsDeleted).toBeLessThanOrEqual(dead - left);
        if (!connectionsLost) {
          expect(report.rowsDeleted).toBe(dead - left);
        }
        expect(report.targets).toMatchObject([{ rowsRemaining: left }]);
        expect(await database.sql('table alive except table refresh_tokens')).toEqual([]);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  RUNS * 10_000 + 20_000,
);
