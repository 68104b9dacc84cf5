import type { Connection } from './connection';

const SHARED_SESSIONS =
  'the address leads to a connection pooler in transaction mode, such as PgBouncer, through which the settings and the ' +
  'lock of a run would reach the sessions of other clients: use the address of the server itself, of a pool in ' +
  'session mode, or of an RDS Proxy';

/** The number of rounds. Poolers hand out the most or the least recently used session, so that one round nearly suffices. */
const ROUNDS = 4;

// The statement releases the lock itself. According to its documentation, RDS Proxy pins a session to its client at this
// function. No other session uses the key.
const PROBE_SQL = `
  select
    pg_catalog.pg_backend_pid() as pid,
    case when pg_catalog.pg_try_advisory_lock(${0x706f6f6c}, pg_catalog.pg_backend_pid())
      then pg_catalog.pg_advisory_unlock(${0x706f6f6c}, pg_catalog.pg_backend_pid())
    end`;

/**
 * Refuses a pooler that lends a session for each transaction. Makes no setting.
 *
 * Two connections either have a session each, or share sessions. RDS Proxy shares sessions too, but pins one to a client
 * that takes an advisory lock, as each run does. So each probe takes a lock, and releases it at once.
 *
 * @param first a connection behind a pooler, recognised by an announced process id that is not the session's
 * @throws Error if it is one, or the error of the second connection
 */
export async function refuseSharedSessions(first: Connection, openAnother: () => Promise<Connection>): Promise<void> {
  const second = await openAnother();
  try {
    const [own, others] = [new Set<number>(), new Set<number>()];
    for (let round = 0; round < ROUNDS; round += 1) {
      // Two probes in a row: if two sessions took turns, each connection would always get the same one.
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
        throw new Error(SHARED_SESSIONS);
      }
    }
  } finally {
    await second.close();
  }
}
