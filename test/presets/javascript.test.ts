import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

cleansLikeTheSystem(database, 'authjs', {
  tables: `
    create table sessions (
      id serial primary key, "userId" int not null, expires timestamptz not null, "sessionToken" varchar(255) not null
    );
    create table verification_token (
      identifier text not null, expires timestamptz not null, token text not null, primary key (identifier, token)
    )`,
  rows: `
    insert into sessions ("userId", expires, "sessionToken")
    select 1, at, gen_random_uuid() from fixture.moments('0') as at;
    insert into verification_token select 'x', at, gen_random_uuid() from fixture.moments('0') as at`,
  cleaner: 'delete from sessions where expires < now(); delete from verification_token where expires < now()',
});

cleansLikeTheSystem(database, 'lucia', {
  tables: `
    create table auth_user (id text primary key);
    create table user_session (
      id text primary key, user_id text not null references auth_user, expires_at timestamptz not null
    )`,
  rows: `
    insert into auth_user values ('u');
    insert into user_session select gen_random_uuid(), 'u', at from fixture.moments('0') as at`,
  cleaner: 'delete from user_session where expires_at <= now()',
});

cleansLikeTheSystem(database, 'lucia-2', {
  tables: `
    create table auth_user (id varchar(15) primary key);
    create table user_session (
      id varchar(128) primary key, user_id varchar(15) not null references auth_user, active_expires bigint not null,
      idle_expires bigint not null
    )`,
  rows: `
    insert into auth_user values ('u');
    insert into user_session
    select gen_random_uuid(), 'u', active, idle
    from fixture.milliseconds('14 days') as active, fixture.milliseconds('0') as idle`,
  cleaner: 'delete from user_session where idle_expires <= fixture.now_ms()',
});

cleansLikeTheSystem(database, 'connect-pg-simple', {
  tables: `
    create table session (sid varchar not null primary key, sess json not null, expire timestamp(6) not null);
    create index on session (expire)`,
  rows: `insert into session select gen_random_uuid(), '{}', at at time zone 'UTC' from fixture.moments('0') as at`,
  cleaner: `set local "TimeZone" to 'UTC'; delete from session where expire < to_timestamp(fixture.now_s())`,
});

cleansLikeTheSystem(database, 'directus', {
  tables: `
    create table directus_users (id uuid primary key);
    create table directus_shares (id uuid primary key);
    create table directus_sessions (
      token varchar(64) primary key, "user" uuid references directus_users on delete cascade, expires timestamptz not null,
      ip varchar(255), user_agent text, share uuid references directus_shares on delete cascade, origin varchar(255),
      next_token varchar(64)
    )`,
  rows: `
    insert into directus_sessions (token, expires)
    select gen_random_uuid(), at from fixture.moments('0') as at`,
  cleaner: 'delete from directus_sessions where expires < now()',
});

cleansLikeTheSystem(database, 'strapi', {
  tables: `
    create table strapi_sessions (
      id serial primary key, user_id varchar(255), session_id varchar(255), child_id varchar(255), device_id varchar(255),
      origin varchar(255), expires_at timestamp(6), absolute_expires_at timestamp(6), status varchar(255), type varchar(255)
    )`,
  rows: `
    insert into strapi_sessions (session_id, expires_at, absolute_expires_at, status)
    select gen_random_uuid(), short at time zone 'UTC', long at time zone 'UTC', state
    from fixture.moments('0') as short, fixture.moments_or_null('0') as long, unnest('{active, rotated}'::text[]) as state`,
  cleaner: `delete from strapi_sessions where absolute_expires_at < now() at time zone 'UTC'`,
});

// Made by its own migrations with timestamptz; Drizzle and Prisma make timestamps without a zone of the same columns.
for (const type of ['timestamptz', 'timestamp(3)']) {
  const written = (moment: string) => (type === 'timestamptz' ? moment : `${moment} at time zone 'UTC'`);
  const now = written('now()');

  cleansLikeTheSystem(database, 'better-auth', {
    given: { tables: ['session', 'verification', 'deviceCode', 'oauthAccessToken', 'oauthRefreshToken'] },
    tables: `
      create table "user" (id text primary key);
      create table session (
        id text primary key, "expiresAt" ${type} not null, token text not null unique, "createdAt" ${type} not null,
        "userId" text not null references "user" on delete cascade
      );
      create table verification (
        id text primary key, identifier text not null, value text not null, "expiresAt" ${type} not null
      );
      create table "deviceCode" (
        id text primary key, "deviceCode" text not null, "userCode" text not null, "expiresAt" ${type} not null,
        status text not null
      );
      create table "oauthRefreshToken" (
        id text primary key, token text not null, "clientId" text not null,
        "sessionId" text references session on delete set null, "expiresAt" ${type}, "createdAt" ${type}, revoked ${type}
      );
      create index on "oauthRefreshToken" ("sessionId");
      create table "oauthAccessToken" (
        id text primary key, token text not null unique, "clientId" text not null,
        "sessionId" text references session on delete set null,
        "refreshId" text references "oauthRefreshToken" on delete cascade, "expiresAt" ${type}
      );
      create index on "oauthAccessToken" ("sessionId");
      create index on "oauthAccessToken" ("refreshId")`,
    // The access tokens of a refresh token that is due are due as well.
    rows: `
      insert into "user" values ('u');
      insert into session
      select gen_random_uuid(), ${written('at')}, gen_random_uuid(), ${now}, 'u' from fixture.moments('0') as at;
      insert into verification select gen_random_uuid(), '', '', ${written('at')} from fixture.moments('0') as at;
      insert into "deviceCode"
      select gen_random_uuid(), '', '', ${written('at')}, 'pending' from fixture.moments('0') as at;
      insert into "oauthRefreshToken" (id, token, "clientId", "expiresAt", revoked)
      select gen_random_uuid(), '', '', ${written('at')}, ${written('gone')}
      from fixture.moments_or_null('0') as at, fixture.moments_or_null('30 days') as gone;
      insert into "oauthAccessToken" (id, token, "clientId", "refreshId", "expiresAt")
      select gen_random_uuid(), gen_random_uuid(), '', id, ${now} - interval '1 hour' from "oauthRefreshToken"
      union all
      select gen_random_uuid(), gen_random_uuid(), '', id, ${now} + interval '1 hour' from "oauthRefreshToken"
      where coalesce("expiresAt", 'infinity') > ${now} and revoked is null`,
    cleaner: `
      delete from session where "expiresAt" < ${now};
      delete from verification where "expiresAt" < ${now};
      delete from "deviceCode" where "expiresAt" < ${now};
      delete from "oauthAccessToken" where "expiresAt" < ${now};
      delete from "oauthRefreshToken" where "expiresAt" < ${now} or revoked < ${now} - interval '30 days'`,
  });
}
