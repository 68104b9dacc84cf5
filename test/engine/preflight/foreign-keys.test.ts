import type { TargetsInput } from '../../../lambda/configuration/targets';
import type { ReferringKey } from '../../../lambda/engine/conditions/referring-key';
import { statementsOf } from '../../../lambda/engine/preflight/finding';
import type { RunReport } from '../../../lambda/run/report';
import { REFRESH_TOKENS, useDatabase } from '../../support/database';
import { inspectFirst } from '../../support/inspected';

const database = useDatabase();

const TABLE =
  'create table refresh_tokens (id int primary key, token_hash text, revoked boolean, expires_at timestamptz)';

const TWO_TARGETS: TargetsInput = [
  { table: 'sessions', deleteWhen: [{ expires_at: { olderThan: '0s' } }] },
  { table: 'refresh_tokens', deleteWhen: [{ revoked: true }] },
];

/** The errors of the targets, after a run that deleted nothing. */
async function errorsOf(targets: TargetsInput, tables?: string[]): Promise<Record<string, string | undefined>> {
  const run = (dryRun: boolean) => database.service({ targets }).run({ dryRun, ...(tables && { tables }) });
  const reports: RunReport[] = [await run(true), await run(false)];
  const [dry, wet] = reports.map((report) =>
    Object.fromEntries(report.targets.map(({ table, error }) => [table, error])),
  );
  expect(reports[1]?.rowsDeleted).toBe(0);
  expect(dry).toEqual(wet);
  return wet ?? {};
}

async function warningsOf(targets: TargetsInput = REFRESH_TOKENS): Promise<readonly string[] | undefined> {
  return (await database.service({ targets }).run()).warnings;
}

async function keysOf(input: TargetsInput = REFRESH_TOKENS, login: { user?: string; password?: string } = {}) {
  const session = database.session(database.connection(login));
  const { inspected } = await inspectFirst(session, input).finally(() => session.close());
  return inspected.referringKeys;
}

/** Without what is different on every server. */
function withoutOids(keys: readonly ReferringKey[]): object[] {
  return keys.map(({ oid, next, ...rest }) => ({ ...rest, next: withoutOids(next) }));
}

test('warns of a foreign key without an index on its own side, until it has one, and of a cascade', async () => {
  await database.sql(`
    ${TABLE};
    create table "Devices" (id int, token_id int, constraint device_token foreign key (token_id) references refresh_tokens);
    create table sessions (id int, token_id int, constraint session_token foreign key (token_id) references refresh_tokens on delete cascade);
    create index on sessions (token_id, id);
    create table partly (token_id int references refresh_tokens);
    create index on partly (token_id) where token_id > 5;
    create index on partly using brin (token_id);
    create table parted (token_id int constraint parted_token references refresh_tokens) partition by list (token_id)`);

  const cascade =
    'refresh_tokens: foreign key "session_token" deletes rows of "public"."sessions" too (on delete cascade)';
  expect(await warningsOf()).toEqual([
    cascade,
    'refresh_tokens: foreign key "device_token" has no index on its own side, so each deleted row reads all of "public"."Devices": create index concurrently on public."Devices" (token_id)',
    'refresh_tokens: foreign key "parted_token" has no index on its own side, so each deleted row reads all of "public"."parted": create index on public.parted (token_id)',
    'refresh_tokens: foreign key "partly_token_id_fkey" has no index on its own side, so each deleted row reads all of "public"."partly": create index concurrently on public.partly (token_id)',
  ]);

  const { targets } = await database.service().run({ dryRun: true });
  const statements = statementsOf(targets[0]?.diagnosis?.findings ?? []);
  expect(statements).toHaveLength(3);
  for (const statement of statements) {
    await database.sql(statement);
  }
  expect(await warningsOf()).toEqual([cascade]);
});

test.each([
  ['that leaves out the rows that refer to nothing', 'create index on devices (token_id) where token_id is not null'],
  [
    'that leaves out rows in which any column of the key is null',
    `alter table devices drop constraint device_token;
     alter table refresh_tokens add unique (id, token_hash);
     alter table devices add constraint device_token foreign key (token_id, "Hash (x)") references refresh_tokens (id, token_hash);
     create index on devices ("Hash (x)", token_id) where token_id is not null and "Hash (x)" is not null`,
  ],
  ['by hash', 'create index on devices using hash (token_id)'],
])('is content with an index of a foreign key %s', async (_, index) => {
  await database.sql(`
    ${TABLE};
    create table devices (
      token_id int, "Hash (x)" text, used boolean, constraint device_token foreign key (token_id) references refresh_tokens
    );
    create index on devices (token_id) where not used`);
  expect(await warningsOf()).toHaveLength(1);

  await database.sql(index);
  expect(await warningsOf()).toBeUndefined();
});

