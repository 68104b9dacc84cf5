import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

/** The column of milliseconds by which SuperTokens deletes a row, and those of the primary key beside the tenant. */
const EXPIRING = [
  { table: 'session_info', expiry: 'expires_at', key: 'session_handle', columns: 'refresh_token_hash_2 varchar(128)' },
  { table: 'emailpassword_pswd_reset_tokens', expiry: 'token_expiry', key: 'token' },
  { table: 'emailverification_tokens', expiry: 'token_expiry', key: 'token' },
  { table: 'dashboard_user_sessions', expiry: 'expiry', key: 'session_id' },
  { table: 'totp_used_codes', expiry: 'expiry_time_ms', key: 'user_id', columns: 'is_valid boolean' },
  { table: 'saml_relay_state', expiry: 'expires_at', key: 'relay_state' },
  { table: 'saml_claims', expiry: 'expires_at', key: 'code', columns: 'claims text' },
  { table: 'webauthn_generated_options', expiry: 'expires_at', key: 'id', columns: 'challenge varchar(256)' },
  { table: 'webauthn_account_recovery_tokens', expiry: 'expires_at', key: 'token' },
];

cleansLikeTheSystem(database, 'supertokens', {
  given: {
    tables: [...EXPIRING.map(({ table }) => table), 'oauth_sessions', 'oauth_m2m_tokens', 'oauth_logout_challenges'],
  },
  tables: `
    create table tenants (
      app_id varchar(64) default 'public', tenant_id varchar(64) default 'public', primary key (app_id, tenant_id)
    );
    create table oauth_clients (app_id varchar(64), client_id varchar(255) not null, primary key (app_id, client_id));
    ${EXPIRING.map(
      ({ table, expiry, key, columns }) => `
        create table ${table} (
          app_id varchar(64) default 'public', tenant_id varchar(64) default 'public', ${key} varchar(255) not null,
          ${columns ? `${columns},` : ''} ${expiry} bigint not null, primary key (app_id, tenant_id, ${key}),
          foreign key (app_id, tenant_id) references tenants on delete cascade
        );
        create index on ${table} (${expiry});`,
    ).join('')}
    create table oauth_sessions (
      gid varchar(255) primary key, app_id varchar(64) default 'public', client_id varchar(255) not null, jti text not null,
      exp bigint not null, foreign key (app_id, client_id) references oauth_clients on delete cascade
    );
    create index on oauth_sessions (exp desc);
    create table oauth_m2m_tokens (
      app_id varchar(64) default 'public', client_id varchar(255) not null, iat bigint not null, exp bigint not null,
      primary key (app_id, client_id, iat), foreign key (app_id, client_id) references oauth_clients on delete cascade
    );
    create table oauth_logout_challenges (
      app_id varchar(64) default 'public', challenge varchar(128) not null, client_id varchar(255) not null,
      time_created bigint not null, primary key (app_id, challenge),
      foreign key (app_id, client_id) references oauth_clients on delete cascade
    )`,
  rows: `
    insert into tenants values ('public', 'public');
    insert into oauth_clients values ('public', 'c');
    ${EXPIRING.map(
      ({ table, expiry, key }) =>
        `insert into ${table} (${key}, ${expiry}) select gen_random_uuid(), at from fixture.milliseconds('0') as at;`,
    ).join('')}
    insert into oauth_sessions (gid, client_id, jti, exp)
    select gen_random_uuid(), 'c', '', at from fixture.seconds('31 days') as at;
    insert into oauth_m2m_tokens (client_id, iat, exp) select 'c', at, at from fixture.seconds('31 days') as at;
    insert into oauth_logout_challenges (challenge, client_id, time_created)
    select gen_random_uuid(), 'c', at from fixture.milliseconds('48 hours') as at`,
  cleaner: `
    ${EXPIRING.map(({ table, expiry }) => `delete from ${table} where ${expiry} < fixture.now_ms();`).join('')}
    delete from oauth_sessions where exp < fixture.now_s() - 31 * 86400;
    delete from oauth_m2m_tokens where exp < fixture.now_s() - 31 * 86400;
    delete from oauth_logout_challenges where time_created < fixture.now_ms() - 48 * 3600 * 1000`,
});
