import { existsSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/eventually';
import { useFaultyRuns } from '../../support/faulty-run';
import { POSTGRES_VERSION } from '../../support/postgres';

/** A disk that is full, for the log or for the tables. */

const faults = useFaultyRuns();
const { database } = faults;

/** Linux's own full disk: every write fails with ENOSPC, and it needs no privilege. */
const FULL_DISK = '/dev/full';
const testOnFullDisk = existsSync(FULL_DISK) ? test : test.skip;
/** A server of version 14 does not meet the end of the disk in this way as it recovers. */
const testOnFullLog = POSTGRES_VERSION >= 18 ? testOnFullDisk : test.skip;

testOnFullLog(
  'comes to a good end when the disk of the log is full and the server down with it for a while',
  async () => {
    const report = await faults.run({
      strike: async () => {
        const log = await fillDiskOfLog();
        // The server comes down by this, not by the run: that is elsewhere for the moment.
        await faults.terminateSweep();
        await database.sql(`select pg_switch_wal(); select pg_logical_emit_message(true, '', '')`).catch(() => {});
        await eventually(() => /end-of-recovery.*PANIC: .*No space left on device/s.test(database.server.log)).finally(
          log.back,
        );
        await untilUp();
      },
    });

    await faults.expectGoodEnd(report);
  },
);

testOnFullLog('fails and says why when the disk of the log is full for good', async () => {
  let log: Awaited<ReturnType<typeof fillDiskOfLog>> | undefined;
  const report = await faults
    .run({
      reconnectTimeoutMs: 1_000,
      strike: async () => {
        log = await fillDiskOfLog();
        await database.sql('select pg_switch_wal()').catch(() => {});
        await eventually(() => /PANIC: .*No space left on device/.test(database.server.log));
      },
    })
    .finally(() => log?.back());
  await untilUp();

  // Either it was the run that met the end of the disk, or the run met a server that had.
  expect(report).toMatchObject({
    status: 'failed',
    error: expect.stringMatching(
      /^refresh_tokens: .*(No space left on device \(SQLSTATE 53100\)|57P0|ECONN|terminated)/,
    ),
  });
  await faults.expectNoHarm(report);
});

testOnFullDisk('fails and says why when the disk is full on which a trigger writes (53100)', async () => {
  await database.sql('create table audit (id int); grant insert on audit to purger');
  const [{ file = '' } = {}] = await database.sql<{ file: string }>(`select pg_relation_filepath('audit') as file`);
  await faults.trigger('insert into audit values (old.id)');
  const audit = moveToFullDisk(file);
  const report = await faults.run().finally(audit.back);

  expect(report).toMatchObject({
    status: 'failed',
    error: expect.stringMatching(/^refresh_tokens: an error in a function \(SQLSTATE 53100; .*\)$/),
  });
  expect(database.server.log).toMatch(/could not extend file.*No space left on device/);
  // With space again, the trigger is no trouble.
  await faults.expectNoHarm(report);
});

/** Puts a file of the server on the full disk. */
function moveToFullDisk(file: string): { readonly back: () => void } {
  const path = join(database.server.dataDirectory, file);
  const aside = `${path}.aside`;
  const existed = existsSync(path);
  if (existed) {
    renameSync(path, aside);
  }
  symlinkSync(FULL_DISK, path);
  return {
    back: () => {
      rmSync(path);
      if (existed) {
        renameSync(aside, path);
      }
    },
  };
}

/** The server can write to its log up to the end of the file that it writes to now, and no further. */
async function fillDiskOfLog(): Promise<ReturnType<typeof moveToFullDisk>> {
  const [{ next = '' } = {}] = await database.sql<{ next: string }>(
    `select pg_walfile_name(pg_current_wal_lsn() + pg_size_bytes(current_setting('wal_segment_size'))) as next`,
  );
  return moveToFullDisk(join('pg_wal', next));
}

/** Waits until the server takes connections again by itself. */
async function untilUp(): Promise<void> {
  await database.disconnect();
  await eventually(() =>
    database.connect().then(
      () => true,
      () => false,
    ),
  );
}
