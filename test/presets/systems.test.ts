import { presets } from '../../lambda/configuration/presets';
import { parseTargets, type TargetsInput } from '../../lambda/configuration/targets';

/** A table of a real system, and whether the rules say which of its rows are dead. */
interface SystemTable {
  readonly table: string;
  /**
   * - `exact`: the rows that the system itself takes for dead, no others
   * - `partial`: fewer
   * - `none`: the table has to stay as it is
   */
  readonly verdict: 'exact' | 'partial' | 'none';
  /** The reason for a verdict that is not `exact`. */
  readonly reason?: string;
  /** The preset that has the table. */
  readonly preset?: string;
  /** The rules to write if no preset has it. */
  readonly deleteWhen?: Rules;
}

type Rules = Extract<TargetsInput[number], { deleteWhen: unknown }>['deleteWhen'];

function exact(preset: string, ...tables: readonly string[]): SystemTable[] {
  return tables.map((table) => ({ table, verdict: 'exact', preset }));
}

function byHand(deleteWhen: Rules, ...tables: readonly string[]): SystemTable[] {
  return tables.map((table) => ({ table, verdict: 'exact', deleteWhen }));
}

function partial(preset: string | Rules, table: string, reason: string): SystemTable {
  return { table, verdict: 'partial', reason, ...(typeof preset === 'string' ? { preset } : { deleteWhen: preset }) };
}

function none(table: string, reason: string): SystemTable {
  return { table, verdict: 'none', reason };
}

/** Codes and tokens of Kratos. The preset has none of these tables, whose rows go with their flow, by on delete cascade. */
const usedOrExpired: Rules = [{ expires_at: { olderThan: '1d' } }, { used_at: { olderThan: '1d' } }];