test('is content with an index on every partition of the table that refers', async () => {
  await database.sql(`
    ${TABLE};
    create table devices (kind int, token_id int references refresh_tokens) partition by list (kind);
    create table phones partition of devices for values in (1);
    create table tablets (token_id int, kind int);
    alter table devices attach partition tablets for values in (2);
    create index on phones (token_id)`);
  expect(await warningsOf()).toEqual([
    'refresh_tokens: foreign key "devices_token_id_fkey" has no index on its own side, so each deleted row reads all of "public"."devices": create index on public.devices (token_id)',
  ]);

  await database.sql('create index on tablets (token_id)');
  expect(await warningsOf()).toBeUndefined();
});

const FAMILY = `
  create table token_family (
    id int, region text, parent_id int, revoked boolean, expires_at timestamptz, primary key (id, region),
    foreign key (parent_id, region) references token_family on delete cascade
  ) partition by list (region);
  create table refresh_tokens partition of token_family for values in ('eu', 'us') partition by list (region);
  create table tokens_eu partition of refresh_tokens for values in ('eu');
  insert into token_family values (1, 'eu', null, true, null), (2, 'eu', 1, false, null)`;

test.each([
  ['the table itself', 'token_family'],
  ['a partition that is partitioned in turn', 'refresh_tokens'],
  ['a partition', 'tokens_eu'],
])('refuses a cascade from rows to rows that refer to them: %s', async (_, table) => {
  await database.sql(FAMILY);

  expect(await errorsOf([{ table, deleteWhen: [{ revoked: true }] }])).toEqual({
    [table]:
      'foreign key "token_family_parent_id_region_fkey" must not be on delete cascade: a live row would be deleted with the dead one that it refers to',
  });
});

test('warns of a missing index of a foreign key that points at the table of a partition', async () => {
  await database.sql(`
    ${FAMILY};
    alter table token_family drop constraint token_family_parent_id_region_fkey;
    create table devices (token_id int, region text, constraint device_token foreign key (token_id, region) references token_family)`);

  expect(await warningsOf([{ table: 'tokens_eu', deleteWhen: [{ revoked: true }] }])).toEqual([
    'tokens_eu: foreign key "device_token" has no index on its own side, so each deleted row reads all of "public"."devices": create index concurrently on public.devices (token_id, region)',
  ]);
});

test.each([
  [
    'directly',
    'create table refresh_tokens (session_id int references sessions on delete cascade, revoked boolean)',
    'refresh_tokens_session_id_fkey',
  ],
  [
    'by way of another table',
    `create table devices (id int primary key, session_id int references sessions on delete cascade);
     create table refresh_tokens (device_id int references devices on delete cascade, revoked boolean)`,
    'refresh_tokens_device_id_fkey',
  ],
  [
    'by way of a partition',
    `create table devices (id int, kind int, session_id int references sessions on delete cascade, primary key (id, kind)) partition by list (kind);
     create table phones partition of devices for values in (1);
     create table tokens (phone_id int, kind int, revoked boolean, foreign key (phone_id, kind) references phones on delete cascade) partition by list (kind);
     create table refresh_tokens partition of tokens for values in (1)`,
    'tokens_phone_id_kind_fkey',
  ],
])('refuses a cascade into the rows of another target: %s', async (_, sql, constraint) => {
  await database.sql(`create table sessions (id int primary key, expires_at timestamptz); ${sql}`);

  const remedy = constraint.includes('session_id') ? '; "unlessReferredToBy": ["refresh_tokens"] would keep both' : '';
  const refusal = `foreign key "${constraint}" must not be on delete cascade: live rows of the target refresh_tokens would be deleted with the dead ones that they refer to${remedy}`;
  expect(await errorsOf(TWO_TARGETS)).toEqual({ sessions: refusal, refresh_tokens: undefined });
  // The other target need not be part of the run.
  expect(await errorsOf(TWO_TARGETS, ['sessions'])).toEqual({ sessions: refusal });
});

