import { definePreset } from './preset';

/** Frameworks for building identity servers. */
export const FRAMEWORKS = {
  duende: definePreset({
    system: 'Duende IdentityServer',
    cleaner: 'TokenCleanupService, if EnableTokenCleanup is set',
    caveat:
      'ServerSideSessions stays: IdentityServer also ends such sessions at the clients. No notification ' +
      '(IOperationalStoreNotification) is sent for deleted rows.',
    retention: {
      consumedFor: { about: 'ConsumedTokenCleanupDelay, if RemoveConsumedTokens is set' },
    },
    tables: ({ consumedFor }) => [
      {
        table: 'PersistedGrants',
        deleteWhen: [
          { Expiration: { olderThan: '0s' } },
          ...(consumedFor ? [{ ConsumedTime: { olderThan: consumedFor } }] : []),
        ],
        recognize: ['SubjectId', 'ClientId', 'Data'],
      },
      {
        table: 'DeviceCodes',
        deleteWhen: [{ Expiration: { olderThan: '0s' } }],
        recognize: ['UserCode', 'DeviceCode'],
      },
      {
        table: 'PushedAuthorizationRequests',
        deleteWhen: [{ ExpiresAtUtc: { olderThan: '0s' } }],
        recognize: ['ReferenceValueHash', 'Parameters'],
        optional: true,
      },
      {
        table: 'SamlSigninStates',
        deleteWhen: [{ ExpiresAtUtc: { olderThan: '0s' } }],
        recognize: ['StateId', 'SerializedState'],
        optional: true,
      },
      {
        table: 'SamlLogoutSessions',
        deleteWhen: [{ ExpiresAtUtc: { olderThan: '0s' } }],
        recognize: ['LogoutId', 'SerializedSession'],
        optional: true,
      },
      {
        table: 'UserSessions',
        deleteWhen: [{ Expires: { olderThan: '0s' } }],
        recognize: ['ApplicationName', 'SubjectId', 'Ticket'],
        optional: true,
      },
    ],
  }),

  openiddict: definePreset({
    system: 'OpenIddict, with Entity Framework Core',
    cleaner: 'the prune job of its Quartz.NET integration, hourly',
    caveat:
      'The job deletes rows with any status other than valid (or inactive, for a token). Here the statuses are listed, so that ' +
      'one that a later version adds stays. An authorization stays while a token refers to it, on which the job fails.',
    retention: {
      tokensFor: { about: 'MinimumTokenLifespan', default: '14d' },
      authorizationsFor: { about: 'MinimumAuthorizationLifespan', default: '14d' },
    },
    tables: ({ tokensFor, authorizationsFor }) => {
      const over = ['redeemed', 'rejected', 'revoked'];
      const token = { CreationDate: { olderThan: tokensFor } };
      const authorization = { CreationDate: { olderThan: authorizationsFor } };
      return [
        {
          table: 'OpenIddictTokens',
          deleteWhen: [
            { ...token, Status: { in: over } },
            { ...token, ExpirationDate: { olderThan: '0s' } },
            { ...token, AuthorizationId: { refersTo: { Status: { in: ['inactive', ...over] } } } },
          ],
          recognize: ['ReferenceId', 'Payload', 'ConcurrencyToken'],
        },
        {
          table: 'OpenIddictAuthorizations',
          deleteWhen: [
            { ...authorization, Status: { in: ['inactive', ...over] } },
            { ...authorization, Type: { in: ['ad-hoc'] } },
          ],
          unlessReferredToBy: ['OpenIddictTokens'],
          recognize: ['Scopes', 'Subject', 'ConcurrencyToken'],
        },
      ];
    },
  }),

  'spring-authorization-server': definePreset({
    system: 'Spring Authorization Server',
    caveat:
      'A row holds the code and all tokens of an authorization, and is deleted once all of them have expired. It stays while it ' +
      'waits for a consent, and if it has a token that does not expire.',
    hasOwnZone: true,
    retention: { expiredFor: { about: 'how long expired authorizations are kept', default: '1d' } },
    tables: ({ expiredFor }) => {
      const over = { olderThan: expiredFor };
      const overOrNone = { ...over, orNull: true as const };
      const others = {
        authorization_code_expires_at: overOrNone,
        oidc_id_token_expires_at: overOrNone,
        user_code_expires_at: overOrNone,
        device_code_expires_at: overOrNone,
      };
      const noTokens = { access_token_value: null, refresh_token_value: null };
      return [
        {
          table: 'oauth2_authorization',
          deleteWhen: [
            { ...others, access_token_expires_at: over, refresh_token_expires_at: over },
            { ...others, access_token_expires_at: over, refresh_token_value: null },
            { ...others, authorization_code_expires_at: over, ...noTokens },
            { ...others, device_code_expires_at: over, ...noTokens },
          ],
          recognize: ['registered_client_id', 'authorization_grant_type', 'principal_name'],
        },
      ];
    },
  }),
};
