import { chmodSync, cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { POSTGRES_VERSION, startPostgres } from './postgres';

/** Starts a streaming replica of a server from a base backup. */
export async function startReplica(
  primary: EmbeddedPostgres,
  settings: Readonly<Record<string, string | number>> = {},
): Promise<EmbeddedPostgres> {
  return await startPostgres({
    settings: {
      fsync: 'off',
      primary_conninfo: conninfo(primary),
      wal_receiver_status_interval: '1s',
      ...settings,
    },
    initialize: async (dataDirectory) => {
      const client = new Client(primary.url());
      await client.connect();
      await client.query(`select ${startBackup}`);
      cpSync(primary.dataDirectory, dataDirectory, { recursive: true });
      chmodSync(dataDirectory, 0o700); // since version 22 of Node.js the copy has the default mode
      const { rows } = await client.query(`select labelfile from ${stopBackup}`);
      await client.end();
      rmSync(join(dataDirectory, 'postmaster.pid'));
      writeFileSync(join(dataDirectory, 'backup_label'), rows[0].labelfile);
      writeFileSync(join(dataDirectory, 'standby.signal'), '');
    },
  });
}

// Renamed in 15, which removed exclusive backups.
const [startBackup, stopBackup] =
  POSTGRES_VERSION >= 15
    ? [`pg_backup_start('replica', true)`, 'pg_backup_stop(false)']
    : [`pg_start_backup('replica', true, false)`, 'pg_stop_backup(false)'];

/** How a replica connects to the primary, or to what stands before it. */
export function conninfo({ host, port, password }: EmbeddedPostgres, overPort = port): string {
  return `host=${host} port=${overPort} user=${EmbeddedPostgres.superuser} password=${password}`;
}
