import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TargetsInput } from '../../lambda/configuration/targets';
import { useDatabase } from '../support/database';

// Whoever may create functions, operators and types in a schema on the search_path of a role can have them called in place
// of those of the server: by a better match of the arguments, or by a path with the schema in front of pg_catalog.

const database = useDatabase();

const LOGIN = { user: 'cleaner', password: 'cleaner' };

const TARGETS: TargetsInput = [
  {
    table: 'refresh_tokens',
    deleteWhen: [{ revoked: true, used_at: { olderThan: '1d' } }, { expires_at: { olderThan: '0s' } }],
  },
  { table: 'access_tokens', deleteWhen: [{ old: true, session_id: { refersTo: { ended: true } } }] },
  { table: 'sessions', deleteWhen: [{ ended: true }], unlessReferredToBy: ['access_tokens'] },
];

const TYPES = [
  'name',
  'text',
  'varchar',
  'oid',
  'int2',
  'int4',
  'int8',
  'float8',
  'numeric',
  'bool',
  'tid',
  'timestamptz',
];
const OPERATORS = ['=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '&', '->', '->>', '@>', '<@'];

beforeEach(async () => {
  await database.sql(`
    do $$ begin
      create role attacker;
      create role cleaner login password 'cleaner';
    exception when duplicate_object then -- roles belong to the server
    end $$;
    create schema app;
    create table app.audit (id int);
    create table refresh_tokens (
      id int primary key, parent_id int references refresh_tokens, revoked boolean, used_at timestamp, expires_at timestamptz
    );
    create table devices (token_id int references refresh_tokens on delete set null);
    insert into refresh_tokens
    select id, nullif(id - 1, 0), id % 3 = 0, now() - '2 days'::interval, now() + case when id % 3 = 1 then '-1 day' else '1 day' end::interval
    from generate_series(1, 30000) as id;
    update refresh_tokens set parent_id = null;
    create index on refresh_tokens (expires_at);
    create index on refresh_tokens (parent_id);
    create index on devices (token_id);
    create table pins (token_id int constraint pinned references refresh_tokens);
    create index on pins (token_id);
    insert into pins values (3), (6);
    create table sessions (id int primary key, ended boolean);
    create table access_tokens (id int primary key, old boolean, session_id int references sessions on delete cascade);
    create index on access_tokens (session_id);
    insert into sessions select id, id % 2 = 0 from generate_series(1, 400) as id;
    insert into access_tokens select id, id % 4 = 0, id from generate_series(1, 400) as id;
    create table alive as select id from refresh_tokens where id % 3 = 2;
    grant delete on refresh_tokens to cleaner;
    grant select (ctid, revoked, used_at, expires_at) on refresh_tokens to cleaner;
    grant delete, select on access_tokens, sessions to cleaner;
    grant usage on schema app to cleaner;
    grant insert on app.audit to cleaner;
    create function app.remember() returns trigger language plpgsql as $$
      begin insert into audit values (1); return null; end $$;
    create trigger remember after delete on refresh_tokens for each statement execute function app.remember();
    grant create on schema public to attacker`);
  await plant();
});
afterEach(async () => {
  await database.sql('alter role postgres reset search_path');
  await database.disconnect();
});

/** Everything that an attacker can put in the way of the statements of a run. A sequence counts the calls. */
async function plant(): Promise<void> {
  const attacker = await database.connect();
  await attacker.query(`set role attacker; set search_path = pg_catalog`);
  await attacker.query(`create sequence public.calls; grant usage on sequence public.calls to public`);
  await attacker.query(
    `do $plant$
     declare
       body text := $$begin perform pg_catalog.nextval('public.calls'); raise exception 'a planted % was called', '%'; end$$;
       operand text; other text; name text; signature text;
       types text[] := array['${TYPES.join("','")}'];
     begin
       foreach operand in array types loop
         foreach other in array types loop
           execute format('create function public.planted(%s, %s) returns bool language plpgsql as %L', operand, other, replace(body, '''%''', '''operator'''));
           foreach name in array array['${OPERATORS.join("','")}'] loop
             execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.planted)', name, operand, other);
           end loop;
         end loop;
       end loop;
       for name, signature in
         select proname, array_to_string(arguments, ', ')
         from (
           select distinct proname::text, arguments
           from pg_proc, lateral (
             select array[one] as arguments from unnest(types) as one where pronargs = 1
             union all
             select array[one, two] from unnest(types) as one, unnest(types) as two where pronargs = 2
             union all
             select array[one] || array_fill(two, array[count])
             from unnest(array['text', 'name', 'int4']) as one, unnest(array['text', 'name', 'int4', 'bool']) as two, generate_series(2, 4) as count
             where pronargs > 2 or provariadic <> 0
             union all
             select array(select format_type(type, null) from unnest(proargtypes) as type)
           ) as variant
           where pronamespace = 'pg_catalog'::regnamespace and proname = any($1_names)
             and not (array['internal', 'cstring', 'any', 'anyarray', 'anyelement', '"any"', 'anynonarray', 'anycompatible', 'anycompatiblearray'] && arguments)
         ) as wanted
       loop
         execute format('create or replace function public.%I(%s) returns bool language plpgsql as %L', name, signature, replace(body, '''%''', quote_literal(name)));
       end loop;
       foreach name in array array['tid', 'oid', 'text', 'int2', 'int8', 'float8', 'timestamptz', 'jsonb', 'regclass', 'name'] loop
         execute format('create domain public.%I as bool check (public.planted(1, 1))', name);
       end loop;
       foreach name in array array['pg_class', 'pg_namespace', 'pg_inherits', 'pg_constraint', 'pg_attribute', 'pg_settings', 'pg_stat_activity', 'pg_stat_replication', 'pg_index', 'pg_trigger', 'pg_type', 'pg_policy'] loop
         execute format('create view public.%I as select public.planted(1, 1) as oid', name);
       end loop;
     end $plant$`.replace('$1_names', `array['${calledFunctions().join("','")}']`),
  );
  await attacker.query(
    'reset role; grant select on all tables in schema public to public; revoke select on public.pins from public',
  );
}

/** The names that the statements of the function call, among others. */
function calledFunctions(): string[] {
  const lambda = join(__dirname, '../../lambda');
  const sources = readdirSync(lambda, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const calls = sources.flatMap((file) => readFileSync(join(lambda, file), 'utf8').match(/\b[a-z_0-9]+(?=\()/g) ?? []);
  return [...new Set(calls)];
}

describe.each(['postgres', 'cleaner'])('as %s', (user) => {
  test.each(['"$user", public, app', 'public, pg_catalog, app'])(
    'calls nothing that others put on the search_path, %s, and triggers find what they need there',
    async (path) => {
      await database.sql(`alter role ${user} set search_path = ${path}`);
      const connection = database.connection(user === 'cleaner' ? LOGIN : {});
      const service = database.service({ connection, targets: TARGETS, maxReplicaLagSeconds: 10, concurrency: 2 });

      const reports = [await service.run({ dryRun: true }), await service.run()];

      expect(reports).toMatchObject([
        { targets: [{ rowsRemaining: user === 'cleaner' ? 20_000 : 19_998 }, { rowsRemaining: 100 }, {}] },
        { targets: [{ rowsDeleted: 19_998, rowsRemaining: 2 }, { rowsDeleted: 100 }, { rowsDeleted: 100 }] },
      ]);
      expect(reports[1]?.targets.map(({ stopReason }) => stopReason)).toEqual(['blocked', 'drained', 'drained']);
      const observer = await database.connect();
      await observer.query('set search_path = pg_catalog');
      const { rows } = await observer.query('select is_called from public.calls');
      expect(rows).toEqual([{ is_called: false }]);
      const survivors = await observer.query('select id from public.refresh_tokens except select id from public.alive');
      expect(survivors.rows.map(({ id }) => id).sort()).toEqual([3, 6]);
      expect((await observer.query('select from public.alive')).rowCount).toBe(10_000);
      expect((await observer.query('select from public.refresh_tokens')).rowCount).toBe(10_002);
      expect((await observer.query('select from public.access_tokens where id % 4 > 0')).rowCount).toBe(300);
      expect((await observer.query('select from public.sessions where id % 4 > 0')).rowCount).toBe(300);
      expect((await observer.query('select from app.audit')).rowCount).toBeGreaterThan(0);
    },
  );
});
