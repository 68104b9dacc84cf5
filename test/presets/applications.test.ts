import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

cleansLikeTheSystem(database, 'spring-session', {
  tables: `
    create table spring_session (
      primary_id char(36) not null primary key, session_id char(36) not null unique, creation_time bigint not null,
      last_access_time bigint not null, max_inactive_interval int not null, expiry_time bigint not null,
      principal_name varchar(100)
    );
    create index on spring_session (expiry_time);
    create table spring_session_attributes (
      session_primary_id char(36) not null references spring_session on delete cascade, attribute_name varchar(200) not null,
      attribute_bytes bytea not null, primary key (session_primary_id, attribute_name)
    )`,
  rows: `
    insert into spring_session select gen_random_uuid(), gen_random_uuid(), 0, 0, 1800, at from fixture.milliseconds('0') as at;
    insert into spring_session_attributes
    select primary_id, name, '' from spring_session, unnest('{a, b}'::text[]) as name where primary_id > '4'`,
  cleaner: 'delete from spring_session where expiry_time < fixture.now_ms()',
});

cleansLikeTheSystem(database, 'mattermost', {
  given: { tables: ['sessions', 'tokens', 'desktoptokens', 'oauthauthdata'] },
  tables: `
    create table sessions (
      id varchar(26) primary key, token varchar(26), createat bigint, expiresat bigint, lastactivityat bigint,
      userid varchar(26), deviceid varchar(512), roles varchar(256), isoauth boolean, props jsonb, expirednotify boolean
    );
    create index on sessions (expiresat);
    create table tokens (token varchar(64) primary key, createat bigint, type varchar(64), extra varchar(2048));
    create table desktoptokens (token varchar(64) primary key, createat bigint, userid varchar(26));
    create index on desktoptokens (createat);
    create table oauthauthdata (
      clientid varchar(26), userid varchar(26), code varchar(128) primary key, expiresin int, createat bigint,
      redirecturi varchar(256), state varchar(1024), scope varchar(128)
    )`,
  rows: `
    insert into sessions (id, token, expiresat, createat)
    select left(md5(random()::text), 26), '', at, made
    from (select fixture.milliseconds('0') union all select unnest('{0, null}'::bigint[])) as expiry (at),
      fixture.milliseconds('30 days') as made;
    insert into tokens select gen_random_uuid(), at, 'password_recovery', '' from fixture.milliseconds('48 hours') as at;
    insert into desktoptokens select gen_random_uuid(), at, '' from fixture.seconds('3 minutes') as at;
    insert into oauthauthdata (code, expiresin, createat)
    select gen_random_uuid(), lifetime, at
    from unnest('{600, 2147483647, null}'::int[]) as lifetime, fixture.milliseconds('600 seconds') as at`,
  cleaner: `
    delete from sessions where expiresat <> 0 and expiresat < fixture.now_ms();
    delete from tokens where createat < fixture.now_ms() - 48 * 3600 * 1000;
    delete from desktoptokens where createat < fixture.now_s() - 180;
    delete from oauthauthdata where createat + expiresin::bigint * 1000 < fixture.now_ms()`,
});

cleansLikeTheSystem(database, 'gitea', {
  given: { tables: ['session', 'auth_token', 'oauth2_authorization_code'] },
  tables: `
    create table session (key char(16) primary key, data bytea, expiry bigint);
    create table auth_token (id varchar(255) primary key, token_hash varchar(255), user_id bigint, expires_unix bigint);
    create index on auth_token (expires_unix);
    create table oauth2_authorization_code (
      id bigserial primary key, grant_id bigint, code varchar(255) unique, code_challenge varchar(255),
      redirect_uri varchar(255), valid_until bigint
    );
    create index on oauth2_authorization_code (valid_until)`,
  rows: `
    insert into session select left(md5(random()::text), 16), '', at from fixture.seconds('86400 seconds') as at;
    insert into auth_token select gen_random_uuid(), '', 1, at from fixture.seconds('0') as at;
    insert into oauth2_authorization_code (grant_id, code, valid_until)
    select 1, gen_random_uuid(), at from fixture.seconds('0') as at`,
  cleaner: `
    delete from session where expiry <= fixture.now_s() - 86400;
    delete from auth_token where expires_unix < fixture.now_s();
    delete from oauth2_authorization_code where valid_until < fixture.now_s()`,
});

