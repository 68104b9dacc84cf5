import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

const TABLES = `
  create schema auth;
  create type auth.factor_type as enum ('totp', 'webauthn', 'phone');
  create type auth.factor_status as enum ('unverified', 'verified');
  create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
  create table auth.users (id uuid primary key);
  create table auth.sessions (
    id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users on delete cascade,
    created_at timestamptz, updated_at timestamptz, factor_id uuid, aal auth.aal_level, not_after timestamptz,
    refreshed_at timestamp, user_agent text, ip inet
  );
  create index on auth.sessions (not_after desc);
  create table auth.refresh_tokens (
    instance_id uuid, id bigserial primary key, token varchar(255) unique default gen_random_uuid(), user_id varchar(255),
    revoked boolean, created_at timestamptz, updated_at timestamptz, parent varchar(255),
    session_id uuid references auth.sessions on delete cascade
  );
  create index on auth.refresh_tokens (updated_at desc);
  create index on auth.refresh_tokens (session_id, revoked);
  create table auth.mfa_amr_claims (
    session_id uuid not null references auth.sessions on delete cascade, created_at timestamptz not null default now(),
    authentication_method text not null, id uuid primary key default gen_random_uuid(), unique (session_id, authentication_method)
  );
  create table auth.flow_state (
    id uuid primary key default gen_random_uuid(), user_id uuid, auth_code text, code_challenge text, provider_type text not null default '',
    created_at timestamptz, updated_at timestamptz
  );
  create index on auth.flow_state (created_at desc);
  create table auth.saml_relay_states (
    id uuid primary key default gen_random_uuid(), sso_provider_id uuid not null default gen_random_uuid(),
    request_id text not null default '', created_at timestamptz, flow_state_id uuid references auth.flow_state on delete cascade
  );
  create index on auth.saml_relay_states (created_at desc);
  create table auth.oauth_client_states (
    id uuid primary key default gen_random_uuid(), provider_type text not null default '', code_verifier text,
    created_at timestamptz not null
  );
  create table auth.mfa_factors (
    id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users on delete cascade,
    factor_type auth.factor_type not null default 'totp', status auth.factor_status not null, created_at timestamptz not null,
    secret text
  );
  create table auth.mfa_challenges (
    id uuid primary key default gen_random_uuid(), factor_id uuid not null references auth.mfa_factors on delete cascade,
    created_at timestamptz not null, verified_at timestamptz
  );
  create table auth.webauthn_challenges (
    id uuid primary key default gen_random_uuid(), user_id uuid references auth.users on delete cascade,
    challenge_type text not null default 'signup', session_data jsonb not null default '{}', expires_at timestamptz not null
  );`;

/** A relay state is as old as its flow, and a challenge as old as its factor: they are made together. */
const ROWS = `
  insert into auth.users values (gen_random_uuid());
  insert into auth.sessions (user_id, created_at, not_after, refreshed_at)
  select u.id, made, until, refreshed at time zone 'UTC'
  from auth.users as u, fixture.moments('48 hours') as made, fixture.moments_or_null('72 hours') as until,
    fixture.moments('36 hours') as refreshed;
  insert into auth.refresh_tokens (session_id, revoked, updated_at)
  select id, gone, at
  from auth.sessions, unnest('{true, false, null}'::bool[]) as gone, fixture.moments_or_null('24 hours') as at;
  insert into auth.refresh_tokens (revoked, updated_at)
  select gone, at from unnest('{true, false, null}'::bool[]) as gone, fixture.moments_or_null('24 hours') as at;
  insert into auth.mfa_amr_claims (session_id, authentication_method) select id, 'password' from auth.sessions;
  insert into auth.flow_state (created_at) select at from fixture.moments_or_null('24 hours') as at;
  insert into auth.saml_relay_states (created_at, flow_state_id)
  select created_at, id from auth.flow_state union all select created_at, null from auth.flow_state;
  insert into auth.oauth_client_states (created_at) select at from fixture.moments('24 hours') as at;
  insert into auth.mfa_factors (user_id, status, created_at)
  select u.id, s, at
  from auth.users as u, unnest(enum_range(null::auth.factor_status)) as s, fixture.moments('24 hours') as at;
  insert into auth.mfa_challenges (factor_id, created_at) select id, created_at from auth.mfa_factors;
  insert into auth.webauthn_challenges (expires_at) select at from fixture.moments('0') as at;`;

