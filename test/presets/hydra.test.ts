import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

/** Codes and tokens of Hydra have the same columns, and go with their flow. */
const HYDRA_TOKENS = ['access', 'refresh', 'code', 'pkce', 'oidc'].map((name) => `hydra_oauth2_${name}`);

cleansLikeTheSystem(database, 'ory-hydra', {
  given: {
    tables: [
      ...HYDRA_TOKENS,
      ...['device_auth_codes', 'flow', 'jti_blacklist', 'authentication_session', 'logout_request'].map(
        (name) => `hydra_oauth2_${name}`,
      ),
    ],
  },
  tables: `
    create table hydra_oauth2_authentication_session (
      id varchar(40) primary key, authenticated_at timestamp, subject varchar(255) not null, nid uuid not null,
      expires_at timestamp
    );
    create table hydra_oauth2_flow (
      login_challenge varchar(40) primary key, client_id varchar(255), requested_at timestamp not null default now(),
      login_session_id varchar(40) references hydra_oauth2_authentication_session on delete set null, state int,
      login_error text, consent_challenge_id varchar(40), consent_remember_for int, consent_error text, nid uuid not null,
      expires_at timestamp generated always as (
        case when consent_remember_for > 0 then requested_at + consent_remember_for::float8 * '1 second'::interval end
      ) stored
    );
    create index on hydra_oauth2_flow (login_session_id);
    ${HYDRA_TOKENS.map(
      (table) => `
        create table ${table} (
          signature varchar(255) primary key, request_id varchar(40) not null default '', requested_at timestamp not null,
          active boolean not null default true, challenge_id varchar(40) references hydra_oauth2_flow on delete cascade,
          nid uuid not null, expires_at timestamp
        );
        create index on ${table} (challenge_id, nid);`,
    ).join('')}
    create table hydra_oauth2_device_auth_codes (
      device_code_signature varchar(255) not null, request_id varchar(40) not null default '', requested_at timestamp not null,
      challenge_id varchar(40) references hydra_oauth2_flow on delete cascade, expires_at timestamp, nid uuid not null,
      primary key (device_code_signature, nid)
    );
    create index on hydra_oauth2_device_auth_codes (challenge_id, nid);
    create table hydra_oauth2_jti_blacklist (
      signature varchar(64), expires_at timestamp not null default now(), nid uuid, primary key (signature, nid)
    );
    create table hydra_oauth2_logout_request (
      challenge varchar(36) primary key, verifier varchar(36) not null, nid uuid not null, expires_at timestamp
    )`,
  // Tokens and codes belong to flows that ended in a consent, as in Hydra; one code belongs to a flow that did not.
  rows: `
    create temporary table n as select gen_random_uuid() as id;
    insert into hydra_oauth2_flow (login_challenge, requested_at, state, consent_error, consent_remember_for, nid)
    select gen_random_uuid(), at, state, error, 0, n.id
    from n, fixture.utc('30 minutes') as at, unnest('{1, 2, 3, 4, 5, 6, 128, 129}'::int[]) as state,
      unnest('{"{}", "", null}'::text[]) as error;
    ${HYDRA_TOKENS.map(
      (table) => `
        insert into ${table} (signature, requested_at, challenge_id, nid, expires_at)
        select gen_random_uuid(), requested, challenge, n.id, expires
        from n, fixture.utc('${table.endsWith('refresh') ? '720 hours' : '1 hour'}') as requested,
          (select fixture.utc('0') union all select null) as e (expires),
          (select min(login_challenge) from hydra_oauth2_flow where state = 6 union all select null) as c (challenge)
        where coalesce(expires < now() at time zone 'UTC', true) or requested > now() at time zone 'UTC' - interval '30 minutes';`,
    ).join('')}
    insert into hydra_oauth2_device_auth_codes (device_code_signature, requested_at, nid, expires_at)
    select gen_random_uuid(), at, n.id, at from n, fixture.utc('0') as at;
    insert into hydra_oauth2_jti_blacklist select gen_random_uuid(), at, n.id from n, fixture.utc('0') as at;
    insert into hydra_oauth2_logout_request select gen_random_uuid(), '', n.id, at from n, fixture.utc('0') as at;
    insert into hydra_oauth2_authentication_session select gen_random_uuid(), at, '', n.id, at from n, fixture.utc('0') as at;
    drop table n`,
  // The janitor, and for the tables that it does not clean the rows whose expiry has passed.
  cleaner: `
    set local "TimeZone" to 'UTC';
    delete from hydra_oauth2_access where requested_at < now() - interval '1 hour';
    delete from hydra_oauth2_refresh where requested_at < now() - interval '720 hours';
    delete from hydra_oauth2_flow where requested_at < now() - interval '30 minutes' and (
      state <> 6 or login_error is not null and login_error not in ('{}', '')
      or consent_error is not null and consent_error not in ('{}', '')
    );
    ${['code', 'pkce', 'oidc', 'device_auth_codes', 'jti_blacklist', 'authentication_session', 'logout_request']
      .map((name) => `delete from hydra_oauth2_${name} where expires_at < now();`)
      .join('')}`,
});

test('ory-hydra keeps the tokens that its janitor deletes while they live, and the flows that they belong to', async () => {
  await database.sql(`
    create table hydra_oauth2_flow (
      login_challenge text primary key, requested_at timestamp not null, state int, consent_challenge_id text, nid uuid
    );
    create table hydra_oauth2_refresh (
      signature text primary key, requested_at timestamp not null, expires_at timestamp,
      challenge_id text references hydra_oauth2_flow on delete cascade
    );
    create index on hydra_oauth2_refresh (challenge_id);
    ${['access', 'code', 'pkce', 'oidc', 'device_auth_codes']
      .map(
        (name) => `
          create table hydra_oauth2_${name} (like hydra_oauth2_refresh);
          alter table hydra_oauth2_${name} add foreign key (challenge_id) references hydra_oauth2_flow on delete cascade;
          create index on hydra_oauth2_${name} (challenge_id);`,
      )
      .join('')}
    insert into hydra_oauth2_flow select flow, now() - interval '90 days', 5 from unnest('{live, dead, none}'::text[]) as flow;
    insert into hydra_oauth2_refresh values
      ('live', now() - interval '60 days', now() + interval '30 days', 'live'),
      ('dead', now() - interval '60 days', now() - interval '30 days', 'dead')`);

  const report = await database
    .service({ targets: [{ preset: 'ory-hydra', tables: ['hydra_oauth2_refresh', 'hydra_oauth2_flow'] }] })
    .run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 3 });
  expect(await database.column('select signature from hydra_oauth2_refresh')).toEqual(['live']);
  expect(await database.column('select login_challenge from hydra_oauth2_flow')).toEqual(['live']);
});
