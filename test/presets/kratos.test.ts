import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

const FLOWS = ['login', 'registration', 'settings', 'recovery', 'verification'].map(
  (name) => `selfservice_${name}_flows`,
);

cleansLikeTheSystem(database, 'ory-kratos', {
  given: {
    keepLast: '24h',
    tables: ['sessions', 'continuity_containers', ...FLOWS, 'session_token_exchanges', 'selfservice_errors'],
  },
  tables: `
    create table networks (id uuid primary key);
    create table identities (id uuid primary key);
    create table sessions (
      id uuid primary key default gen_random_uuid(), issued_at timestamp not null default now(), expires_at timestamp not null,
      authenticated_at timestamp not null default now(), aal varchar(4) not null default '',
      identity_id uuid references identities on delete cascade, token varchar(39) unique, active boolean default false,
      nid uuid references networks on update restrict on delete cascade
    );
    create table session_devices (
      id uuid primary key default gen_random_uuid(), session_id uuid not null references sessions on delete cascade
    );
    create index on session_devices (session_id);
    create table continuity_containers (
      id uuid primary key default gen_random_uuid(), name varchar(255) not null default '', expires_at timestamp not null,
      payload jsonb, nid uuid
    );
    ${FLOWS.map(
      (table) => `
        create table ${table} (
          id uuid primary key default gen_random_uuid(), request_url text not null default '', expires_at timestamp not null,
          active_method varchar(32), nid uuid
        );`,
    ).join('')}
    create table identity_recovery_codes (
      id uuid primary key default gen_random_uuid(), used_at timestamp, expires_at timestamp not null,
      selfservice_recovery_flow_id uuid not null references selfservice_recovery_flows on delete cascade
    );
    create index on identity_recovery_codes (selfservice_recovery_flow_id);
    create table session_token_exchanges (
      id uuid primary key default gen_random_uuid(), init_code varchar(64) not null default '', created_at timestamp not null,
      return_to_code varchar(64) not null default ''
    );
    create table selfservice_errors (
      id uuid primary key default gen_random_uuid(), errors jsonb not null default '[]', seen_at timestamp,
      was_seen boolean not null, nid uuid
    )`,
  rows: `
    create function pg_temp.utc(age interval) returns setof timestamp language sql as $$
      select at at time zone 'UTC' from fixture.moments(age) as at $$;
    insert into sessions (expires_at, active)
    select at, active from pg_temp.utc('24 hours') as at, unnest('{true, false}'::bool[]) as active;
    insert into session_devices (session_id) select id from sessions;
    insert into continuity_containers (expires_at) select pg_temp.utc('24 hours');
    ${FLOWS.map((table) => `insert into ${table} (expires_at) select pg_temp.utc('24 hours');`).join('')}
    insert into identity_recovery_codes (expires_at, selfservice_recovery_flow_id)
    select expires_at, id from selfservice_recovery_flows;
    insert into session_token_exchanges (created_at) select pg_temp.utc('25 hours');
    insert into selfservice_errors (was_seen, seen_at) select true, pg_temp.utc('7 days') union all values (false, null::timestamp)`,
  // With the hour of the exchanges subtracted, which the cleaner adds by mistake.
  cleaner: `
    set local "TimeZone" to 'UTC';
    ${['sessions', 'continuity_containers', ...FLOWS]
      .map((table) => `delete from ${table} where expires_at <= now() - interval '24 hours';`)
      .join('')}
    delete from session_token_exchanges where created_at <= now() - interval '25 hours';
    delete from selfservice_errors where was_seen and seen_at < now() - interval '7 days' and seen_at is not null`,
});
