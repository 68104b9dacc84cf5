import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

cleansLikeTheSystem(database, 'rails-session-store', {
  tables: `
    create table sessions (
      id bigserial primary key, session_id varchar not null unique default gen_random_uuid(), data text,
      created_at timestamp(6) not null default now(), updated_at timestamp(6) not null
    );
    create index on sessions (updated_at)`,
  rows: `
    insert into sessions (created_at, updated_at)
    select made at time zone 'UTC', at at time zone 'UTC'
    from fixture.moments('30 days') as at, unnest(array[at, now() - interval '1 year']) as made`,
  cleaner: `delete from sessions where updated_at < now() at time zone 'UTC' - interval '30 days'`,
});

cleansLikeTheSystem(database, 'doorkeeper', {
  tables: `
    create table oauth_applications (id bigserial primary key, uid varchar not null unique, secret varchar not null);
    create table oauth_access_grants (
      id bigserial primary key, resource_owner_id bigint not null, application_id bigint not null references oauth_applications,
      token varchar not null unique default gen_random_uuid(), expires_in int not null, redirect_uri text not null,
      scopes varchar not null default '', created_at timestamp(6) not null, revoked_at timestamp(6), access_token_id bigint
    );
    create table oauth_access_tokens (
      id bigserial primary key, resource_owner_id bigint, application_id bigint not null references oauth_applications,
      token varchar not null unique default gen_random_uuid(), refresh_token varchar unique, expires_in int, scopes varchar,
      created_at timestamp(6) not null, revoked_at timestamp(6), previous_refresh_token varchar not null default ''
    )`,
  // expires_in is the configured lifetime, longer, none, and the largest that there is.
  rows: `
    insert into oauth_applications values (1, 'a', 'b');
    insert into oauth_access_grants (resource_owner_id, application_id, expires_in, redirect_uri, created_at, revoked_at)
    select 1, 1, 600, '', at at time zone 'UTC', revoked at time zone 'UTC'
    from fixture.moments('10 minutes') as at, fixture.moments_or_null('0') as revoked;
    insert into oauth_access_tokens (resource_owner_id, application_id, refresh_token, expires_in, created_at, revoked_at)
    select 1, 1, case when renewable then gen_random_uuid() end, lifetime, at at time zone 'UTC', revoked at time zone 'UTC'
    from unnest('{7200, 2592000, null, 2147483647}'::int[]) as lifetime,
      fixture.moments(make_interval(secs => coalesce(least(lifetime, 1e8), 60))) as at,
      fixture.moments_or_null('0') as revoked, unnest('{true, false}'::bool[]) as renewable`,
  cleaner: `
    delete from oauth_access_tokens where revoked_at is not null and revoked_at < now() at time zone 'UTC';
    delete from oauth_access_tokens
    where refresh_token is null and expires_in is not null
      and created_at < now() at time zone 'UTC' - interval '2 hours'
      and created_at + make_interval(secs => expires_in) < now() at time zone 'UTC';
    delete from oauth_access_grants where revoked_at is not null and revoked_at < now() at time zone 'UTC';
    delete from oauth_access_grants
    where expires_in is not null and created_at < now() at time zone 'UTC' - interval '10 minutes'
      and created_at + make_interval(secs => expires_in) < now() at time zone 'UTC'`,
});

cleansLikeTheSystem(database, 'devise-jwt', {
  given: { tables: ['jwt_denylist', 'allowlisted_jwts'] },
  tables: `
    create table users (id bigserial primary key);
    create table jwt_denylist (id bigserial primary key, jti varchar not null, exp timestamp(6) not null);
    create index on jwt_denylist (jti);
    create table allowlisted_jwts (
      id bigserial primary key, jti varchar not null unique default gen_random_uuid(), aud varchar,
      exp timestamp(6) not null, user_id bigint not null references users on delete cascade
    )`,
  rows: `
    insert into users values (1);
    insert into jwt_denylist (jti, exp) select gen_random_uuid(), at at time zone 'UTC' from fixture.moments('0') as at;
    insert into allowlisted_jwts (exp, user_id) select at at time zone 'UTC', 1 from fixture.moments('0') as at`,
  cleaner: `
    delete from jwt_denylist where exp < now() at time zone 'UTC';
    delete from allowlisted_jwts where exp < now() at time zone 'UTC'`,
});

/** Rodauth lets the database fill in deadlines, in the zone of its session. */
const ACCOUNT_KEYS = ['password_reset', 'login_change', 'email_auth', 'remember'].map((name) => `account_${name}_keys`);

for (const timeZone of ['UTC', 'Europe/Berlin']) {
  cleansLikeTheSystem(database, 'rodauth', {
    given: {
      tables: [...ACCOUNT_KEYS, 'account_jwt_refresh_keys', 'account_active_session_keys'],
      ...(timeZone !== 'UTC' && { timeZone }),
    },
    tables: `
      create table accounts (id bigserial primary key);
      ${ACCOUNT_KEYS.map(
        (table) => `
          create table ${table} (
            id bigint primary key references accounts, key varchar not null default '', deadline timestamp not null
          );`,
      ).join('')}
      create table account_jwt_refresh_keys (
        id bigserial primary key, account_id bigint not null references accounts, key varchar not null default '',
        deadline timestamp not null
      );
      create table account_active_session_keys (
        account_id bigint references accounts, session_id varchar, created_at timestamp not null, last_use timestamp not null,
        primary key (account_id, session_id)
      );
      create table account_lockouts (
        id bigint primary key references accounts, key varchar not null default '', deadline timestamp not null
      )`,
    rows: `
      create temporary table deadlines as
        select row_number() over () as id, at as deadline from fixture.local_times('0', '${timeZone}') as at;
      insert into accounts select id from deadlines;
      ${[...ACCOUNT_KEYS, 'account_lockouts']
        .map((table) => `insert into ${table} (id, deadline) select id, deadline from deadlines;`)
        .join('')}
      insert into account_jwt_refresh_keys (account_id, deadline) select 1, deadline from deadlines;
      insert into account_active_session_keys
      select 1, gen_random_uuid(), made, used
      from fixture.local_times('30 days', '${timeZone}') as made, fixture.local_times('1 day', '${timeZone}') as used;
      drop table deadlines`,
    cleaner: `
      ${[...ACCOUNT_KEYS, 'account_jwt_refresh_keys']
        .map((table) => `delete from ${table} where now() at time zone '${timeZone}' > deadline;`)
        .join('')}
      delete from account_active_session_keys
      where last_use < now() at time zone '${timeZone}' - interval '1 day'
        or created_at < now() at time zone '${timeZone}' - interval '30 days'`,
  });
}
