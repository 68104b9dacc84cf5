import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { eventually } from '../../support/eventually';
import { DEAD, GRANTS, PURGER, type Trouble, useFaultyRuns } from '../../support/faulty-run';

/** Faults of the server and of the table. */

const faults = useFaultyRuns();
const { database } = faults;

test.each<[string, () => Promise<unknown>]>([
  [
    'its backends are terminated again and again',
    async () => {
      for (let times = 0; times < 10; times += 1) {
        await faults.terminateSweep();
        await delay(60);
      }
    },
  ],
  ['the server is killed and started again', () => faults.restart('SIGKILL')],
  ['the server is restarted in order', () => faults.restart('SIGINT')],
  [
    'the server is read-only for a while (25006)',
    async () => {
      await reconnecting(() => setReadOnly('on'));
      await delay(500);
      await setReadOnly('off');
    },
  ],
  [
    'there are too many connections for a while (53300)',
    async () => {
      await reconnecting(() => limitConnections(0));
      await delay(500);
      await limitConnections(-1);
    },
  ],
  ['a migration holds the whole table for a while', () => holdTable(500)],
  ['the table is rewritten by VACUUM FULL', () => database.sql('vacuum full refresh_tokens')],
  [
    'the table is truncated and filled again',
    () => database.sql('begin; truncate refresh_tokens; insert into refresh_tokens table alive; commit'),
  ],
])('comes to a good end when %s in mid-run', async (_, strike) => {
  await faults.expectGoodEnd(await faults.run({ strike }));
});

test('comes to a good end when the service takes all connections of the server for a while (53300)', async () => {
  await faults.slowDown();
  const service: Client[] = [];
  const report = await faults.run({
    maxLoad: 0.5,
    strike: async () => {
      await crowdOut(service);
      await Promise.all(service.map((client) => client.end()));
    },
  });

  await faults.expectGoodEnd(report);
});

test.each<[string, Trouble, RegExp]>([
  [
    'the password is wrong for good',
    { before: () => setPassword('changed'), after: () => setPassword('right') },
    /^the server refused the credentials \(SQLSTATE 28P01\)$/,
  ],
  [
    'the password is changed in mid-run and nobody tells',
    { strike: () => reconnecting(() => setPassword('changed')), after: () => setPassword('right') },
    /^refresh_tokens: the server refused the credentials \(SQLSTATE 28P01\)$/,
  ],
  [
    'the server is killed in mid-run and stays down',
    { strike: () => database.server.stop('SIGKILL'), after: () => faults.restart('SIGINT') },
    /^refresh_tokens: .*(ECONNRESET|Connection terminated unexpectedly)/,
  ],
  [
    'the server becomes read-only in mid-run and stays so (25006)',
    { strike: () => reconnecting(() => setReadOnly('on')), after: () => setReadOnly('off') },
    /^refresh_tokens: cannot execute DELETE in a read-only transaction \(SQLSTATE 25006\)$/,
  ],
  [
    'there are too many connections from mid-run on (53300)',
    { strike: () => reconnecting(() => limitConnections(0)), after: () => limitConnections(-1) },
    /^refresh_tokens: too many connections \(SQLSTATE 53300\)$/,
  ],
  [
    'a trigger says that the disk is full (53100)',
    {
      before: () => faults.trigger(`raise exception 'no space left' using errcode = '53100'`),
      after: () => faults.dropTrigger(),
    },
    /SQLSTATE 53100/,
  ],
  [
    'the temporary files reach their limit (53400)',
    {
      before: async () => {
        await faults.trigger('perform from generate_series(1, 100000)');
        await database.sql(`alter role purger set temp_file_limit = '512kB'; alter role purger set work_mem = '64kB'`);
      },
      after: async () => {
        await faults.dropTrigger();
        await database.sql('alter role purger reset all');
      },
    },
    /^refresh_tokens: an error in a function \(SQLSTATE 53400; .*\)$/,
  ],
  [
    'a column of the rules is dropped in mid-run',
    {
      strike: () => database.sql('alter table refresh_tokens drop column used'),
      after: () => database.sql(`alter table refresh_tokens add column used boolean default false; ${GRANTS}`),
    },
    /^refresh_tokens: column "used" does not exist \(SQLSTATE 42703\)$/,
  ],
  [
    'the table is renamed in mid-run',
    {
      strike: () => database.sql('alter table refresh_tokens rename to elsewhere'),
      after: () => database.sql('alter table elsewhere rename to refresh_tokens'),
    },
    /^refresh_tokens: "public"\."refresh_tokens" was replaced or dropped during the sweep$/,
  ],
  [
    'its privileges are revoked in mid-run',
    { strike: () => database.sql('revoke all on refresh_tokens from purger'), after: () => database.sql(GRANTS) },
    /^refresh_tokens: permission denied for table refresh_tokens \(SQLSTATE 42501\)$/,
  ],
])('fails with a reason when %s', async (_, { before, strike, after }, error) => {
  await before?.();
  const report = await faults.run({ ...(strike && { strike }), reconnectTimeoutMs: 1_000 });
  await after?.();

  expect(report).toMatchObject({ status: 'failed', error: expect.stringMatching(error) });
  await faults.expectNoHarm(report);
});

