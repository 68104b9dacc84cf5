import { useDatabase } from '../support/database';
import { cleansLikeTheSystem } from './system';

const database = useDatabase();

/** Laravel writes its timestamps in the zone of config/app.php. */
for (const timeZone of ['UTC', 'America/New_York']) {
  const given = timeZone === 'UTC' ? {} : { timeZone };
  const now = `(now() at time zone '${timeZone}')`;
  const times = (age: string) => `(select fixture.local_times('${age}', '${timeZone}') union all select null)`;

  cleansLikeTheSystem(database, 'laravel', {
    given,
    tables: `
      create table sessions (
        id varchar(255) primary key, user_id bigint, ip_address varchar(45), user_agent text, payload text not null,
        last_activity int not null
      );
      create index on sessions (user_id);
      create index on sessions (last_activity);
      create table password_reset_tokens (email varchar(255) primary key, token varchar(255) not null, created_at timestamp(0))`,
    rows: `
      insert into sessions
      select gen_random_uuid(), owner, null, null, '', used
      from fixture.seconds('120 minutes') as used, unnest('{1, null}'::bigint[]) as owner;
      insert into password_reset_tokens select gen_random_uuid(), '', at from ${times('60 minutes')} as t (at)`,
    cleaner: `
      delete from sessions where last_activity <= fixture.now_s() - 120 * 60;
      delete from password_reset_tokens where created_at < ${now} - interval '60 minutes'`,
  });

  const passport = ['oauth_access_tokens', 'oauth_auth_codes', 'oauth_device_codes'];

  cleansLikeTheSystem(database, 'laravel-passport', {
    given: { ...given, tables: [...passport, 'oauth_refresh_tokens'] },
    tables: `
      ${passport
        .map(
          (table) => `
            create table ${table} (
              id char(80) primary key, user_id bigint, client_id uuid not null, scopes text, revoked boolean not null,
              expires_at timestamp(0)
            );`,
        )
        .join('')}
      create table oauth_refresh_tokens (
        id char(80) primary key, access_token_id char(80) not null, revoked boolean not null, expires_at timestamp(0)
      );
      create index on oauth_refresh_tokens (access_token_id)`,
    rows: `
      ${passport
        .map(
          (table) => `
            insert into ${table}
            select gen_random_uuid(), 1, gen_random_uuid(), null, gone, at
            from ${times('168 hours')} as t (at), unnest('{true, false}'::bool[]) as gone;`,
        )
        .join('')}
      insert into oauth_refresh_tokens select id, '', revoked, expires_at from oauth_access_tokens`,
    cleaner: [...passport, 'oauth_refresh_tokens']
      .map((table) => `delete from ${table} where revoked or expires_at < ${now} - interval '168 hours';`)
      .join(''),
  });

  cleansLikeTheSystem(database, 'laravel-sanctum', {
    given: { ...given, expiration: '30d' },
    tables: `
      create table personal_access_tokens (
        id bigserial primary key, tokenable_type varchar(255) not null, tokenable_id bigint not null, name varchar(255) not null,
        token varchar(64) not null unique, abilities text, last_used_at timestamp(0), expires_at timestamp(0),
        created_at timestamp(0), updated_at timestamp(0)
      )`,
    rows: `
      insert into personal_access_tokens (tokenable_type, tokenable_id, name, token, expires_at, created_at)
      select 'User', 1, '', gen_random_uuid(), expires, made
      from ${times('24 hours')} as e (expires), ${times('31 days')} as m (made)`,
    cleaner: `
      delete from personal_access_tokens where expires_at < ${now} - interval '24 hours';
      delete from personal_access_tokens where created_at < ${now} - interval '30 days' - interval '24 hours'`,
  });
}
