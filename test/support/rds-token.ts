import { createHash, createHmac } from 'node:crypto';

/** The keys of a role, as Lambda puts them into the environment. */
export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

/** What a token must be for. */
export interface Login {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly region: string;
  readonly keys: Keys;
}

/** A token opens connections for so long. */
const VALID_MS = 900_000;

/**
 * What is wrong with a token for a database, at a moment; nothing when the token is good.
 *
 * The signature is computed here once more, after the description of Signature Version 4 in the manual of IAM: the SDK,
 * which made it, must not vouch for itself.
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
    ...(signature === signatureOf(`${host}:${port}`, signed, date, scope, keys.secretAccessKey) ? [] : ['signature']),
  ];
}

function signatureOf(host: string, query: Record<string, string>, date: string, scope: string, key: string): string {
  const canonicalQuery = Object.entries(query)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const canonicalRequest = ['GET', '/', canonicalQuery, `host:${host}`, '', 'host', sha256('')].join('\n');
  const text = ['AWS4-HMAC-SHA256', date, scope, sha256(canonicalRequest)].join('\n');
  const signingKey = scope.split('/').reduce<string | Buffer>((previous, part) => hmac(previous, part), `AWS4${key}`);
  return hmac(signingKey, text).toString('hex');
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
