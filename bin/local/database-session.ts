import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { systemClock } from '../../lambda/clock';
import type { Queryable } from '../../lambda/database/queryable';
import { fixedCredentials, Session } from '../../lambda/database/session';
import { type Database, NO_PASSWORD } from './database-url';

/**
 * Works on a connection of this process, as the function does on its own: with the same checks and settings.
 *
 * @param interrupt cuts the connection off
 * @throws the reason of `interrupt` if it is aborted, otherwise the first error
 */
export async function withSession<T>(
  { host, port, name, user, password = NO_PASSWORD, sslMode, rootCertificateFile }: Database,
  interrupt: AbortSignal,
  work: (session: Queryable) => Promise<T>,
): Promise<T> {
  const authorities = rootCertificateFile ? [readFileSync(rootCertificateFile, 'utf8')] : [];
  const session = new Session(
    {
      credentials: fixedCredentials({ host, port, database: name, user, password }),
      trustedCertificates: sslMode === 'verify-full' && [...rootCertificates, ...authorities],
      reconnectTimeoutMs: 0, // a person is waiting, and may have mistyped the host
    },
    { clock: systemClock, stop: interrupt, abandon: interrupt, onRetry: () => {} },
  );
  try {
    await session.open();
    return await work(session);
  } catch (error) {
    interrupt.throwIfAborted();
    throw error;
  } finally {
    await session.close();
  }
}
