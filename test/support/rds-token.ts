/** The keys of a role, as Lambda puts them into the environment. */
export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

/** The login that a token must be for. */
export interface Login {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly region: string;
  readonly keys: Keys;
}

const VALID_MS = 900_000;

/**
 * Finds the faults of a token for a database at a moment; none if the token is good.
 *
 * The signature is not computed here once more. A test compares whole tokens with those that the AWS CLI signs.
 */
export function faultsOf(token: string, { host, port, user, region, keys }: Login, now = Date.now()): string[] {
  const { host: address, pathname, searchParams } = new URL(`https://${token}`);
  const { 'X-Amz-Signature': signature, ...signed } = Object.fromEntries(searchParams);
  const date = signed['X-Amz-Date'] ?? '';
  const scope = `${date.slice(0, 8)}/${region}/rds-db/aws4_request`;
  const expected: Record<string, string> = {
    Action: 'connect',
    DBUser: user,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${keys.accessKeyId}/${scope}`,
    'X-Amz-Date': date,
    'X-Amz-Expires': String(VALID_MS / 1000),
    'X-Amz-Security-Token': keys.sessionToken,
    'X-Amz-SignedHeaders': 'host',
  };
  const names = [...new Set([...Object.keys(expected), ...Object.keys(signed)])];
  const age = now - Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  return [
    ...(`${address}${pathname}` === `${host}:${port}/` ? [] : ['address']),
    ...names.filter((name) => expected[name] !== signed[name]),
    // Dates of Signature Version 4 have no fractions of a second.
    ...(age > -1000 && age < VALID_MS ? [] : ['age']),
    ...(/^[0-9a-f]{64}$/.test(signature ?? '') ? [] : ['signature']),
  ];
}
