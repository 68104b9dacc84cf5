/** The rules of a database login, the same for constructs, stages, manifests and variables. */

/** The names of the fields. A part of a login without a name is not checked. */
interface LoginNames {
  readonly secret: string;
  /** The field that chooses IAM. */
  readonly iam: string;
  readonly user?: string;
  readonly host?: string;
  readonly sslMode?: string;
  /** Whether there may be secrets for some servers, and IAM for others. */
  readonly mayHaveBoth?: boolean;
}

/**
 * Checks the fields against each other. They may be of any type.
 *
 * @param choosesIam whether IAM is chosen; by default, whether its field is set
 */
export function loginMistakes(
  fields: object,
  { secret, iam, user, host, sslMode, mayHaveBoth = false }: LoginNames,
  choosesIam?: boolean,
): { readonly field: string; readonly rule: string }[] {
  const fieldOf = (name = '') => (fields as Readonly<Record<string, unknown>>)[name];
  const has = (name?: string) => fieldOf(name) !== undefined;
  const usesIam = choosesIam ?? has(iam);
  const rules: [field: string | undefined, isBroken: boolean, rule: string][] = [
    [secret, !usesIam && !has(secret), `is required without ${iam}`],
    [secret, usesIam && has(secret) && !mayHaveBoth, `must not be set with ${iam}, which needs no secret`],
    [user, usesIam && !has(user), `is required with ${iam}`],
    [user, !usesIam && has(user), `must not be set without ${iam}: the secret names the user`],
    [host, usesIam && !has(host), `is required with ${iam}`],
    // RDS refuses this too, but only after the token has crossed the network in plain text.
    [
      sslMode,
      usesIam && fieldOf(sslMode) === 'disable',
      `must be verify-full with ${iam}: anyone who reads a token off the network can log in with it`,
    ],
  ];
  return rules.flatMap(([field, isBroken, rule]) => (field !== undefined && isBroken ? [{ field, rule }] : []));
}
