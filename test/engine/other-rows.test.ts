import type { TargetsInput } from '../../lambda/configuration/targets';
import { statementsOf } from '../../lambda/engine/preflight/finding';
import { useDatabase } from '../support/database';

const database = useDatabase();

/** Access tokens that expired (even ids) and live ones, and refresh tokens that refer to them. */
const TOKENS = `
  create table access_tokens (id int primary key, revoked boolean, expires_at timestamptz);
  create table refresh_tokens (
    id int primary key, revoked boolean, access_id int constraint refresh_access references access_tokens on delete set null
  );
  insert into access_tokens select id, false, now() + (id % 2 - 0.5) * interval '2 days' from generate_series(1, 10) as id;
  insert into refresh_tokens
  select 10 * id + n, n = 3, case n when 4 then null else id end from generate_series(1, 10) as id, generate_series(1, 4) as n`;

const EXPIRED = { refersTo: { expires_at: { olderThan: '0s' } } } as const;

async function survivors(table = 'refresh_tokens'): Promise<number[]> {
  const rows = await database.sql<{ id: number }>(`select id from ${table} order by id`);
  return rows.map(({ id }) => id);
}

function unreferred(...tables: string[]): TargetsInput {
  return [{ table: 'access_tokens', deleteWhen: [{ expires_at: { olderThan: '0s' } }], unlessReferredToBy: tables }];
}

const ALL = Array.from({ length: 10 }, (_, id) => [1, 2, 3, 4].map((n) => 10 * (id + 1) + n)).flat();

describe('refersTo', () => {
  test.each<[string, TargetsInput, (id: number) => boolean]>([
    [
      'deletes rows whose parent meets the tests',
      [{ table: 'refresh_tokens', deleteWhen: [{ access_id: EXPIRED }] }],
      (id) => Math.floor(id / 10) % 2 === 1 || id % 10 === 4,
    ],
    [
      'is joined with other tests of the row',
      [{ table: 'refresh_tokens', deleteWhen: [{ access_id: EXPIRED, revoked: true }] }],
      (id) => Math.floor(id / 10) % 2 === 1 || id % 10 !== 3,
    ],
    [
      'is joined with other rules',
      [{ table: 'refresh_tokens', deleteWhen: [{ access_id: EXPIRED }, { revoked: true }] }],
      (id) => id % 10 === 4 || (Math.floor(id / 10) % 2 === 1 && id % 10 !== 3),
    ],
    [
      'meets no row whose parent meets only some of the tests',
      [{ table: 'refresh_tokens', deleteWhen: [{ access_id: { refersTo: { ...EXPIRED.refersTo, revoked: true } } }] }],
      () => true,
    ],
  ])('%s', async (_, targets, lives) => {
    await database.sql(TOKENS);

    const report = await database.service({ targets }).run();

    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
    expect(await survivors()).toEqual(ALL.filter(lives));
    expect(await survivors('access_tokens')).toHaveLength(10);
  });

  test('deletes rows together with those that they refer to in the same table', async () => {
    await database.sql(`
      create table refresh_tokens (
        id int primary key, consumed_at timestamptz, next int references refresh_tokens on delete set null
      );
      create index on refresh_tokens (next);
      insert into refresh_tokens
      select id, case when id % 5 > 0 then now() - interval '1 day' end, case when id % 5 > 0 then id + 1 end
      from generate_series(1, 20) as id`);

    const targets: TargetsInput = [
      { table: 'refresh_tokens', deleteWhen: [{ next: { refersTo: { consumed_at: { olderThan: '0s' } } } }] },
    ];
    const report = await database.service({ targets }).run();

    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
    expect(await survivors()).toEqual([4, 5, 9, 10, 14, 15, 19, 20]);
  });

  test('follows a key of several columns, in other schemas, with odd names, to a partitioned table', async () => {
    await database.sql(`
      create schema "it's";
      create table "it's"."Par""ents" (
        tenant text, "id" bigint, state text, key_0 int, primary key (tenant, "id")
      ) partition by list (tenant);
      create table "it's".part_a partition of "it's"."Par""ents" for values in ('a');
      create table "it's".part_b partition of "it's"."Par""ents" for values in ('b');
      create table children (
        id int, "id""" int, key_0 text, state text,
        foreign key (key_0, "id""") references "it's"."Par""ents" (tenant, "id")
      );
      insert into "it's"."Par""ents" values ('a', 1, 'dead', 0), ('a', 2, 'alive', 0), ('b', 1, 'alive', 0), ('b', 2, 'dead', 0);
      insert into children values
        (1, 1, 'a', 'dead'), (2, 2, 'a', 'dead'), (3, 1, 'b', 'dead'), (4, 2, 'b', 'alive'), (5, null, 'a', 'dead'), (6, 1, null, 'dead')`);
    const targets: TargetsInput = [
      { table: 'children', deleteWhen: [{ 'id"': { refersTo: { state: { in: ['dead'] } } } }] },
    ];

    const report = await database.service({ targets }).run();

    expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2 });
    expect(await survivors('children')).toEqual([2, 3, 5, 6]);
  });

  test('names columns that belong to no key, and columns that are missing in the other table', async () => {
    await database.sql(`${TOKENS};
      create table twice (id int references access_tokens constraint other references refresh_tokens)`);
    const errorOf = async (targets: TargetsInput) => (await database.service({ targets }).run()).targets[0]?.error;

    expect(await errorOf([{ table: 'refresh_tokens', deleteWhen: [{ id: EXPIRED }, { accessId: EXPIRED }] }])).toBe(
      'column "accessId" of "public"."refresh_tokens" does not exist, there is "access_id"',
    );
    expect(await errorOf([{ table: 'refresh_tokens', deleteWhen: [{ id: EXPIRED }] }])).toBe(
      'column "id" of "public"."refresh_tokens" has no foreign key, which "refersTo" follows',
    );
    expect(await errorOf([{ table: 'twice', deleteWhen: [{ id: EXPIRED }] }])).toBe(
      'column "id" of "public"."twice" has several foreign keys ("other", "twice_id_fkey"), of which "refersTo" cannot choose one',
    );
    const mistaken = { access_id: { refersTo: { expired: true, revoked: { olderThan: '1d' } } } };
    expect(await errorOf([{ table: 'refresh_tokens', deleteWhen: [mistaken] }])).toBe(
      'column "expired" of "public"."access_tokens" does not exist\n' +
        'column "revoked" of "public"."access_tokens" must be of type timestamp with time zone or timestamp without time zone or date, is boolean',
    );
  });
});

