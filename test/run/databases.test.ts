import type { RunRequest } from '../../lambda/configuration/event';
import type { NamePattern } from '../../lambda/configuration/name-pattern';
import { useDatabase } from '../support/database';
import { queryIn } from '../support/postgres';

const database = useDatabase();

const NAMES = ['tenant_a', 'tenant_b', 'tenant_c', 'tenant_demo'];
/** The rows of each before a run. */
const ALL = [1, 2, 3];

/** Runs a statement in another database of the server. */
const sqlIn = (name: string, text: string) => queryIn(database.server, name, text);

beforeEach(async () => {
  for (const name of NAMES) {
    await database.sql(`drop database if exists ${name} with (force)`);
    await database.sql(`create database ${name}`);
    await sqlIn(name, 'create table refresh_tokens (id int, revoked bool, expires_at timestamptz)');
    await sqlIn(
      name,
      `insert into refresh_tokens values (1, true, null), (2, false, now() - interval '1s'), (3, false, null)`,
    );
  }
});

const run = (request: RunRequest = {}, databases: NamePattern = { like: ['tenant_*'], except: ['tenant_demo'] }) =>
  database.service({ databases }).run(request);

const survivors = () => Promise.all(NAMES.map((name) => sqlIn(name, 'select id from refresh_tokens order by id')));

test('sweeps each database that matches, in the order of their names, and no other', async () => {
  const report = await run();
  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 6 });
  expect(report.targets).toMatchObject(NAMES.slice(0, 3).map((name) => ({ database: name, rowsDeleted: 2 })));
  expect(report.targets).toHaveLength(3);
  expect(report).not.toHaveProperty('next');
  expect(await survivors()).toEqual([[3], [3], [3], ALL]);
});

test('sweeps the database that holds the lock of the run, too', async () => {
  const report = await database
    .service({ databases: { like: ['tenant_*'] }, connection: database.connection({ database: 'tenant_b' }) })
    .run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 8 });
  expect(await survivors()).toEqual([[3], [3], [3], [3]]);
});

test('continues behind the database that the event names', async () => {
  const report = await run({ after: 'tenant_a' });
  expect(report.targets.map((target) => target.database)).toEqual(['tenant_b', 'tenant_c']);
  expect(await survivors()).toEqual([ALL, [3], [3], ALL]);
});

test('reports a database that fails, and passes it over', async () => {
  await sqlIn('tenant_b', 'drop table refresh_tokens');
  const report = await run();
  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 4 });
  expect(report.error).toMatch(/^tenant_b: refresh_tokens: table "public"\."refresh_tokens" does not exist/);
  expect(await survivors().catch(() => [])).toEqual([]);
  expect(await sqlIn('tenant_c', 'select id from refresh_tokens')).toEqual([3]);
});

test('reports a name without a pattern whose database does not exist', async () => {
  const report = await run({}, { like: ['tenant_a', 'tenant_x'] });

  expect(report.targets.map(({ database: name, status }) => [name, status])).toEqual([
    ['tenant_a', 'succeeded'],
    ['tenant_x', 'failed'],
  ]);
  expect(report.error).toMatch(/^tenant_x: .*"tenant_x" does not exist/);
});

test('ends behind as many databases as the request allows', async () => {
  const report = await run({ mostDatabases: 2 });

  expect(report).toMatchObject({ status: 'partial', next: 'tenant_b' });
  expect(await survivors()).toEqual([[3], [3], ALL, ALL]);
});

test('deletes nothing in a dry run', async () => {
  const report = await run({ dryRun: true });
  expect(report.targets).toMatchObject(NAMES.slice(0, 3).map((name) => ({ database: name, rowsRemaining: 2 })));
  expect(await survivors()).toEqual([ALL, ALL, ALL, ALL]);
});

test('names the last database that it finished, if it is stopped before the last one', async () => {
  const stop = new AbortController();
  const { logger } = database.atProgress(() => stop.abort());
  const report = await database.service({ databases: { like: ['tenant_*'] }, logger }).run({ signal: stop.signal });
  expect(report).toMatchObject({ status: 'partial', next: 'tenant_a' });
  expect(report.targets.map((target) => target.database)).toEqual(['tenant_a']);
  expect(await survivors()).toEqual([[3], ALL, ALL, ALL]);
});

test('is skipped while another run on the server is at work', async () => {
  const other = await database.connect();
  await other.query('select pg_advisory_lock($1, $2)', [0x746f6b65, 0x6e636c6e]);
  expect(await run()).toMatchObject({ status: 'skipped', rowsDeleted: 0 });
  expect(await survivors()).toEqual([ALL, ALL, ALL, ALL]);
});

test('fails if no database matches', async () => {
  expect(await run({}, { like: ['nobody_*'] })).toMatchObject({
    status: 'failed',
    error: 'DB_NAMES must match at least one database of the server, got {"like":["nobody_*"]}',
  });
});