/** The statements of its cleaner, except the one that revokes tokens. */
const CLEANER = `
  delete from auth.refresh_tokens where revoked is true and updated_at < now() - interval '24 hours';
  delete from auth.sessions where not_after < now() - interval '72 hours';
  delete from auth.saml_relay_states where created_at < now() - interval '24 hours';
  delete from auth.flow_state where created_at < now() - interval '24 hours';
  delete from auth.oauth_client_states where created_at < now() - interval '24 hours';
  delete from auth.mfa_challenges where created_at < now() - interval '24 hours';
  delete from auth.mfa_factors where created_at < now() - interval '24 hours' and status = 'unverified';
  delete from auth.webauthn_challenges where expires_at < now();`;

cleansLikeTheSystem(database, 'supabase', { tables: TABLES, rows: ROWS, cleaner: CLEANER });

cleansLikeTheSystem(database, 'supabase', {
  given: { timebox: '24h', inactivityTimeout: '12h' },
  tables: TABLES,
  rows: ROWS,
  cleaner: `${CLEANER}
    delete from auth.sessions where created_at + interval '24 hours' < now() - interval '24 hours';
    delete from auth.sessions
    where refreshed_at is not null and refreshed_at + interval '12 hours' < now() at time zone 'UTC' - interval '24 hours';`,
});

const TOKENS = [
  ['confirmation_token', 'confirmation_sent_at'],
  ['reauthentication_token', 'reauthentication_sent_at'],
  ['recovery_token', 'recovery_sent_at'],
  ['email_change_token_new', 'email_change_sent_at'],
  ['email_change_token_current', 'email_change_sent_at'],
  ['phone_change_token', 'phone_change_sent_at'],
];

cleansLikeTheSystem(database, 'supabase', {
  given: { tables: ['one_time_tokens'], otpExpiry: '6h' },
  tables: `
    create schema auth;
    create type auth.one_time_token_type as enum (${TOKENS.map(([type]) => `'${type}'`).join(', ')});
    create table auth.users (
      id uuid primary key default gen_random_uuid(), confirmation_sent_at timestamptz, reauthentication_sent_at timestamptz,
      recovery_sent_at timestamptz, email_change_sent_at timestamptz, phone_change_sent_at timestamptz
    );
    create table auth.one_time_tokens (
      id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users on delete cascade,
      token_type auth.one_time_token_type not null, token_hash text not null default '', relates_to text not null default '',
      created_at timestamp not null default now(), updated_at timestamp not null default now(), unique (user_id, token_type)
    )`,
  rows: `
    insert into auth.users (confirmation_sent_at, recovery_sent_at, email_change_sent_at, phone_change_sent_at)
    select one, other, one, other
    from fixture.moments_or_null('6 hours') as one, fixture.moments_or_null('6 hours') as other;
    update auth.users set reauthentication_sent_at = recovery_sent_at;
    insert into auth.one_time_tokens (user_id, token_type)
    select u.id, type from auth.users as u, unnest(enum_range(null::auth.one_time_token_type)) as type`,
  // It has none; these are the tokens that it refuses as expired.
  cleaner: TOKENS.map(
    ([type, sentAt]) => `
      delete from auth.one_time_tokens
      where token_type = '${type}' and exists (
        select from auth.users where id = user_id and ${sentAt} < now() - interval '6 hours'
      );`,
  ).join(''),
});