describe('unlessReferredToBy', () => {
  test.each(['cascade', 'set null', 'set default', 'restrict', 'no action', 'no action deferrable initially deferred'])(
    'keeps the rows that are referred to, on delete %s',
    async (onDelete) => {
      await database.sql(`
        ${TOKENS};
        delete from refresh_tokens where id > 50;
        alter table refresh_tokens drop constraint refresh_access,
          add foreign key (access_id) references access_tokens on delete ${onDelete};
        create index on refresh_tokens (access_id)`);
      const before = await database.sql('select * from refresh_tokens order by id');

      const report = await database.service({ targets: unreferred('refresh_tokens') }).run();

      expect(report).toMatchObject({
        status: 'succeeded',
        rowsDeleted: 3,
        targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
      });
      expect(report).not.toHaveProperty('warnings');
      expect(await survivors('access_tokens')).toEqual([1, 2, 3, 4, 5, 7, 9]);
      expect(await database.sql('select * from refresh_tokens order by id')).toEqual(before);
    },
  );

  test('names a table that has no key to here', async () => {
    await database.sql(TOKENS);

    const report = await database.service({ targets: unreferred('refresh_tokens', 'devices') }).run();

    expect(report.targets[0]?.error).toBe(
      'no foreign key of a table "devices" refers to "public"."access_tokens", only those of "public"."refresh_tokens"',
    );
  });

  test('explains that a schema is not part of the name of a table', async () => {
    await database.sql(TOKENS);

    const report = await database.service({ targets: unreferred('public.refresh_tokens') }).run();

    expect(report.targets[0]?.error).toBe(
      'no foreign key of a table "public.refresh_tokens" refers to "public"."access_tokens"; ' +
        'the schema is not part of the name: "refresh_tokens"',
    );
  });
});

test('lists the missing privileges on other tables, and needs no others', async () => {
  await database.sql(`
    ${TOKENS};
    create schema other;
    create table other.devices (id int, access_id int references access_tokens on delete cascade, secret text);
    create index on other.devices (access_id);
    create index on refresh_tokens (access_id);
    insert into other.devices values (1, 2, 'x')`);
  const connection = await database.createRole(
    'looker',
    'delete on access_tokens, refresh_tokens',
    'select (ctid, expires_at) on access_tokens',
    'select (ctid, access_id) on refresh_tokens',
  );
  const targets: TargetsInput = [
    { table: 'refresh_tokens', deleteWhen: [{ access_id: EXPIRED }] },
    ...unreferred('devices'),
  ];

  const dry = await database.service({ connection, targets }).run({ dryRun: true });
  const statements = dry.targets.flatMap(({ diagnosis }) => statementsOf(diagnosis?.findings ?? []));
  for (const statement of new Set(statements)) {
    await database.sql(statement);
  }
  const report = await database.service({ connection, targets }).run();
  const rights = await database.sql(
    `select table_name, column_name from information_schema.column_privileges where grantee = 'looker' order by 1, 2`,
  );

  expect([...new Set(statements)].sort()).toEqual([
    'grant select (access_id) on other.devices to looker',
    'grant select (id) on public.access_tokens to looker',
    'grant usage on schema other to looker',
  ]);
  expect(report).toMatchObject({ status: 'succeeded', targets: [{ rowsDeleted: 15 }, { rowsDeleted: 4 }] });
  expect(rights).not.toContainEqual(expect.objectContaining({ column_name: 'secret' }));
});

test('refuses to rely on rows that a policy may hide', async () => {
  await database.sql(`
    ${TOKENS};
    create index on refresh_tokens (access_id);
    alter table refresh_tokens enable row level security;
    create policy own on refresh_tokens using (id < 0)`);
  const connection = await database.createRole(
    'looker',
    'delete, select (ctid, id, expires_at) on access_tokens',
    'select (access_id) on refresh_tokens',
  );

  const report = await database.service({ connection, targets: unreferred('refresh_tokens') }).run();

  expect(report.targets[0]?.error).toBe(
    'row-level security may hide rows of "public"."refresh_tokens" that refer to "public"."access_tokens": ' +
      'a role that relies on "unlessReferredToBy" needs bypassrls',
  );
});