cleansLikeTheSystem(database, 'discourse', {
  tables: `
    create table user_auth_tokens (
      id serial primary key, user_id int not null, auth_token varchar not null unique, prev_auth_token varchar not null unique,
      user_agent varchar, auth_token_seen boolean not null default false, client_ip inet, rotated_at timestamp not null,
      created_at timestamp(6) not null, updated_at timestamp(6) not null, seen_at timestamp
    );
    create table user_auth_token_logs (id serial primary key, action varchar not null, created_at timestamp)`,
  rows: `
    insert into user_auth_tokens (user_id, auth_token, prev_auth_token, rotated_at, created_at, updated_at)
    select 1, gen_random_uuid(), gen_random_uuid(), at at time zone 'UTC', made at time zone 'UTC', now()
    from fixture.moments('86410 minutes') as at, fixture.moments('100 days') as made;
    insert into user_auth_token_logs (action, created_at) values ('suspicious', '2020-01-01')`,
  cleaner: `delete from user_auth_tokens where rotated_at < now() at time zone 'UTC' - interval '86410 minutes'`,
});

cleansLikeTheSystem(database, 'grafana', {
  tables: `
    create table user_auth_token (
      id serial primary key, user_id bigint not null, auth_token varchar(100) not null unique,
      prev_auth_token varchar(100) not null unique, user_agent varchar(255) not null, client_ip varchar(255) not null,
      auth_token_seen boolean not null, seen_at int, rotated_at int not null, created_at int not null, updated_at int not null,
      revoked_at int
    );
    create index on user_auth_token (revoked_at)`,
  rows: `
    insert into user_auth_token
      (user_id, auth_token, prev_auth_token, user_agent, client_ip, auth_token_seen, rotated_at, created_at, updated_at, revoked_at)
    select 1, gen_random_uuid(), gen_random_uuid(), '', '', true, rotated, made, 0, gone
    from fixture.seconds('7 days') as rotated, fixture.seconds('30 days') as made, unnest('{0, null}'::int[]) as gone`,
  cleaner: `
    delete from user_auth_token
    where created_at <= fixture.now_s() - 30 * 86400 or rotated_at <= fixture.now_s() - 7 * 86400`,
});

cleansLikeTheSystem(database, 'phoenix', {
  tables: `
    create table users (id bigserial primary key);
    create table users_tokens (
      id bigserial primary key, user_id bigint not null references users on delete cascade, token bytea not null,
      context varchar(255) not null, sent_to varchar(255), inserted_at timestamp(0) not null, unique (context, token)
    );
    create index on users_tokens (user_id)`,
  rows: `
    insert into users values (1);
    insert into users_tokens (user_id, token, context, inserted_at)
    select 1, gen_random_uuid()::text::bytea, context, at at time zone 'UTC'
    from fixture.moments('60 days') as at, unnest('{session, confirm, change:a@example.com}'::text[]) as context`,
  // The longest validity of all contexts: none of its tokens can be used any more.
  cleaner: `delete from users_tokens where inserted_at < now() at time zone 'UTC' - interval '60 days'`,
});

cleansLikeTheSystem(database, 'synapse', {
  given: { tables: ['login_tokens', 'threepid_validation_token', 'open_id_tokens'] },
  tables: `
    create table login_tokens (
      token text primary key, user_id text not null, expiry_ts bigint not null, used_ts bigint, auth_provider_id text,
      auth_provider_session_id text
    );
    create index on login_tokens (expiry_ts);
    create table threepid_validation_token (
      token text primary key, session_id text not null, next_link text, expires bigint not null
    );
    create table open_id_tokens (token text not null primary key, ts_valid_until_ms bigint not null, user_id text not null);
    create table refresh_tokens (
      id bigint primary key, user_id text not null, device_id text not null, token text not null unique,
      next_token_id bigint references refresh_tokens on delete cascade, expiry_ts bigint, ultimate_session_expiry_ts bigint
    );
    create table access_tokens (
      id bigint primary key, user_id text not null, token text not null unique, valid_until_ms bigint,
      refresh_token_id bigint references refresh_tokens on delete cascade
    )`,
  rows: `
    insert into login_tokens (token, user_id, expiry_ts, used_ts)
    select gen_random_uuid(), '', at, used from fixture.milliseconds('5 minutes') as at, unnest('{1, null}'::bigint[]) as used;
    insert into threepid_validation_token select gen_random_uuid(), '', null, at from fixture.milliseconds('0') as at;
    insert into open_id_tokens select gen_random_uuid(), at, '' from fixture.milliseconds('0') as at;
    insert into refresh_tokens (id, user_id, device_id, token, expiry_ts) values (1, '', '', 'x', 1);
    insert into access_tokens values (1, '', 'y', 1, 1)`,
  cleaner: `
    delete from login_tokens where expiry_ts <= fixture.now_ms() - 5 * 60 * 1000;
    delete from threepid_validation_token where expires < fixture.now_ms();
    delete from open_id_tokens where ts_valid_until_ms < fixture.now_ms()`,
});