test('does not try a refused password again, on any of its connections', async () => {
  await setPassword('changed');
  expect(await faults.run({ concurrency: 4 })).toMatchObject({ status: 'failed' });
  expect(faults.proxy.connections).toBe(1);

  await setPassword('right');
  const strike = async () => {
    faults.proxy.connections = 0;
    await reconnecting(() => setPassword('changed'));
  };
  expect(await faults.run({ concurrency: 4, strike })).toMatchObject({ status: 'failed' });
  // Each of them once, and the first once more to confirm what was deleted.
  expect(faults.proxy.connections).toBeLessThanOrEqual(5);
});

test('waits for a migration that holds the whole table as the run begins', async () => {
  const migration = holdTable(1_500);
  await database.until(`select count(*) > 0 from pg_locks where mode = 'AccessExclusiveLock' and granted`);
  const report = await faults.run({ maxLoad: 1 });
  await migration;

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: DEAD });
  await faults.expectNoHarm(report);
});

test('waits for a migration that holds the whole table as the count begins', async () => {
  await database.sql(`
    create function announce() returns trigger language plpgsql as $$ begin notify last_row; return null; end $$;
    create trigger announce after delete on refresh_tokens for each row when (old.id = ${2 * DEAD})
    execute function announce()`);
  const migration = await database.connect();
  await migration.query('listen last_row');
  const held = new Promise<void>((resolve, reject) => {
    migration.once('notification', () => {
      migration
        .query('begin; lock table refresh_tokens in access exclusive mode; select pg_sleep(1.5); commit')
        .then(() => resolve(), reject);
    });
  });
  const report = await faults.run({ concurrency: 1 });
  await held;

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: DEAD });
  await faults.expectNoHarm(report);
});

test('reports the truth about the remaining rows when another table takes the name of the first in mid-run', async () => {
  const report = await faults.run({
    strike: () =>
      database.sql(`
        begin;
        alter table refresh_tokens rename to old;
        create table refresh_tokens as select * from old;
        drop table old;
        ${GRANTS};
        commit`),
  });

  await faults.expectNoHarm(report);
});

/** Changes something, and has the run connect again after that. */
async function reconnecting(change: () => Promise<unknown>): Promise<void> {
  await change();
  await faults.terminateSweep();
}

const setPassword = (password: string) => database.sql(`alter role purger password '${password}'`);

const limitConnections = (number: number) => database.sql(`alter role purger connection limit ${number}`);

async function setReadOnly(value: 'on' | 'off'): Promise<void> {
  await database.sql(`
    do $$ begin
      execute format('alter database %I set default_transaction_read_only = ${value}', current_database());
    end $$`);
}

/** Takes every connection that the server has for roles like the service's, as a service that grows its pool would. */
async function takeAllConnections(service: Client[]): Promise<void> {
  while (true) {
    const client = new Client({ ...database.login(PURGER), application_name: 'service' });
    client.on('error', () => {});
    try {
      await client.connect();
      service.push(client);
    } catch (error) {
      expect(error).toMatchObject({ code: '53300' });
      return;
    }
  }
}

/** Ends the connections of a run again and again until it has found none to take in their place. */
async function crowdOut(service: Client[]): Promise<void> {
  await eventually(async () => {
    await takeAllConnections(service);
    await faults.terminateSweep();
    await takeAllConnections(service);
    return database.logs.some(({ details }) => String(details.reason).includes('53300'));
  });
}

async function holdTable(ms: number): Promise<void> {
  const migration = await database.connect();
  await migration.query('begin; lock table refresh_tokens in access exclusive mode');
  await delay(ms);
  await migration.query('commit');
}
