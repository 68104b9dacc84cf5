import { definePreset } from './preset';

/** Libraries and servers for Node.js. Some have their columns in camel case. */
export const JAVASCRIPT = {
  'better-auth': definePreset({
    system: 'Better Auth',
    cleaner: 'expired verifications only, when one is looked up',
    retention: {
      revokedFor: { about: 'how long revoked refresh tokens of the OAuth provider are kept', default: '30d' },
    },
    tables: ({ revokedFor }) => [
      { table: 'session', deleteWhen: [{ expiresAt: { olderThan: '0s' } }], recognize: ['token', 'userId'] },
      { table: 'verification', deleteWhen: [{ expiresAt: { olderThan: '0s' } }], recognize: ['identifier', 'value'] },
      {
        table: 'deviceCode',
        deleteWhen: [{ expiresAt: { olderThan: '0s' } }],
        recognize: ['deviceCode', 'userCode'],
        optional: true,
      },
      {
        table: 'oauthAccessToken',
        deleteWhen: [{ expiresAt: { olderThan: '0s' } }],
        recognize: ['clientId', 'refreshId'],
        optional: true,
      },
      {
        table: 'oauthRefreshToken',
        deleteWhen: [{ revoked: { olderThan: revokedFor } }, { expiresAt: { olderThan: '0s' } }],
        unlessReferredToBy: ['oauthAccessToken'],
        recognize: ['clientId', 'sessionId'],
        optional: true,
      },
    ],
  }),

  authjs: definePreset({
    system: 'Auth.js (adapter-pg)',
    tables: () => [
      { table: 'sessions', deleteWhen: [{ expires: { olderThan: '0s' } }], recognize: ['sessionToken', 'userId'] },
      {
        table: 'verification_token',
        deleteWhen: [{ expires: { olderThan: '0s' } }],
        recognize: ['identifier', 'token'],
      },
    ],
  }),

  lucia: definePreset({
    system: 'Lucia 3',
    cleaner: 'deleteExpiredSessions()',
    tables: () => [
      { table: 'user_session', deleteWhen: [{ expires_at: { olderThan: '0s' } }], recognize: ['id', 'user_id'] },
    ],
  }),

  'lucia-2': definePreset({
    system: 'Lucia 1 and 2',
    cleaner: 'deleteDeadUserSessions()',
    tables: () => [
      {
        table: 'user_session',
        deleteWhen: [{ idle_expires: { olderThan: '0s', epoch: 'ms' } }],
        recognize: ['id', 'user_id', 'active_expires'],
      },
    ],
  }),

  'connect-pg-simple': definePreset({
    system: 'connect-pg-simple',
    cleaner: 'pruneSessions(), every 15 minutes',
    hasOwnZone: true,
    tables: () => [{ table: 'session', deleteWhen: [{ expire: { olderThan: '0s' } }], recognize: ['sid', 'sess'] }],
  }),

  directus: definePreset({
    system: 'Directus',
    cleaner: 'each login deletes expired sessions',
    tables: () => [
      { table: 'directus_sessions', deleteWhen: [{ expires: { olderThan: '0s' } }], recognize: ['token', 'user'] },
    ],
  }),

  strapi: definePreset({
    system: 'Strapi',
    cleaner: 'every 50th session that is made',
    tables: () => [
      {
        table: 'strapi_sessions',
        deleteWhen: [{ absolute_expires_at: { olderThan: '0s' } }],
        recognize: ['session_id', 'device_id'],
      },
    ],
  }),
};
