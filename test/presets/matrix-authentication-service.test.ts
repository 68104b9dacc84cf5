import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

cleansLikeTheSystem(database, 'matrix-authentication-service', {
  tables: `
    create table users (user_id uuid primary key);
    create table user_sessions (
      user_session_id uuid primary key, user_id uuid not null references users, created_at timestamptz not null,
      finished_at timestamptz
    );
    create table oauth2_sessions (
      oauth2_session_id uuid primary key default gen_random_uuid(), user_session_id uuid references user_sessions,
      oauth2_client_id uuid not null default gen_random_uuid(), created_at timestamptz not null default now(),
      finished_at timestamptz, user_id uuid references users on delete cascade, scope_list text[] not null default '{}'
    );
    create table oauth2_access_tokens (
      oauth2_access_token_id uuid primary key default gen_random_uuid(), oauth2_session_id uuid not null references oauth2_sessions,
      access_token text not null unique default gen_random_uuid(), created_at timestamptz not null default now(),
      expires_at timestamptz, revoked_at timestamptz, first_used_at timestamptz
    );
    create table oauth2_refresh_tokens (
      oauth2_refresh_token_id uuid primary key default gen_random_uuid(), oauth2_session_id uuid not null references oauth2_sessions,
      oauth2_access_token_id uuid references oauth2_access_tokens on delete set null,
      refresh_token text not null unique default gen_random_uuid(), created_at timestamptz not null default now(),
      consumed_at timestamptz, revoked_at timestamptz,
      next_oauth2_refresh_token_id uuid references oauth2_refresh_tokens on delete set null
    );
    create table oauth2_authorization_grants (
      oauth2_authorization_grant_id uuid primary key default gen_random_uuid(), oauth2_client_id uuid not null,
      oauth2_session_id uuid references oauth2_sessions, created_at timestamptz not null, exchanged_at timestamptz,
      user_session_id uuid references user_sessions on delete set null
    );
    create table oauth2_device_code_grant (
      oauth2_device_code_grant_id uuid primary key default gen_random_uuid(), oauth2_client_id uuid not null,
      created_at timestamptz not null, expires_at timestamptz not null, exchanged_at timestamptz,
      oauth2_session_id uuid references oauth2_sessions on delete cascade, user_session_id uuid references user_sessions
    );
    create table compat_sessions (
      compat_session_id uuid primary key default gen_random_uuid(), user_id uuid not null references users, device_id text,
      created_at timestamptz not null default now(), finished_at timestamptz, is_synapse_admin boolean not null default false,
      user_session_id uuid references user_sessions
    );
    create table compat_access_tokens (
      compat_access_token_id uuid primary key default gen_random_uuid(),
      compat_session_id uuid not null references compat_sessions, access_token text not null unique default gen_random_uuid(),
      created_at timestamptz not null default now(), expires_at timestamptz
    );
    create table compat_refresh_tokens (
      compat_refresh_token_id uuid primary key default gen_random_uuid(),
      compat_session_id uuid not null references compat_sessions,
      compat_access_token_id uuid not null references compat_access_tokens,
      refresh_token text not null unique default gen_random_uuid(), consumed_at timestamptz
    );
    create table compat_sso_logins (
      compat_sso_login_id uuid primary key default gen_random_uuid(), redirect_uri text not null default '',
      login_token text not null unique default gen_random_uuid(),
      compat_session_id uuid references compat_sessions on delete set null,
      user_session_id uuid references user_sessions on delete cascade
    );
    create table upstream_oauth_authorization_sessions (
      upstream_oauth_authorization_session_id uuid primary key default gen_random_uuid(),
      upstream_oauth_provider_id uuid not null, state text not null default '', created_at timestamptz not null,
      user_session_id uuid references user_sessions on delete set null
    );
    create table user_session_authentications (
      user_session_authentication_id uuid primary key default gen_random_uuid(),
      user_session_id uuid not null references user_sessions,
      upstream_oauth_authorization_session_id uuid references upstream_oauth_authorization_sessions on delete set null
    );
    create index on oauth2_sessions (user_session_id);
    create index on oauth2_access_tokens (oauth2_session_id);
    create index on oauth2_refresh_tokens (oauth2_session_id);
    create index on oauth2_refresh_tokens (oauth2_access_token_id);
    create index on oauth2_refresh_tokens (next_oauth2_refresh_token_id);
    create index on oauth2_authorization_grants (oauth2_session_id);
    create index on oauth2_device_code_grant (oauth2_session_id);
    create index on compat_sessions (user_session_id);
    create index on compat_access_tokens (compat_session_id);
    create index on compat_refresh_tokens (compat_session_id);
    create index on compat_refresh_tokens (compat_access_token_id);
    create index on compat_sso_logins (compat_session_id);
    create index on user_session_authentications (upstream_oauth_authorization_session_id)`,
  rows: `
    insert into users values (gen_random_uuid());
    insert into user_sessions select gen_random_uuid(), user_id, now(), at from users, fixture.moments_or_null('30 days') as at;
    insert into oauth2_sessions (user_session_id, finished_at) select user_session_id, finished_at from user_sessions;
    insert into compat_sessions (user_session_id, user_id, finished_at)
    select user_session_id, user_id, at from user_sessions, fixture.moments_or_null('30 days') as at;

    insert into oauth2_access_tokens (oauth2_session_id, expires_at, revoked_at)
    select oauth2_session_id, expires, revoked
    from oauth2_sessions, fixture.moments_or_null('30 days') as expires, fixture.moments_or_null('1 hour') as revoked;
    insert into oauth2_refresh_tokens (oauth2_session_id, oauth2_access_token_id, consumed_at, revoked_at)
    select oauth2_session_id, oauth2_access_token_id, consumed, revoked
    from oauth2_access_tokens, fixture.moments_or_null('1 hour') as consumed, fixture.moments_or_null('1 hour') as revoked
    where expires_at is null and revoked_at is null;
    -- Chains: the next token was consumed or not. Every token that was consumed has one.
    with numbered as (
      select oauth2_refresh_token_id as id, lead(oauth2_refresh_token_id) over (order by consumed_at nulls last, random()) as next
      from oauth2_refresh_tokens
    )
    update oauth2_refresh_tokens set next_oauth2_refresh_token_id = next
    from numbered where id = oauth2_refresh_token_id and consumed_at is not null;

    insert into oauth2_authorization_grants (oauth2_client_id, oauth2_session_id, created_at)
    select gen_random_uuid(), oauth2_session_id, at from oauth2_sessions, fixture.moments('7 days') as at
    where finished_at is null or finished_at > now() - interval '30 days';
    insert into oauth2_authorization_grants (oauth2_client_id, oauth2_session_id, created_at)
    select gen_random_uuid(), oauth2_session_id, now() - interval '31 days' from oauth2_sessions;
    insert into oauth2_device_code_grant (oauth2_client_id, oauth2_session_id, created_at, expires_at)
    select oauth2_client_id, oauth2_session_id, created_at, created_at from oauth2_authorization_grants;

    insert into compat_access_tokens (compat_session_id, expires_at)
    select compat_session_id, at from compat_sessions, fixture.moments_or_null('0') as at;
    insert into compat_refresh_tokens (compat_session_id, compat_access_token_id)
    select compat_session_id, compat_access_token_id from compat_access_tokens;
    insert into compat_sso_logins (compat_session_id) select compat_session_id from compat_sessions union all select null;

    insert into upstream_oauth_authorization_sessions (upstream_oauth_provider_id, created_at, user_session_id)
    select gen_random_uuid(), at, s.id
    from fixture.moments('7 days') as at,
      (select min(user_session_id::text)::uuid from user_sessions union all select null) as s (id);
    insert into user_session_authentications (user_session_id, upstream_oauth_authorization_session_id)
    select s.user_session_id, upstream_oauth_authorization_session_id
    from user_sessions as s, upstream_oauth_authorization_sessions`,
  cleaner: `
    delete from oauth2_access_tokens where revoked_at < now() - interval '1 hour';
    delete from oauth2_access_tokens where expires_at < now() - interval '30 days';
    delete from oauth2_refresh_tokens where revoked_at < now() - interval '1 hour';
    delete from oauth2_refresh_tokens as old where consumed_at < now() - interval '1 hour' and (
      next_oauth2_refresh_token_id is null or exists (
        select from oauth2_refresh_tokens as next
        where next.oauth2_refresh_token_id = old.next_oauth2_refresh_token_id and next.consumed_at is not null
      )
    );
    delete from oauth2_refresh_tokens using oauth2_sessions as s
    where s.oauth2_session_id = oauth2_refresh_tokens.oauth2_session_id and finished_at < now() - interval '30 days';
    delete from oauth2_access_tokens using oauth2_sessions as s
    where s.oauth2_session_id = oauth2_access_tokens.oauth2_session_id and finished_at < now() - interval '30 days';
    -- By the time inside the keys, which is that of created_at.
    delete from oauth2_authorization_grants where created_at <= now() - interval '7 days';
    delete from oauth2_device_code_grant where created_at <= now() - interval '7 days';
    delete from oauth2_sessions where finished_at < now() - interval '30 days';
    delete from compat_refresh_tokens using compat_sessions as s
    where s.compat_session_id = compat_refresh_tokens.compat_session_id and finished_at < now() - interval '30 days';
    delete from compat_access_tokens using compat_sessions as s
    where s.compat_session_id = compat_access_tokens.compat_session_id and finished_at < now() - interval '30 days';
    delete from compat_sso_logins using compat_sessions as s
    where s.compat_session_id = compat_sso_logins.compat_session_id and finished_at < now() - interval '30 days';
    delete from compat_sessions where finished_at < now() - interval '30 days';
    delete from upstream_oauth_authorization_sessions where created_at <= now() - interval '7 days' and user_session_id is null`,
});
