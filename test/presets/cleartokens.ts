/** `manage.py cleartokens` of Django OAuth Toolkit beside the preset. Run by `npm run test:django`, which needs Python. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PythonEnvironment } from '../deploy/python';
import { useDatabase } from '../support/database';
import { ROWS, TABLES } from './oauth-toolkit';
import { ROW_SOURCES } from './system';

const database = useDatabase();

// The packages are installed, and every command of Django starts a process.
jest.setTimeout(300_000);

const NAMES = ['refreshtoken', 'accesstoken', 'idtoken', 'grant'].map((name) => `oauth2_provider_${name}`);

let python: string;

beforeAll(async () => {
  ({ python } = await PythonEnvironment.of('../presets/requirements-django.txt'));
});

async function manage(command: string): Promise<void> {
  await promisify(execFile)(python, [join(__dirname, 'django_project.py'), command], {
    env: { ...process.env, ...database.environment },
  });
}

/** The tables of the system's own migrations, with defaults for the columns that no rule reads. */
async function migrate(): Promise<void> {
  await manage('migrate');
  await database.sql(ROW_SOURCES);
  await database.sql(`
    do $$ declare col record; begin
      for col in
        select attrelid::regclass as tab, attname as name, format_type(atttypid, null) as type
        from pg_attribute join pg_class on pg_class.oid = attrelid
        where relkind = 'r' and relnamespace = 'public'::regnamespace and attnum > 0 and attnotnull and not attisdropped
          and attidentity = '' and not atthasdef
      loop
        execute format('alter table %s alter %I set default %s', col.tab, col.name, case
          when col.type = 'jsonb' then '''[]''' when col.type = 'uuid' then 'gen_random_uuid()'
          when col.type in ('integer', 'bigint') then '1' when col.type = 'boolean' then 'false'
          when col.type like 'timestamp%' then 'now()' when col.name in ('code', 'token_checksum') then 'gen_random_uuid()'
          else '''''' end);
      end loop;
    end $$;
    insert into auth_user (id) overriding system value values (1);
    insert into oauth2_provider_application (id) overriding system value values (1)`);
}

async function survivors(): Promise<Record<string, number[]>> {
  const ids: Record<string, number[]> = {};
  for (const name of NAMES) {
    ids[name] = await database.column<number>(`select id::int from ${name}`);
  }
  return ids;
}

function run() {
  return database.service({ targets: [{ preset: 'django-oauth-toolkit', refreshTokenExpire: '14d' }] }).run();
}

test('django-oauth-toolkit leaves the rows that cleartokens leaves, and no row is in the way', async () => {
  await migrate();
  await database.sql(ROWS);
  const before = await survivors();
  await manage('cleartokens');
  const cleared = await survivors();
  await database.disconnect();
  await database.create();
  await migrate();
  await database.sql(ROWS);

  const report = await run();

  expect(report.targets).toEqual(
    NAMES.map((table) =>
      expect.objectContaining({ table, status: 'succeeded', stopReason: 'drained', rowsRemaining: 0 }),
    ),
  );
  expect(await survivors()).toEqual(cleared);
  for (const name of NAMES) {
    expect(cleared[name]?.length).toBeGreaterThan(0);
    expect(cleared[name]?.length).toBeLessThan(before[name]?.length ?? 0);
  }
});

test('keeps a revoked refresh token that cleartokens deletes, until the access token made from it is gone', async () => {
  await migrate();
  // Session 1 is in use; session 2 has been dormant for longer than refresh tokens live.
  await database.sql(`
    insert into oauth2_provider_refreshtoken (id, revoked) values (1, now() - interval '1 day'), (2, now() - interval '1 day');
    insert into oauth2_provider_accesstoken (id, expires, source_refresh_token_id) values
      (1, now() + interval '1 hour', 1), (2, now() - interval '20 days', 2);
    insert into oauth2_provider_refreshtoken (id, access_token_id) values (11, 1), (12, 2)`);

  const reports = [await run(), await run()];

  expect(reports.map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);
  expect(await survivors()).toMatchObject({ oauth2_provider_refreshtoken: [1, 11], oauth2_provider_accesstoken: [1] });
  await manage('cleartokens');
  expect(await survivors()).toMatchObject({ oauth2_provider_refreshtoken: [11], oauth2_provider_accesstoken: [1] });
});

test('the tables of the other tests have the columns, types and keys that the migrations make', async () => {
  await database.sql(TABLES);
  const imitated = await description();
  await database.disconnect();
  await database.create();
  await manage('migrate');
  const real = await description();

  expect(imitated.columns).toEqual(real.columns.filter((column) => imitated.columns.includes(column)));
  expect(imitated.keys).toEqual(real.keys);
});

/** Columns with their types, and the foreign keys among the tables, as text. */
async function description(): Promise<{ readonly columns: readonly string[]; readonly keys: readonly string[] }> {
  const listed = NAMES.map((name) => `'${name}'::regclass`).join(', ');
  const columns = await database.column<string>(`
    select attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod)
    from pg_attribute where attrelid in (${listed}) and attnum > 0`);
  const keys = await database.column<string>(`
    select conrelid::regclass || ' ' || pg_get_constraintdef(oid)
    from pg_constraint where contype = 'f' and conrelid in (${listed}) and confrelid in (${listed})`);
  return { columns, keys };
}