/** The tables that were looked at, in the projects' own repositories. */
const SYSTEM_TABLES: readonly SystemTable[] = [
  ...exact('supabase', 'refresh_tokens', 'flow_state', 'saml_relay_states', 'oauth_client_states', 'mfa_challenges'),
  ...exact('supabase', 'webauthn_challenges', 'oauth_authorizations'),
  partial('supabase', 'sessions', 'with an inactivity timeout, sessions that were never refreshed stay'),
  partial('supabase', 'mfa_factors', 'one with a younger challenge stays until that is a day old, too'),
  ...exact('supabase', 'one_time_tokens'),

  ...['refresh', 'access', 'code', 'pkce', 'oidc', 'device_auth_codes', 'jti_blacklist', 'authentication_session']
    .concat('logout_request')
    .flatMap((name) => exact('ory-hydra', `hydra_oauth2_${name}`)),
  partial('ory-hydra', 'hydra_oauth2_flow', 'its states are listed; one that a later version adds stays'),

  ...exact('ory-kratos', 'sessions', 'continuity_containers', 'session_token_exchanges', 'selfservice_errors'),
  ...['login', 'registration', 'settings', 'recovery', 'verification'].flatMap((flow) =>
    exact('ory-kratos', `selfservice_${flow}_flows`),
  ),
  ...['recovery_codes', 'verification_codes', 'login_codes', 'registration_codes', 'recovery_tokens']
    .concat('verification_tokens')
    .flatMap((name) => byHand(usedOrExpired, `identity_${name}`)),

  ...exact('keycloak', 'revoked_token'),
  none('offline_user_session', 'it expires by the settings of each realm, and Keycloak writes an event'),
  none('offline_client_session', 'it goes with its user session, and no key leads there'),

  ...exact('django', 'django_session'),
  partial('django-oauth-toolkit', 'oauth2_provider_refreshtoken', 'one that an access token was made from stays'),
  ...['accesstoken', 'idtoken', 'grant', 'pushedauthorizationrequest', 'devicegrant'].flatMap((name) =>
    exact('django-oauth-toolkit', `oauth2_provider_${name}`),
  ),
  ...exact('simplejwt', 'token_blacklist_outstandingtoken', 'token_blacklist_blacklistedtoken'),
  ...exact('knox', 'knox_authtoken'),

  ...exact('laravel-passport', 'oauth_access_tokens', 'oauth_refresh_tokens', 'oauth_auth_codes'),
  ...exact('laravel-sanctum', 'personal_access_tokens'),
  ...exact('laravel', 'sessions', 'password_reset_tokens'),

  ...exact('rails-session-store', 'sessions'),
  ...exact('devise-jwt', 'jwt_denylist', 'allowlisted_jwts'),
  ...['jwt_refresh', 'password_reset', 'login_change', 'email_auth', 'remember', 'active_session'].flatMap((name) =>
    exact('rodauth', `account_${name}_keys`),
  ),
  none('account_lockouts', 'it goes together with the count of failures'),

  ...exact('supertokens', 'session_info', 'emailpassword_pswd_reset_tokens', 'emailverification_tokens'),
  ...exact('supertokens', 'dashboard_user_sessions', 'totp_used_codes', 'saml_relay_state', 'saml_claims'),
  ...exact('supertokens', 'webauthn_generated_options', 'webauthn_account_recovery_tokens'),
  ...exact('supertokens', 'oauth_sessions', 'oauth_m2m_tokens', 'oauth_logout_challenges'),
  none('passwordless_devices', 'it goes once all of its codes are too old, and has no time of its own'),
  none('passwordless_codes', 'they go with their device'),

  ...exact('better-auth', 'session', 'verification', 'deviceCode', 'oauthRefreshToken', 'oauthAccessToken'),
  ...exact('authjs', 'sessions', 'verification_token'),
  ...exact('lucia', 'user_session'),
  ...exact('lucia-2', 'user_session'),
  ...exact('connect-pg-simple', 'session'),
  ...exact('directus', 'directus_sessions'),
  ...exact('strapi', 'strapi_sessions'),

  ...exact('matrix-authentication-service', 'oauth2_access_tokens', 'oauth2_sessions', 'compat_sessions'),
  ...exact('matrix-authentication-service', 'oauth2_authorization_grants', 'oauth2_device_code_grant'),
  ...exact('matrix-authentication-service', 'upstream_oauth_authorization_sessions'),
  partial('matrix-authentication-service', 'oauth2_refresh_tokens', 'a consumed one whose successor is gone stays'),
  none('user_sessions', 'it goes together with its authentications'),

  ...exact('synapse', 'login_tokens', 'threepid_validation_token', 'open_id_tokens'),
  none('access_tokens', 'a client that finds its expired token gone throws its keys away'),
  none('refresh_tokens', 'a chain of them goes with its first, by on delete cascade'),
  none('ui_auth_sessions', 'its cleaner counts registrations as well'),

  ...exact('duende', 'PersistedGrants', 'DeviceCodes', 'PushedAuthorizationRequests'),
  ...exact('duende', 'SamlSigninStates', 'SamlLogoutSessions', 'UserSessions'),
  none('ServerSideSessions', 'IdentityServer ends the sessions at the clients as well'),

  ...exact('spring-session', 'spring_session'),
  ...exact('mattermost', 'sessions', 'tokens', 'desktoptokens', 'oauthauthdata'),
  none('oauthaccessdata', 'a row holds the refresh token, too'),
  ...exact('gitea', 'session', 'auth_token', 'oauth2_authorization_code'),
  ...exact('discourse', 'user_auth_tokens'),
  ...exact('dex', 'auth_request', 'auth_code', 'device_request', 'device_token'),
  none('auth_session', 'its times are 1970 where they mean never'),
  none('refresh_token', 'it has no expiry, and offline_session names it inside a blob'),
  ...exact('hasura-auth', 'refresh_tokens'),
  ...exact('authelia', 'identity_verification', 'one_time_code', 'oauth2_blacklisted_jti'),
  ...['oauth2_access_token_session', 'oauth2_refresh_token_session'].map((table) =>
    partial([{ revoked: true, requested_at: { olderThan: '30d' } }], table, 'the expiry is encrypted'),
  ),
];

function having(wanted: SystemTable['verdict']): readonly SystemTable[] {
  return SYSTEM_TABLES.filter(({ verdict }) => verdict === wanted);
}

test('the rules are exact for 113 of 133 tables of real systems, and match part of the dead rows in 7 more', () => {
  expect([having('exact').length, having('partial').length, having('none').length]).toEqual([113, 7, 13]);
});

test('a target can be written for each of them', () => {
  for (const { table, preset, deleteWhen } of [...having('exact'), ...having('partial')]) {
    const input = preset ? { preset, tables: [table] } : { table, deleteWhen };
    expect(parseTargets([input])).toEqual([expect.objectContaining({ table })]);
  }
});

test('no preset has a table that must not be cleaned, and the preset of its system states it', () => {
  for (const { table } of having('none')) {
    const warning = Object.values(presets).filter(({ caveat = '' }) => new RegExp(`\\b${table}\\b`).test(caveat));
    expect({ table, warnings: warning.length }).toEqual({ table, warnings: 1 });
    expect(warning.flatMap(({ tables }) => tables).map((known) => known.table)).not.toContain(table);
  }
});

test('a table that is exact only in part, or not at all, comes with the reason', () => {
  expect(SYSTEM_TABLES.filter(({ verdict, reason }) => (verdict === 'exact') !== (reason === undefined))).toEqual([]);
});