describe('of databases with odd names or states', () => {
  const ODD_NAMES = ['tenant_"quoted"', 'tenant_Ünïcode 🐘', 'tenant_CAPITAL', "tenant_o'clock", 'tenant_$1; --'];
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

  afterEach(async () => {
    for (const name of ODD_NAMES) {
      await database.sql(`drop database if exists ${quoted(name)} with (force)`);
    }
  });

  test('sweeps each, whatever its name', async () => {
    for (const name of ODD_NAMES) {
      await database.sql(`create database ${quoted(name)} template tenant_a`);
    }
    const report = await run({}, { like: ['tenant_*'], except: NAMES });
    expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2 * ODD_NAMES.length });
    expect(report.targets.map((target) => target.database)).toEqual([...ODD_NAMES].sort());
    for (const name of ODD_NAMES) {
      expect(await sqlIn(name, 'select id from refresh_tokens')).toEqual([3]);
    }
    const rest = await run({ after: 'tenant_CAPITAL' }, { like: ['tenant_*'], except: NAMES });
    expect(rest.targets.map((target) => target.database)).toEqual(["tenant_o'clock", 'tenant_Ünïcode 🐘']);
  });

  test('takes neither a template nor a database that allows no connections', async () => {
    await database.sql('alter database tenant_a is_template true; alter database tenant_b allow_connections false');
    const report = await run();
    await database.sql('alter database tenant_a is_template false; alter database tenant_b allow_connections true');
    expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2 });
    expect(await survivors()).toEqual([ALL, ALL, [3], ALL]);
  });

  test('reports one to which the role may not connect, and sweeps the others', async () => {
    await database.sql('revoke connect on database tenant_b from public');
    const connection = await database.createRole('cleaner', 'pg_write_all_data, pg_read_all_data');
    const report = await database.service({ connection, databases: { like: ['tenant_*'] } }).run();
    expect(report).toMatchObject({
      status: 'failed',
      rowsDeleted: 6,
      error: 'tenant_b: permission denied for database "tenant_b" (SQLSTATE 42501)',
    });
    expect(await survivors()).toEqual([[3], ALL, [3], [3]]);
  });
});

test('passes over a database that is dropped in the meantime', async () => {
  // The deletes leave time for it.
  const pause = `create function pause() returns trigger language plpgsql as 'begin perform pg_sleep(0.1); return old; end'`;
  await sqlIn('tenant_a', pause);
  await sqlIn('tenant_a', 'create trigger pause before delete on refresh_tokens for each row execute function pause()');
  const { logger, happened } = database.atProgress(() => database.sql('drop database tenant_b with (force)'));
  const report = await database.service({ databases: { like: ['tenant_*'] }, logger }).run();
  await happened();
  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 6,
    warnings: ['tenant_b: was dropped during the run'],
  });
  expect(report.targets.map((target) => target.database)).toEqual(['tenant_a', 'tenant_c', 'tenant_demo']);
});

test('reports the rows of a database that is dropped after some were deleted', async () => {
  await sqlIn('tenant_b', 'create table sessions as select true as revoked from generate_series(1, 100000)');
  const deleteWhen = [{ revoked: true as const }];
  let dropped: Promise<unknown> | undefined;
  const report = await database
    .service({
      databases: { like: ['tenant_b*'] },
      targets: ['refresh_tokens', 'sessions'].map((table) => ({ table, deleteWhen })),
      logger: {
        ...database.logger,
        debug: (_, { progress }) => {
          if ((progress as { table?: string } | undefined)?.table === 'sessions') {
            dropped ??= database.sql('drop database tenant_b with (force)');
          }
        },
      },
    })
    .run();
  await dropped;
  expect(report).toMatchObject({
    status: 'failed',
    rowsDeleted: 1,
    targets: [
      { table: 'refresh_tokens', status: 'succeeded', rowsDeleted: 1 },
      { table: 'sessions', status: 'failed', error: expect.stringContaining('tenant_b') },
    ],
  });
});

test('is partial if it is stopped before the first database, and deletes nothing', async () => {
  const report = await run({ signal: AbortSignal.abort() });
  expect(report).toMatchObject({ status: 'partial', rowsDeleted: 0, targets: [] });
  expect(report).not.toHaveProperty('next');
  expect(await run({ signal: AbortSignal.abort(), after: 'tenant_a' })).toMatchObject({
    status: 'partial',
    next: 'tenant_a',
  });
});

test('joins the same mistake in many databases into one line', async () => {
  for (const name of NAMES) {
    await sqlIn(name, 'alter table refresh_tokens drop revoked');
  }
  const report = await run({}, { like: ['tenant_*'] });
  expect(report.error).toBe(
    'tenant_a, tenant_b, tenant_c and 1 more: ' +
      'refresh_tokens: column "revoked" of "public"."refresh_tokens" does not exist',
  );
});
