import { definePreset } from './preset';

/** Django, and systems built on it. Its foreign keys are deferred, that is, checked only when a transaction ends. */
export const PYTHON = {
  django: definePreset({
    system: 'Django',
    cleaner: 'manage.py clearsessions',
    tables: () => [
      {
        table: 'django_session',
        deleteWhen: [{ expire_date: { olderThan: '0s' } }],
        recognize: ['session_key', 'session_data'],
      },
    ],
  }),

  'django-oauth-toolkit': definePreset({
    system: 'Django OAuth Toolkit',
    cleaner: 'manage.py cleartokens',
    caveat:
      'The cleaner deletes a revoked refresh token at once and detaches the access token that was made from it. Here it ' +
      'stays until that access token is gone. Refresh tokens without an access token are deleted after an hour.',
    retention: {
      gracePeriod: {
        about:
          'REFRESH_TOKEN_GRACE_PERIOD_SECONDS; with REFRESH_TOKEN_REUSE_PROTECTION the value of refreshTokenExpire, ' +
          'since revoked tokens are then the evidence of a theft',
        default: '0s',
      },
      refreshTokenExpire: {
        about: 'REFRESH_TOKEN_EXPIRE_SECONDS; without it refresh tokens that are not revoked stay',
      },
    },
    tables: ({ gracePeriod, refreshTokenExpire }) => [
      {
        table: 'oauth2_provider_refreshtoken',
        deleteWhen: [
          { revoked: { olderThan: gracePeriod } },
          { created: { olderThan: '1h' }, revoked: null, access_token_id: null },
          ...(refreshTokenExpire
            ? [{ revoked: null, access_token_id: { refersTo: { expires: { olderThan: refreshTokenExpire } } } }]
            : []),
        ],
        unlessReferredToBy: ['oauth2_provider_accesstoken'],
        recognize: ['token', 'application_id'],
      },
      {
        table: 'oauth2_provider_accesstoken',
        deleteWhen: [{ expires: { olderThan: '0s' } }],
        unlessReferredToBy: ['oauth2_provider_refreshtoken'],
        recognize: ['token', 'source_refresh_token_id', 'id_token_id'],
      },
      {
        table: 'oauth2_provider_idtoken',
        deleteWhen: [{ expires: { olderThan: '0s' } }],
        unlessReferredToBy: ['oauth2_provider_accesstoken'],
        recognize: ['jti', 'application_id'],
      },
      {
        table: 'oauth2_provider_grant',
        deleteWhen: [{ expires: { olderThan: '0s' } }],
        recognize: ['code', 'redirect_uri'],
      },
      {
        table: 'oauth2_provider_devicegrant',
        deleteWhen: [{ expires: { olderThan: '0s' } }],
        recognize: ['device_code', 'user_code'],
        optional: true,
      },
      {
        table: 'oauth2_provider_pushedauthorizationrequest',
        deleteWhen: [{ expires: { olderThan: '0s' } }],
        recognize: ['application_id'],
        optional: true,
      },
    ],
  }),

  simplejwt: definePreset({
    system: 'Simple JWT for Django REST framework',
    cleaner: 'manage.py flushexpiredtokens',
    tables: () => [
      {
        table: 'token_blacklist_blacklistedtoken',
        deleteWhen: [{ token_id: { refersTo: { expires_at: { olderThan: '0s' } } } }],
        recognize: ['blacklisted_at'],
      },
      {
        table: 'token_blacklist_outstandingtoken',
        deleteWhen: [{ expires_at: { olderThan: '0s' } }],
        recognize: ['jti', 'token'],
      },
    ],
  }),

  knox: definePreset({
    system: 'django-rest-knox',
    cleaner: 'each request deletes the expired token that it brings',
    tables: () => [
      { table: 'knox_authtoken', deleteWhen: [{ expiry: { olderThan: '0s' } }], recognize: ['digest', 'token_key'] },
    ],
  }),
};
