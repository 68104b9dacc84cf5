import { definePreset } from './preset';

/** Rails and Rodauth. Rails writes UTC into timestamps without a zone. */
export const RUBY = {
  'rails-session-store': definePreset({
    system: 'activerecord-session_store of Rails',
    cleaner: 'rake db:sessions:trim',
    retention: { trimThreshold: { about: 'SESSION_DAYS_TRIM_THRESHOLD', default: '30d' } },
    tables: ({ trimThreshold }) => [
      {
        table: 'sessions',
        deleteWhen: [{ updated_at: { olderThan: trimThreshold } }],
        recognize: ['session_id', 'data', 'created_at'],
      },
    ],
  }),

  doorkeeper: definePreset({
    system: 'Doorkeeper',
    cleaner: 'rake doorkeeper:db:cleanup',
    caveat:
      'Tokens without expires_in never expire, and expired ones that carry a refresh token stay until they are revoked. ' +
      'The cleaner also applies the configured lifetime; here only expires_in of the row counts.',
    retention: {
      revokedFor: { about: 'how long revoked tokens are kept, as the evidence of a theft', default: '0s' },
    },
    tables: ({ revokedFor }) => [
      {
        table: 'oauth_access_grants',
        deleteWhen: [
          { revoked_at: { olderThan: revokedFor } },
          { created_at: { olderThan: '0s', plusSeconds: 'expires_in' } },
        ],
        recognize: ['resource_owner_id', 'application_id', 'token', 'redirect_uri'],
      },
      {
        table: 'oauth_access_tokens',
        deleteWhen: [
          { revoked_at: { olderThan: revokedFor } },
          { created_at: { olderThan: '0s', plusSeconds: 'expires_in' }, refresh_token: null },
        ],
        recognize: ['resource_owner_id', 'application_id', 'token'],
      },
    ],
  }),

  'devise-jwt': definePreset({
    system: 'devise-jwt',
    tables: () => [
      { table: 'jwt_denylist', deleteWhen: [{ exp: { olderThan: '0s' } }], recognize: ['jti'] },
      { table: 'allowlisted_jwts', deleteWhen: [{ exp: { olderThan: '0s' } }], recognize: ['jti'], optional: true },
    ],
  }),

  rodauth: definePreset({
    system: 'Rodauth',
    cleaner: 'each request deletes the expired key that it brings',
    caveat:
      'account_lockouts stays: Rodauth deletes such a row together with the count of failures, and without that the ' +
      'first mistyped password would lock the account again.',
    hasOwnZone: true,
    retention: {
      sessionInactivity: { about: 'session_inactivity_deadline', default: '1d' },
      sessionLifetime: { about: 'session_lifetime_deadline', default: '30d' },
    },
    tables: ({ sessionInactivity, sessionLifetime }) => [
      ...['account_password_reset_keys', 'account_remember_keys'].map((table) => expiringKeys(table, false)),
      ...['account_jwt_refresh_keys', 'account_login_change_keys', 'account_email_auth_keys'].map((table) =>
        expiringKeys(table, true),
      ),
      {
        table: 'account_active_session_keys',
        deleteWhen: [{ last_use: { olderThan: sessionInactivity } }, { created_at: { olderThan: sessionLifetime } }],
        recognize: ['account_id', 'session_id'],
        optional: true,
      },
    ],
  }),
};

function expiringKeys(table: string, optional: boolean) {
  return { table, deleteWhen: [{ deadline: { olderThan: '0s' } }], recognize: ['id', 'key'], optional };
}
