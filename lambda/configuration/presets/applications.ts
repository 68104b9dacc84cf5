import { definePreset, sumOf } from './preset';

/** Applications and frameworks that keep sessions of their own. */
export const APPLICATIONS = {
  'spring-session': definePreset({
    system: 'Spring Session JDBC',
    cleaner: 'a scheduled task, every minute',
    caveat: 'A cascade deletes the attributes of a session, too. No SessionDeletedEvent is published.',
    tables: () => [
      {
        table: 'spring_session',
        deleteWhen: [{ expiry_time: { olderThan: '0s', epoch: 'ms' } }],
        recognize: ['primary_id', 'session_id', 'max_inactive_interval'],
      },
    ],
  }),

  mattermost: definePreset({
    system: 'Mattermost',
    cleaner: 'a scheduled job',
    caveat: 'oauthaccessdata stays: its rows hold the refresh token, too.',
    retention: { tokenExpiry: { about: 'the lifetime of tokens that are sent by e-mail', default: '48h' } },
    tables: ({ tokenExpiry }) => [
      {
        table: 'sessions',
        // 0 means never, and is below what such a rule can match.
        deleteWhen: [{ expiresat: { olderThan: '0s', epoch: 'ms' } }],
        recognize: ['token', 'lastactivityat', 'deviceid'],
      },
      {
        table: 'tokens',
        deleteWhen: [{ createat: { olderThan: tokenExpiry, epoch: 'ms' } }],
        recognize: ['token', 'type', 'extra'],
      },
      {
        table: 'desktoptokens',
        deleteWhen: [{ createat: { olderThan: '3m', epoch: 's' } }],
        recognize: ['token', 'userid'],
      },
      {
        table: 'oauthauthdata',
        deleteWhen: [{ createat: { olderThan: '0s', epoch: 'ms', plusSeconds: 'expiresin' } }],
        recognize: ['clientid', 'code', 'redirecturi'],
        optional: true,
      },
    ],
  }),

  gitea: definePreset({
    system: 'Gitea and Forgejo',
    cleaner: 'the session provider, at GC_INTERVAL_TIME',
    retention: { sessionLifeTime: { about: 'SESSION_LIFE_TIME', default: '86400s' } },
    tables: ({ sessionLifeTime }) => [
      {
        table: 'session',
        // Despite its name it is the time of the last use.
        deleteWhen: [{ expiry: { olderThan: sessionLifeTime, epoch: 's' } }],
        recognize: ['key', 'data'],
      },
      {
        table: 'auth_token',
        deleteWhen: [{ expires_unix: { olderThan: '0s', epoch: 's' } }],
        recognize: ['token_hash', 'user_id'],
      },
      {
        table: 'oauth2_authorization_code',
        deleteWhen: [{ valid_until: { olderThan: '0s', epoch: 's' } }],
        recognize: ['grant_id', 'code'],
        optional: true,
      },
    ],
  }),

  discourse: definePreset({
    system: 'Discourse',
    cleaner: 'a daily job',
    caveat: 'The job also trims user_auth_token_logs, which holds no tokens in use and stays.',
    retention: { maximumSessionAge: { about: 'maximum_session_age', default: '1440h' } },
    tables: ({ maximumSessionAge }) => [
      {
        table: 'user_auth_tokens',
        deleteWhen: [{ rotated_at: { olderThan: sumOf(maximumSessionAge, '10m') } }],
        recognize: ['auth_token', 'prev_auth_token', 'auth_token_seen'],
      },
    ],
  }),

  grafana: definePreset({
    system: 'Grafana',
    cleaner: 'a background service, hourly',
    retention: {
      maximumLifetime: { about: 'login_maximum_lifetime_duration', default: '30d' },
      maximumInactiveLifetime: { about: 'login_maximum_inactive_lifetime_duration', default: '7d' },
    },
    tables: ({ maximumLifetime, maximumInactiveLifetime }) => [
      {
        table: 'user_auth_token',
        deleteWhen: [
          { created_at: { olderThan: maximumLifetime, epoch: 's' } },
          { rotated_at: { olderThan: maximumInactiveLifetime, epoch: 's' } },
        ],
        recognize: ['auth_token', 'prev_auth_token', 'auth_token_seen'],
      },
    ],
  }),

  phoenix: definePreset({
    system: 'Phoenix (mix phx.gen.auth)',
    retention: {
      sessionValidity: {
        about: '@session_validity_in_days, the longest of all contexts; 14 in applications generated since Phoenix 1.8',
        default: '60d',
      },
    },
    tables: ({ sessionValidity }) => [
      {
        table: 'users_tokens',
        deleteWhen: [{ inserted_at: { olderThan: sessionValidity } }],
        recognize: ['token', 'context', 'sent_to'],
      },
    ],
  }),

  synapse: definePreset({
    system: 'Matrix Synapse',
    cleaner: 'background tasks',
    caveat:
      'access_tokens stays: a client whose expired token is gone discards its keys instead of logging in again. ' +
      'refresh_tokens stays: a chain of them is deleted with its first. ui_auth_sessions stays: its cleaner also counts.',
    tables: () => [
      {
        table: 'login_tokens',
        deleteWhen: [{ expiry_ts: { olderThan: '5m', epoch: 'ms' } }],
        recognize: ['token', 'used_ts', 'auth_provider_id'],
      },
      {
        table: 'threepid_validation_token',
        deleteWhen: [{ expires: { olderThan: '0s', epoch: 'ms' } }],
        recognize: ['token', 'session_id', 'next_link'],
      },
      {
        table: 'open_id_tokens',
        deleteWhen: [{ ts_valid_until_ms: { olderThan: '0s', epoch: 'ms' } }],
        recognize: ['token', 'user_id'],
        optional: true,
      },
    ],
  }),

  'matrix-authentication-service': definePreset({
    system: 'Matrix Authentication Service',
    cleaner: 'its cleanup jobs',
    caveat:
      'user_sessions stays: the cleaner deletes it together with its authentications, and only if no other session refers ' +
      'to it. A consumed refresh token whose successor is gone stays until its session has been finished for long enough.',
    retention: {
      revokedFor: { about: 'how long revoked and consumed tokens are kept', default: '1h' },
      expiredFor: { about: 'how long expired access tokens are kept', default: '30d' },
      finishedFor: { about: 'how long finished sessions are kept', default: '30d' },
      grantsFor: { about: 'how long grants and abandoned logins are kept', default: '7d' },
    },
    tables: ({ revokedFor, expiredFor, finishedFor, grantsFor }) => {
      const finished = [{ finished_at: { olderThan: finishedFor } }];
      const ofFinished = (key: string) => finished.map((session) => ({ [key]: { refersTo: session } }));
      return [
        {
          table: 'oauth2_refresh_tokens',
          deleteWhen: [
            { revoked_at: { olderThan: revokedFor } },
            {
              consumed_at: { olderThan: revokedFor },
              next_oauth2_refresh_token_id: { refersTo: { consumed_at: { olderThan: '0s' } } },
            },
            ...ofFinished('oauth2_session_id'),
          ],
          recognize: ['refresh_token', 'oauth2_access_token_id'],
        },
        {
          table: 'oauth2_access_tokens',
          deleteWhen: [
            { revoked_at: { olderThan: revokedFor } },
            { expires_at: { olderThan: expiredFor } },
            ...ofFinished('oauth2_session_id'),
          ],
          recognize: ['access_token', 'first_used_at'],
        },
        ...['oauth2_authorization_grants', 'oauth2_device_code_grant'].map((table) => ({
          table,
          deleteWhen: [{ created_at: { olderThan: grantsFor } }],
          recognize: ['oauth2_client_id', 'exchanged_at'],
        })),
        {
          table: 'oauth2_sessions',
          deleteWhen: finished,
          unlessReferredToBy: ['oauth2_authorization_grants', 'oauth2_device_code_grant'],
          recognize: ['oauth2_client_id', 'scope_list'],
        },
        {
          table: 'compat_refresh_tokens',
          deleteWhen: ofFinished('compat_session_id'),
          recognize: ['refresh_token', 'compat_access_token_id'],
        },
        { table: 'compat_access_tokens', deleteWhen: ofFinished('compat_session_id'), recognize: ['access_token'] },
        { table: 'compat_sso_logins', deleteWhen: ofFinished('compat_session_id'), recognize: ['login_token'] },
        { table: 'compat_sessions', deleteWhen: finished, recognize: ['device_id', 'is_synapse_admin'] },
        {
          table: 'upstream_oauth_authorization_sessions',
          deleteWhen: [{ created_at: { olderThan: grantsFor }, user_session_id: null }],
          recognize: ['upstream_oauth_provider_id', 'state'],
        },
      ];
    },
  }),
};
