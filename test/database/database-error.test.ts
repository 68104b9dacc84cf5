import { ConnectionLostError, describeError, kindOf } from '../../lambda/database/database-error';

test.each([
  ['57P01', 'connection-lost'],
  ['57P03', 'connection-lost'],
  ['08006', 'connection-lost'],
  ['53300', 'connection-lost'],
  ['25006', 'connection-lost'],
  ['40P01', 'transient'],
  ['40001', 'transient'],
  ['28P01', 'refused'],
  ['28000', 'refused'],
  ['55P03', 'locked'],
  ['57014', 'slow'],
  ['23503', 'protected'],
  ['P0001', 'protected'],
  ['45000', 'protected'],
  ['42501', 'fatal'],
  ['42P01', 'fatal'],
  ['53100', 'fatal'],
  ['XX000', 'fatal'],
])('takes SQLSTATE %s as %s', (code, kind) => {
  expect(kindOf(Object.assign(new Error(), { severity: 'ERROR', code }))).toBe(kind);
});

test.each([
  ['ECONNRESET', 'connection-lost'],
  ['EPIPE', 'connection-lost'],
  ['ENOTFOUND', 'connection-lost'],
  ['CERT_HAS_EXPIRED', 'fatal'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'fatal'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'fatal'],
])('takes the system error %s as %s', (code, kind) => {
  expect(kindOf(Object.assign(new Error(), { code }))).toBe(kind);
});

test.each([
  [
    'a foreign key by its name and table',
    { code: '23503', constraint: 'device_token', table: 'devices', detail: 'Key (token)=(s3cret) is still referenced' },
    'constraint "device_token" of table "devices" (SQLSTATE 23503)',
  ],
  [
    'an exception of a trigger without its text',
    { code: 'P0001', message: 'token s3cret must stay' },
    'an exception, probably from a trigger (SQLSTATE P0001; its text may contain values of a row and is left out)',
  ],
  [
    'a refused password without the user',
    { code: '28P01', message: 'password authentication failed for user "s3cret"' },
    'the server refused the credentials (SQLSTATE 28P01)',
  ],
  [
    'a name that holds control characters without what a terminal would obey',
    { code: '42P01', message: 'relation "a\u001b]0;x\u0007\u202eb\n" does not exist' },
    'relation "a\\u001b]0;x\\u0007\\u202eb\n" does not exist (SQLSTATE 42P01)',
  ],
  [
    'a missing table by the words of the server',
    { code: '42P01', message: 'no such table' },
    'no such table (SQLSTATE 42P01)',
  ],
])('describes %s', (_, error, description) => {
  const serverError = Object.assign(new Error(), { severity: 'ERROR', ...error });
  expect(describeError(serverError)).toBe(description);
  expect(describeError(new ConnectionLostError(serverError))).toBe(`the connection was lost: ${description}`);
});
