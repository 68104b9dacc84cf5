import { useDatabase } from '../support/database';
import { readDocument } from '../support/readme';

const database = useDatabase();

/** The targets of each ORM, as lambda/README.md has them. */
const [, section = ''] = readDocument('lambda/README.md').split('\n### Tables as ORMs make them\n');
const [text = ''] = section.split('\n### ');
const TARGETS = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, block = '']) => JSON.parse(block));

// A service writes UTC into a column without a zone, wherever the server believes to be.
beforeEach(() =>
  database.sql(
    `do $$ begin execute format('alter database %I set timezone to %L', current_database(), 'Asia/Tokyo'); end $$`,
  ),
);

/** A minute on this side and on that side of a moment, in a column without a zone. */
const utc = (offset: string) => `now() at time zone 'UTC' ${offset}`;

// The statements are those that the migrations of each consist of, less what only costs lines.
const ORMS = [
  {
    orm: 'TypeORM',
    tables: `
      create table "refresh_token" (
        "id" uuid not null default gen_random_uuid(), "tokenHash" character varying not null,
        "isRevoked" boolean not null default false, "expiresAt" timestamp with time zone not null,
        "createdAt" timestamp not null default now(), constraint "PK_b575dd3c21fb0831013c909e7fe" primary key ("id"));
      create unique index "IDX_c25bc63d248ca90e8dcc1d92d0" on "refresh_token" ("tokenHash");
      create table "password_reset" (
        "id" uuid not null default gen_random_uuid(), "tokenHash" character varying not null, "usedAt" timestamp,
        "expiresAt" timestamp not null, constraint "PK_8515e60a2cc41584fa4784f52ce" primary key ("id"))`,
    rows: `
      insert into "refresh_token" ("tokenHash", "isRevoked", "expiresAt") values
        ('live', false, now() + interval '1 minute'), ('expired', false, now() - interval '1 minute'),
        ('revoked', true, now() + interval '1 minute');
      insert into "password_reset" ("tokenHash", "usedAt", "expiresAt") values
        ('live', null, ${utc(`+ interval '1 minute'`)}), ('used', ${utc(`- interval '1 minute'`)}, ${utc('')}),
        ('just expired', null, ${utc(`- interval '7 days' + interval '1 minute'`)}),
        ('expired', null, ${utc(`- interval '7 days' - interval '1 minute'`)})`,
    survivors: {
      'select "tokenHash" from "refresh_token"': ['live'],
      'select "tokenHash" from "password_reset"': ['just expired', 'live'],
    },
  },
  {
    orm: 'Prisma',
    tables: `
      create table "RefreshToken" (
        "id" text not null, "tokenHash" text not null, "revokedAt" timestamp(3), "expiresAt" timestamp(3) not null,
        "createdAt" timestamp(3) not null default current_timestamp, constraint "RefreshToken_pkey" primary key ("id"));
      create index "RefreshToken_expiresAt_idx" on "RefreshToken" ("expiresAt");
      create table "PasswordReset" (
        "id" text not null, "usedAt" timestamp(3), "expiresAt" timestamp(3) not null,
        constraint "PasswordReset_pkey" primary key ("id"))`,
    rows: `
      insert into "RefreshToken" ("id", "tokenHash", "revokedAt", "expiresAt") values
        ('live', '1', null, ${utc(`+ interval '1 minute'`)}), ('expired', '2', null, ${utc(`- interval '1 minute'`)}),
        ('revoked', '3', ${utc(`- interval '1 minute'`)}, ${utc(`+ interval '1 minute'`)}),
        ('to be revoked', '4', ${utc(`+ interval '1 minute'`)}, ${utc(`+ interval '1 minute'`)});
      insert into "PasswordReset" values
        ('live', null, ${utc(`+ interval '1 minute'`)}), ('used', ${utc(`- interval '1 minute'`)}, ${utc('')}),
        ('just expired', null, ${utc(`- interval '1 minute'`)}), ('expired', null, ${utc(`- interval '8 days'`)})`,
    survivors: {
      'select "id" from "RefreshToken"': ['live', 'to be revoked'],
      'select "id" from "PasswordReset"': ['just expired', 'live'],
    },
  },
  {
    orm: 'Sequelize',
    tables: `
      create table "RefreshTokens" (
        "id" serial, "token" varchar(255) unique, "revoked" boolean default false, "expiresAt" timestamp with time zone,
        "createdAt" timestamp with time zone not null, "updatedAt" timestamp with time zone not null, primary key ("id"));
      create table "PasswordResets" (
        "id" bigserial, "used" boolean, "expiresAt" timestamp with time zone, "createdAt" timestamp with time zone not null,
        "updatedAt" timestamp with time zone not null, primary key ("id"))`,
    rows: `
      insert into "RefreshTokens" ("token", "revoked", "expiresAt", "createdAt", "updatedAt") values
        ('live', false, now() + interval '1 minute', now(), now()), ('lasting', null, null, now(), now()),
        ('expired', false, now() - interval '1 minute', now(), now()),
        ('revoked', true, now() + interval '1 minute', now(), now());
      insert into "PasswordResets" ("used", "expiresAt", "createdAt", "updatedAt") values
        (null, now() + interval '1 minute', now(), now()), (true, now() + interval '1 minute', now(), now()),
        (null, now() - interval '6 days', now(), now()), (false, now() - interval '8 days', now(), now())`,
    survivors: {
      'select "token" from "RefreshTokens"': ['lasting', 'live'],
      'select "id" from "PasswordResets"': ['1', '3'],
    },
  },
  {
    orm: 'Knex',
    tables: `
      create schema auth;
      create table "auth"."refresh_tokens" (
        "id" bigserial primary key, "token_hash" varchar(255) not null, "revoked_at" timestamptz,
        "expires_at" timestamptz not null, "replaced_by" bigint null,
        "created_at" timestamptz not null default current_timestamp);
      alter table "auth"."refresh_tokens" add constraint "refresh_tokens_replaced_by_foreign"
        foreign key ("replaced_by") references "auth"."refresh_tokens" ("id");
      create index "refresh_tokens_replaced_by_index" on "auth"."refresh_tokens" ("replaced_by");
      create table "auth"."password_resets" (
        "email" varchar(255) primary key, "used_at" timestamptz, "expires_at" timestamptz not null)`,
    rows: `
      insert into "auth"."refresh_tokens" ("token_hash", "revoked_at", "expires_at", "replaced_by") values
        ('live', null, now() + interval '1 minute', null), ('expired', null, now() - interval '1 minute', null),
        ('replaced', now() - interval '1 minute', now() + interval '1 minute', 1);
      insert into "auth"."password_resets" values
        ('live', null, now() + interval '1 minute'), ('used', now() - interval '1 minute', now() + interval '1 minute'),
        ('just expired', null, now() - interval '6 days'), ('expired', null, now() - interval '8 days')`,
    survivors: {
      'select token_hash from auth.refresh_tokens': ['live'],
      'select email from auth.password_resets': ['just expired', 'live'],
    },
  },
];