test('refuses a cascade into the tokens of a known system, which need not be a target, until they keep what they refer to', async () => {
  await database.sql(`
    create schema auth;
    create table auth.hydra_oauth2_flow (login_challenge text primary key, requested_at timestamp not null);
    create table auth.hydra_oauth2_refresh (
      signature text primary key, request_id text, nid uuid,
      challenge_id text constraint refresh_flow references auth.hydra_oauth2_flow on delete cascade
    );
    create table auth.hydra_oauth2_code (
      request_id text, challenge_id text references auth.hydra_oauth2_flow on delete cascade
    );
    create index on auth.hydra_oauth2_refresh (challenge_id);
    create index on auth.hydra_oauth2_code (challenge_id);
    insert into auth.hydra_oauth2_flow values ('used', '2020-01-01'), ('abandoned', '2020-01-01');
    insert into auth.hydra_oauth2_refresh values ('live', '', null, 'used')`);
  const flows = {
    schema: 'auth',
    table: 'hydra_oauth2_flow',
    deleteWhen: [{ requested_at: { olderThan: '30m' } }],
  };

  expect(await errorsOf([flows])).toEqual({
    hydra_oauth2_flow:
      'foreign key "refresh_flow" must not be on delete cascade: live rows of "auth"."hydra_oauth2_refresh", a table of Ory Hydra, would be deleted with the dead ones that they refer to; "unlessReferredToBy": ["hydra_oauth2_refresh"] would keep both',
  });
  expect(await warningsOf([{ ...flows, unlessReferredToBy: ['hydra_oauth2_refresh'] }])).toEqual([
    // Without its column `nid` this is another system's table, by chance of that name.
    'hydra_oauth2_flow: foreign key "hydra_oauth2_code_challenge_id_fkey" deletes rows of "auth"."hydra_oauth2_code" too (on delete cascade)',
  ]);
  expect(await database.column('select login_challenge from auth.hydra_oauth2_flow')).toEqual(['used']);
});

test.each(['set null', 'set default'])('refuses on delete %s only of a column that a rule tests', async (action) => {
  await database.sql(`
    create table sessions (id int primary key, state boolean unique, expires_at timestamptz);
    create table refresh_tokens (
      session_id int references sessions on delete ${action}, revoked boolean references sessions (state) on delete ${action}
    )`);

  expect(await errorsOf(TWO_TARGETS)).toEqual({
    sessions: `foreign key "refresh_tokens_revoked_fkey" must not be on delete ${action}: it would change column "revoked", which a rule of refresh_tokens tests`,
    refresh_tokens: undefined,
  });
});

test('lists the keys that point at a table, with the operators by which they compare, and those behind a cascade', async () => {
  await database.sql(`
    ${TABLE};
    create schema app;
    create table app."Devices" (id bigint primary key, "Token" bigint references refresh_tokens on delete cascade);
    create index on app."Devices" ("Token");
    create table app.pushes (device_id int references app."Devices", again int references app."Devices" (id) on delete set null);
    alter table refresh_tokens add replaced_by int constraint replaced references refresh_tokens`);

  expect(withoutOids(await keysOf())).toEqual([
    {
      constraint: 'Devices_Token_fkey',
      quotedTable: '"app"."Devices"',
      columns: [{ referring: '"Token"', referred: 'id', equals: 'operator(pg_catalog.=)' }],
      onDelete: 'cascade',
      isSelf: false,
      canRead: true,
      hasIndex: true,
      hidesRows: false,
      next: [
        expect.objectContaining({ constraint: 'pushes_again_fkey', onDelete: 'set null', hasIndex: false, next: [] }),
        expect.objectContaining({ constraint: 'pushes_device_id_fkey', onDelete: 'no action', isSelf: false }),
      ],
    },
    expect.objectContaining({ constraint: 'replaced', quotedTable: '"public"."refresh_tokens"', isSelf: true }),
  ]);
});

test('lists a key of partitioned tables once, wherever in the family it points', async () => {
  await database.sql(`
    ${FAMILY};
    alter table token_family drop constraint token_family_parent_id_region_fkey;
    create table devices (token_id int, region text, foreign key (token_id, region) references token_family) partition by list (region);
    create table devices_eu partition of devices for values in ('eu');
    create table badges (token_id int, region text, foreign key (token_id, region) references tokens_eu (id, region))`);

  const listed = async (table: string) =>
    (await keysOf([{ table, deleteWhen: [{ revoked: true }] }])).map(({ quotedTable }) => quotedTable).sort();
  expect(await listed('token_family')).toEqual(['"public"."badges"', '"public"."devices"']);
  expect(await listed('tokens_eu')).toEqual(['"public"."badges"', '"public"."devices"']);
});

test('takes a key for readable only if the columns of all partitions are, however many there are', async () => {
  const each = (statement: string) => `
    do $$ begin for number in 1..260 loop execute format('${statement}', number); end loop; end $$`;
  await database.sql(`
    create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz) partition by list (id);
    ${each('create table part_%s partition of refresh_tokens for values in (%1$s)')};
    create table devices (token_id int references refresh_tokens)`);
  await database.createRole('reader', 'delete, select on all tables in schema public');
  const canRead = async () =>
    (await keysOf(REFRESH_TOKENS, { user: 'reader', password: 'reader' })).map((key) => key.canRead);
  expect(await canRead()).toEqual([true]);

  await database.sql(`
    revoke select on part_1 from reader;
    grant select (ctid, revoked, expires_at) on part_1 to reader`);
  expect(await canRead()).toEqual([false]);
});
