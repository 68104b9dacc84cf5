import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { systemClock } from '../../lambda/clock';
import { describeError } from '../../lambda/database/database-error';
import type { Queryable } from '../../lambda/database/queryable';
import { fixedCredentials, Session } from '../../lambda/database/session';
import { type Database, NO_PASSWORD, withPasswordHint } from './database-url';

/**
 * Works on a connection of this process, as the function does on its own: with the same checks and settings.
 *
 * @param interrupt cuts the connection off
 * @throws the reason of `interrupt` if it is aborted, otherwise the first error, described
 */
export async function withSession<T>(
  database: Database,
  interrupt: AbortSignal,
  work: (session: Queryable) => Promise<T>,
): Promise<T> {
  const { host, port, name, user, password = NO_PASSWORD, sslMode, rootCertificateFile } = database;
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
    throw new Error(withPasswordHint(describeError(error), database), { cause: error });
  } finally {
    await session.close();
  }
}
