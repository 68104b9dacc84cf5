import { EventEmitter } from 'node:events';
import PgBoss from 'pg-boss';
import type { Contender } from './contenders';
import type { Course } from './laboratory';

/** A cleaner from npm, on tables that it created itself. */
export interface Peer {
  readonly contender: Contender;
  readonly course: (rows: number, deadShare: number) => Course;
}

/** The session store of express; sessions that have expired are pruned every quarter of an hour. */
const connectPgSimple: Peer = {
  contender: {
    name: 'connect-pg-simple',
    detail: 'pruneSessions()',
    run: async ({ url }) => {
      const store = sessionStore(url);
      try {
        await new Promise<void>((done, failed) => store.pruneSessions((error) => (error ? failed(error) : done())));
        return undefined;
      } finally {
        await store.close();
      }
    },
  },
  course: (rows, deadShare) => ({
    title: 'sessions of connect-pg-simple',
    table: {
      name: 'session',
      key: 'sid',
      // The column has no time zone, and the store writes the server's.
      dead: 'expire < now()',
      targets: [{ table: 'session', deleteWhen: [{ expire: { olderThan: '0s' } }] }],
    },
    fill: async (client) => {
      const { host, port, database, user, password } = client;
      const store = sessionStore(`postgres://${user}:${password}@${host}:${port}/${database}`);
      // The first session makes the table.
      await new Promise<void>((done, failed) =>
        store.set('first', { cookie: {} }, (error) => (error ? failed(error) : done())),
      );
      await store.close();
      await client.query('select setseed(0.5)');
      await client.query(
        `insert into session (sid, sess, expire)
         select
           encode(sha256(n::text::bytea), 'base64'),
           json_build_object('cookie', json_build_object('originalMaxAge', 86400000, 'httpOnly', true), 'user', n),
           now() + case when random() < $2::float8 then interval '-1 minute' - random() * interval '30 days'
                        else interval '1 day' + random() * interval '30 days' end
         from generate_series(2, $1::int) as n`,
        [rows, deadShare],
      );
    },
  }),
};

interface SessionStore {
  pruneSessions(done: (error: Error | null) => void): void;
  set(id: string, session: object, done: (error: Error | null) => void): void;
  close(): Promise<void>;
}

function sessionStore(url: string): SessionStore {
  // It brings no types, and needs nothing of express but the class to inherit from.
  const Store = require('connect-pg-simple')({ Store: EventEmitter });
  return new Store({ conString: url, createTableIfMissing: true, pruneSessionInterval: false }) as SessionStore;
}

/** A job queue; what has been in its archive for a week is deleted with every round of maintenance. */
const pgBoss: Peer = {
  contender: {
    name: 'pg-boss',
    detail: 'maintain()',
    run: async ({ url }) => {
      const boss = await startBoss(url);
      try {
        const startedAt = performance.now();
        await boss.maintain();
        return performance.now() - startedAt;
      } finally {
        await boss.stop({ graceful: false, wait: true });
      }
    },
  },
  course: (rows, deadShare) => ({
    title: 'job archive of pg-boss',
    table: {
      name: 'pgboss.archive',
      key: 'id',
      dead: `archived_on < now() - interval '7 days'`,
      targets: [{ schema: 'pgboss', table: 'archive', deleteWhen: [{ archived_on: { olderThan: '7d' } }] }],
    },
    fill: async (client) => {
      const { host, port, database, user, password } = client;
      const boss = await startBoss(`postgres://${user}:${password}@${host}:${port}/${database}`);
      await boss.stop({ graceful: false, wait: true });
      await client.query('select setseed(0.5)');
      await client.query(
        `insert into pgboss.archive (
           id, name, data, state, priority, retry_limit, retry_count, retry_delay, retry_backoff, expire_in,
           start_after, created_on, completed_on, keep_until, archived_on
         )
         select
           gen_random_uuid(), 'mail', jsonb_build_object('user', n), 'completed', 0, 2, 0, 0, false, '15 minutes',
           at, at, at, at + interval '14 days', at
         from generate_series(1, $1::int) as n
         cross join lateral (
           select now() + 0 * n * interval '1 day' - case
             when random() < $2::float8 then interval '8 days' + random() * interval '30 days'
             else random() * interval '6 days'
           end
         ) as past (at)`,
        [rows, deadShare],
      );
    },
  }),
};

async function startBoss(url: string): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false, max: 2 });
  boss.on('error', () => {});
  await boss.start();
  return boss;
}

export const PEERS: readonly Peer[] = [connectPgSimple, pgBoss];
