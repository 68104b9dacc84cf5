import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

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
