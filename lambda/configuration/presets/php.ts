import { definePreset, sumOf } from './preset';

/** Laravel. It writes timestamps without a zone in the zone of config/app.php. */
export const PHP = {
  laravel: definePreset({
    system: 'Laravel',
    cleaner: 'the session handler, on some requests; artisan auth:clear-resets',
    hasOwnZone: true,
    retention: {
      lifetime: { about: 'session.lifetime', default: '120m' },
      passwordExpire: { about: 'auth.passwords.users.expire', default: '60m' },
    },
    tables: ({ lifetime, passwordExpire }) => [
      {
        table: 'sessions',
        deleteWhen: [{ last_activity: { olderThan: lifetime, epoch: 's' } }],
        recognize: ['user_id', 'ip_address', 'user_agent', 'payload'],
      },
      {
        table: 'password_reset_tokens',
        deleteWhen: [{ created_at: { olderThan: passwordExpire } }],
        recognize: ['email', 'token'],
      },
    ],
  }),

  'laravel-passport': definePreset({
    system: 'Laravel Passport',
    cleaner: 'artisan passport:purge',
    hasOwnZone: true,
    retention: { expiredFor: { about: '--hours of the cleaner', default: '168h' } },
    tables: ({ expiredFor }) =>
      ['oauth_refresh_tokens', 'oauth_access_tokens', 'oauth_auth_codes', 'oauth_device_codes'].map((table) => ({
        table,
        deleteWhen: [{ revoked: true }, { expires_at: { olderThan: expiredFor } }],
        recognize: [table === 'oauth_refresh_tokens' ? 'access_token_id' : 'client_id'],
        optional: table === 'oauth_device_codes',
      })),
  }),

  'laravel-sanctum': definePreset({
    system: 'Laravel Sanctum',
    cleaner: 'artisan sanctum:prune-expired',
    hasOwnZone: true,
    retention: {
      expiredFor: { about: '--hours of the cleaner', default: '24h' },
      expiration: { about: 'sanctum.expiration; without it only tokens with their own expiry expire' },
    },
    tables: ({ expiredFor, expiration }) => [
      {
        table: 'personal_access_tokens',
        deleteWhen: [
          { expires_at: { olderThan: expiredFor } },
          ...(expiration ? [{ created_at: { olderThan: sumOf(expiration, expiredFor) } }] : []),
        ],
        recognize: ['tokenable_type', 'tokenable_id', 'token', 'abilities'],
      },
    ],
  }),
};
