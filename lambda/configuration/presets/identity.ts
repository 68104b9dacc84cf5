import { definePreset, sumOf } from './preset';

/** Identity servers that run as they are. */
export const IDENTITY = {
  supabase: definePreset({
    system: 'Supabase Auth',
    cleaner: 'GOTRUE_DB_CLEANUP_ENABLED',
    caveat:
      'The cleaner also revokes the refresh tokens of ended sessions a day after their end; here they stay unchanged until ' +
      'they are deleted with their session. With inactivityTimeout, sessions that were never refreshed stay.',
    schema: 'auth',
    retention: {
      timebox: { about: 'GOTRUE_SESSIONS_TIMEBOX' },
      inactivityTimeout: { about: 'GOTRUE_SESSIONS_INACTIVITY_TIMEOUT' },
      otpExpiry: { about: 'the longest of GOTRUE_MAILER_OTP_EXP and GOTRUE_SMS_OTP_EXP', default: '1d' },
    },
    tables: ({ timebox, inactivityTimeout, otpExpiry }) => {
      const ended = [
        { not_after: { olderThan: '72h' } },
        ...(timebox ? [{ created_at: { olderThan: sumOf(timebox, '24h') } }] : []),
        ...(inactivityTimeout ? [{ refreshed_at: { olderThan: sumOf(inactivityTimeout, '24h') } }] : []),
      ];
      const dayOld = { created_at: { olderThan: '24h' } };
      // It dies with the time at which the user's message of that kind was sent.
      const oneTime = (type: string, sentAt: string) => ({
        token_type: { in: [type] },
        user_id: { refersTo: { [sentAt]: { olderThan: otpExpiry } } },
      });
      return [
        {
          table: 'refresh_tokens',
          deleteWhen: [
            { revoked: true, updated_at: { olderThan: '24h' } },
            ...ended.map((session) => ({ session_id: { refersTo: session } })),
          ],
          recognize: ['token', 'parent', 'instance_id'],
        },
        { table: 'sessions', deleteWhen: ended, unlessReferredToBy: ['refresh_tokens'], recognize: ['aal', 'user_id'] },
        { table: 'saml_relay_states', deleteWhen: [dayOld], recognize: ['sso_provider_id', 'request_id'] },
        {
          table: 'flow_state',
          deleteWhen: [dayOld],
          unlessReferredToBy: ['saml_relay_states'],
          recognize: ['auth_code', 'code_challenge'],
        },
        { table: 'oauth_client_states', deleteWhen: [dayOld], recognize: ['provider_type', 'code_verifier'] },
        { table: 'mfa_challenges', deleteWhen: [dayOld], recognize: ['factor_id', 'verified_at'] },
        {
          table: 'mfa_factors',
          deleteWhen: [{ ...dayOld, status: { in: ['unverified'] } }],
          unlessReferredToBy: ['mfa_challenges'],
          recognize: ['factor_type', 'secret'],
        },
        {
          table: 'webauthn_challenges',
          deleteWhen: [{ expires_at: { olderThan: '0s' } }],
          recognize: ['challenge_type', 'session_data'],
        },
        {
          table: 'oauth_authorizations',
          deleteWhen: [{ expires_at: { olderThan: '1d' } }],
          recognize: ['authorization_id', 'authorization_code'],
          optional: true,
        },
        {
          table: 'one_time_tokens',
          deleteWhen: [
            oneTime('confirmation_token', 'confirmation_sent_at'),
            oneTime('reauthentication_token', 'reauthentication_sent_at'),
            oneTime('recovery_token', 'recovery_sent_at'),
            oneTime('email_change_token_new', 'email_change_sent_at'),
            oneTime('email_change_token_current', 'email_change_sent_at'),
            oneTime('phone_change_token', 'phone_change_sent_at'),
          ],
          recognize: ['token_hash', 'relates_to'],
          optional: true,
        },
      ];
    },
  }),

  'ory-hydra': definePreset({
    system: 'Ory Hydra',
    cleaner: 'hydra janitor',
    caveat:
      'The janitor tests only requested_at, and deletes live tokens of clients with a longer lifespan; here expires_at must ' +
      'have passed, too. A flow stays while a token or a code refers to it.',
    retention: {
      accessTokenTtl: { about: 'ttl.access_token', default: '1h' },
      refreshTokenTtl: { about: 'ttl.refresh_token', default: '720h' },
      loginConsentTtl: { about: 'ttl.login_consent_request', default: '30m' },
    },
    tables: ({ accessTokenTtl, refreshTokenTtl, loginConsentTtl }) => {
      const issued = (ttl: string) => ({
        requested_at: { olderThan: ttl },
        expires_at: { olderThan: '0s', orNull: true as const },
      });
      const expired = [{ expires_at: { olderThan: '0s' } }];
      const codes = ['hydra_oauth2_code', 'hydra_oauth2_pkce', 'hydra_oauth2_oidc', 'hydra_oauth2_device_auth_codes'];
      return [
        {
          table: 'hydra_oauth2_refresh',
          deleteWhen: [issued(refreshTokenTtl)],
          recognize: ['signature', 'request_id', 'nid'],
        },
        {
          table: 'hydra_oauth2_access',
          deleteWhen: [issued(accessTokenTtl)],
          recognize: ['signature', 'request_id', 'nid'],
        },
        ...codes.map((table) => ({ table, deleteWhen: expired, recognize: ['request_id', 'nid'], optional: true })),
        {
          table: 'hydra_oauth2_flow',
          // All states but 6, a flow that ended in a consent. 128 and 129 are errors.
          deleteWhen: [{ requested_at: { olderThan: loginConsentTtl }, state: { in: [1, 2, 3, 4, 5, 128, 129] } }],
          unlessReferredToBy: ['hydra_oauth2_refresh', 'hydra_oauth2_access', ...codes],
          recognize: ['login_challenge', 'consent_challenge_id', 'nid'],
        },
        { table: 'hydra_oauth2_jti_blacklist', deleteWhen: expired, recognize: ['signature', 'nid'] },
        {
          table: 'hydra_oauth2_authentication_session',
          deleteWhen: expired,
          recognize: ['authenticated_at', 'nid'],
          optional: true,
        },
        {
          table: 'hydra_oauth2_logout_request',
          deleteWhen: expired,
          recognize: ['challenge', 'verifier', 'nid'],
          optional: true,
        },
      ];
    },
  }),

  'ory-kratos': definePreset({
    system: 'Ory Kratos',
    cleaner: 'kratos cleanup sql',
    caveat:
      'A cascade deletes the codes and tokens of a flow, too. The cleaner deletes every exchange of a session token, even ' +
      'one in progress; here only those more than an hour old are deleted.',
    retention: {
      keepLast: { about: '--keep-last of the cleaner', default: '0s' },
      errorsSeenFor: { about: 'how long errors that a user has seen are kept', default: '7d' },
    },
    tables: ({ keepLast, errorsSeenFor }) => [
      ...[
        { table: 'sessions', recognize: ['authenticated_at', 'aal', 'nid'] },
        { table: 'continuity_containers', recognize: ['payload', 'nid'] },
        ...['login', 'registration', 'settings', 'recovery', 'verification'].map((flow) => ({
          table: `selfservice_${flow}_flows`,
          recognize: ['request_url', 'active_method', 'nid'],
        })),
      ].map((table) => ({ ...table, deleteWhen: [{ expires_at: { olderThan: keepLast } }] })),
      {
        table: 'session_token_exchanges',
        deleteWhen: [{ created_at: { olderThan: sumOf(keepLast, '1h') } }],
        recognize: ['init_code', 'return_to_code'],
      },
      {
        table: 'selfservice_errors',
        deleteWhen: [{ was_seen: true, seen_at: { olderThan: errorsSeenFor } }],
        recognize: ['errors', 'nid'],
        optional: true,
      },
    ],
  }),

  keycloak: definePreset({
    system: 'Keycloak',
    cleaner: 'a scheduled task, every 15 minutes',
    caveat:
      'offline_user_session and offline_client_session stay: Keycloak itself ends such sessions, by the settings of each ' +
      'realm, and writes an event for each.',
    tables: () => [
      { table: 'revoked_token', deleteWhen: [{ expire: { olderThan: '0s', epoch: 's' } }], recognize: ['id'] },
    ],
  }),

  dex: definePreset({
    system: 'Dex',
    cleaner: 'its garbage collection, every 5 minutes',
    caveat:
      'refresh_token stays: its rows have no expiry, and offline_session names them inside a blob. ' +
      'auth_session stays: its times default to 1970, which means never.',
    tables: () =>
      ['auth_request', 'auth_code', 'device_request', 'device_token'].map((table) => ({
        table,
        deleteWhen: [{ expiry: { olderThan: '0s' } }],
        recognize: table.startsWith('device') ? ['device_code'] : ['client_id', 'claims_user_id', 'connector_id'],
      })),
  }),

  authelia: definePreset({
    system: 'Authelia',
    caveat: 'The sessions of OAuth 2.0 tokens stay: their expiry is encrypted.',
    retention: { keep: { about: 'how long used, revoked and expired rows are kept', default: '1d' } },
    tables: ({ keep }) => {
      const used = [{ consumed: { olderThan: keep } }, { revoked: { olderThan: keep } }];
      return [
        {
          table: 'identity_verification',
          deleteWhen: [...used, { exp: { olderThan: keep } }],
          recognize: ['jti', 'username', 'action'],
        },
        {
          table: 'one_time_code',
          deleteWhen: [...used, { expires: { olderThan: keep } }],
          recognize: ['public_id', 'signature'],
        },
        {
          table: 'oauth2_blacklisted_jti',
          deleteWhen: [{ expires_at: { olderThan: keep } }],
          recognize: ['signature'],
        },
      ];
    },
  }),

  supertokens: definePreset({
    system: 'SuperTokens',
    cleaner: 'scheduled tasks of the core',
    caveat:
      'passwordless_devices and passwordless_codes stay: a device is deleted once all of its codes are too old, and only the ' +
      'codes have a time.',
    retention: {
      oauthExpiredFor: { about: 'how long OAuth sessions and tokens outlive their expiry', default: '31d' },
    },
    tables: ({ oauthExpiredFor }) => {
      const expires = (table: string, column: string, recognize: string, optional = true) => ({
        table,
        deleteWhen: [{ [column]: { olderThan: '0s', epoch: 'ms' as const } }],
        recognize: ['app_id', recognize],
        optional,
      });
      // Seconds, unlike everything else.
      const oauth = [{ exp: { olderThan: oauthExpiredFor, epoch: 's' as const } }];
      return [
        expires('session_info', 'expires_at', 'refresh_token_hash_2', false),
        expires('emailpassword_pswd_reset_tokens', 'token_expiry', 'token', false),
        expires('emailverification_tokens', 'token_expiry', 'token', false),
        expires('dashboard_user_sessions', 'expiry', 'session_id', false),
        expires('totp_used_codes', 'expiry_time_ms', 'is_valid', false),
        expires('saml_relay_state', 'expires_at', 'relay_state'),
        expires('saml_claims', 'expires_at', 'claims'),
        expires('webauthn_generated_options', 'expires_at', 'challenge'),
        expires('webauthn_account_recovery_tokens', 'expires_at', 'token'),
        { table: 'oauth_sessions', deleteWhen: oauth, recognize: ['app_id', 'gid', 'jti'], optional: true },
        { table: 'oauth_m2m_tokens', deleteWhen: oauth, recognize: ['app_id', 'iat'], optional: true },
        {
          table: 'oauth_logout_challenges',
          deleteWhen: [{ time_created: { olderThan: '48h', epoch: 'ms' } }],
          recognize: ['app_id', 'challenge'],
          optional: true,
        },
      ];
    },
  }),

  'hasura-auth': definePreset({
    system: 'Hasura Auth (Nhost)',
    schema: 'auth',
    tables: () => [
      {
        table: 'refresh_tokens',
        deleteWhen: [{ expires_at: { olderThan: '0s' } }],
        recognize: ['refresh_token_hash', 'metadata', 'type'],
      },
    ],
  }),
};
