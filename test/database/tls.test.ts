import { chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { generate } from 'selfsigned';
import { useDatabase } from '../support/database';

const database = useDatabase();

interface Pem {
  readonly cert: string;
  readonly private: string;
}

function authority(): Promise<Pem> {
  return generate([{ name: 'commonName', value: 'Test Authority' }], {
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, critical: true },
    ],
  });
}

/** A certificate for localhost by name, which 127.0.0.1 is not. */
function certificate(ca: Pem, notAfterDate = new Date(Date.now() + 86_400_000)): Promise<Pem> {
  return generate([{ name: 'commonName', value: 'localhost' }], {
    algorithm: 'sha256',
    ca: { key: ca.private, cert: ca.cert },
    notBeforeDate: new Date(notAfterDate.getTime() - 2 * 86_400_000),
    notAfterDate,
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  });
}

async function serve({ cert, private: key }: Pem): Promise<void> {
  const { dataDirectory } = database.server;
  const { uid, gid } = statSync(dataDirectory);
  for (const [name, text] of Object.entries({ 'server.crt': cert, 'server.key': key })) {
    const file = join(dataDirectory, name);
    writeFileSync(file, text, { mode: 0o600 });
    chownSync(file, uid, gid);
  }
  await database.sql('alter system set ssl = on');
  await database.sql('select pg_reload_conf()');
  await database.until(`select setting = 'on' from pg_settings where name = 'ssl'`);
}

async function run(host: string, trusted: readonly string[]) {
  await database.sql('create table if not exists refresh_tokens (revoked boolean, expires_at timestamptz)');
  const connection = { ...database.connection({ host }), trustedCertificates: trusted };
  return await database.service({ connection }).run();
}

test('connects to a server whose certificate an authority vouches for that is trusted besides those of Node.js', async () => {
  const ca = await authority();
  await serve(await certificate(ca));

  expect(await run('localhost', [...rootCertificates, ca.cert])).toMatchObject({ status: 'succeeded' });
});

test('refuses a server at once of which the certificate is not to be trusted', async () => {
  const ca = await authority();
  await serve(await certificate(ca));

  expect(await run('localhost', rootCertificates)).toMatchObject({
    status: 'failed',
    error: expect.stringMatching(/unable to verify the first certificate|unable to get local issuer certificate/),
  });
  expect(await run('localhost', [(await authority()).cert])).toMatchObject({ status: 'failed' });
  expect(await run('127.0.0.1', [ca.cert])).toMatchObject({
    status: 'failed',
    error: expect.stringContaining("does not match certificate's altnames"),
  });

  await serve(await certificate(ca, new Date(Date.now() - 86_400_000)));
  expect(await run('localhost', [ca.cert])).toMatchObject({ status: 'failed', error: 'certificate has expired' });
  // A failure of trust is no outage that passes.
  expect(database.logs.filter(({ message }) => message.includes('trying again'))).toEqual([]);
});