test.each(ORMS.map((orm, i) => ({ ...orm, targets: TARGETS[i] })))(
  'cleans the tables that $orm makes',
  async (given) => {
    await database.sql(given.tables);
    await database.sql(given.rows);

    const report = await database.service({ targets: given.targets }).run();

    expect(report).toMatchObject({ status: 'succeeded', targets: [{ rowsRemaining: 0 }, { rowsRemaining: 0 }] });
    expect(report.warnings).toBeUndefined();
    for (const [query, rows] of Object.entries(given.survivors)) {
      expect(await database.column(query)).toEqual(rows);
    }
  },
);

describe('tokens that refer to one another by a foreign key', () => {
  /** Families of ten tokens each, every one issued after all of the one before; `reference` is what a token refers to. */
  async function createFamilies(reference: string, action: string, dead: string): Promise<void> {
    await database.sql(`
      create table refresh_tokens (
        id int primary key, revoked boolean not null, expires_at timestamptz, other int, filler text default repeat('x', 100));
      insert into refresh_tokens select id, ${dead}, null, ${reference} from generate_series(0, 9999) as id;
      create index on refresh_tokens (other);
      alter table refresh_tokens add constraint other foreign key (other) references refresh_tokens on delete ${action}`);
  }

  const SUCCESSOR = 'case when id < 9000 then id + 1000 end';
  const PREDECESSOR = 'case when id >= 1000 then id - 1000 end';
  /** All but the last token of every second family. */
  const DEAD = 'id < 9000 or id % 2 = 0';

  test.each([
    ['successor', 'no action', SUCCESSOR],
    ['successor', 'restrict', SUCCESSOR],
    ['successor', 'set null', SUCCESSOR],
    ['predecessor', 'set null', PREDECESSOR],
  ])('go where each refers to its %s, on delete %s', async (_, action, reference) => {
    await createFamilies(reference, action, DEAD);

    expect(await database.service().run()).toMatchObject({ status: 'succeeded', targets: [{ rowsRemaining: 0 }] });
    expect(await database.column('select count(*)::int from refresh_tokens where revoked')).toEqual([0]);
    expect(await database.column('select count(*)::int from refresh_tokens where not revoked')).toEqual([500]);
  });

  test.each(['refresh_tokens', 'devices'])(
    'are refused where a live one would go by a cascade over %s',
    async (over) => {
      await createFamilies(PREDECESSOR, over === 'refresh_tokens' ? 'cascade' : 'no action', 'id < 500');
      await database.sql(`
      create table devices (token int constraint token references refresh_tokens on delete cascade, device int unique);
      alter table refresh_tokens add constraint device foreign key (id) references devices (device)
        on delete ${over === 'devices' ? 'cascade' : 'no action'} not valid`);

      const { status, error } = await database.service().run();

      expect(status).toBe('failed');
      expect(error).toContain(
        `refresh_tokens: foreign key "${over === 'devices' ? 'device' : 'other'}" must not be on delete cascade: ` +
          'a live row would be deleted with the dead one that it refers to',
      );
      expect(await database.column('select count(*)::int from refresh_tokens')).toEqual([10_000]);
      await database.sql('drop table devices cascade');
    },
  );
});
