import type { Connection } from './connection';

/** Refuses a server address for the pooler behind it. */
export class PoolerError extends Error {
  override readonly name = 'PoolerError';

  constructor() {
    super(
      'the address leads to a connection pooler in transaction mode, such as PgBouncer, through which the settings and the ' +
        'lock of a run would reach the sessions of other clients: use the address of the server itself, of a pool in ' +
        'session mode, or of an RDS Proxy',
    );
  }
}

/** How often each connection is asked. A free session that is the first or the last of those to be handed out shows at once. */
const ROUNDS = 4;

// The lock is gone when the statement ends. The documentation of RDS Proxy names this function among those that make it
// keep a session for its client. The key is one that no other session uses.
const PROBE_SQL = `
  select
    pg_catalog.pg_backend_pid() as pid,
    case when pg_catalog.pg_try_advisory_lock(${0x706f6f6c}, pg_catalog.pg_backend_pid())
      then pg_catalog.pg_advisory_unlock(${0x706f6f6c}, pg_catalog.pg_backend_pid())
    end`;

/**
 * Refuses a pooler that lends its sessions for a transaction at a time. Makes no setting.
 *
 * Either each of two connections has a session to itself, or both are lent the same ones. RDS Proxy lends sessions too, but
 * keeps one for a client that takes an advisory lock, as each run does. So each probe takes one, and releases it at once.
 *
 * @param first a connection behind a pooler, which shows by a process id that is not the session's
 * @throws PoolerError, or the error of the second connection
 */
export async function refuseSharedSessions(first: Connection, openAnother: () => Promise<Connection>): Promise<void> {
  const second = await openAnother();
  try {
    const [own, others] = [new Set<number>(), new Set<number>()];
    for (let round = 0; round < ROUNDS; round += 1) {
      // Twice in a row each, since a ring of two sessions would give each connection the same one in turn.
      for (const [connection, pids] of [
        [first, own],
        [first, own],
        [second, others],
        [second, others],
      ] as const) {
        const { pid } = await connection.probe<{ pid: number }>(PROBE_SQL);
        pids.add(pid);
      }
      if (own.size > 1 || others.size > 1 || [...own].some((pid) => others.has(pid))) {
        throw new PoolerError();
      }
    }
  } finally {
    await second.close();
  }
}
