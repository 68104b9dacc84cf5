import { parseManifest } from '../../lambda/fleet/manifest';
import { mistakesOf } from '../support/mistakes';

const SECRET = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:fleet/a-AbCdEf';

const LISTS = ['default', 'keycloak'];

const SERVER = { name: 'a', host: 'a.db.internal', secretArn: SECRET, databases: ['auth'] };

function mistakesIn(...lines: readonly (object | string)[]): readonly string[] {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  return mistakesOf(() => parseManifest(text, LISTS));
}

test('reads a server from each line', () => {
  const other = {
    name: 'B_2.eu',
    host: 'b.db.internal',
    port: 6432,
    iamUser: 'token_cleanup',
    database: 'maintenance',
    databases: { like: ['tenant_*'], except: ['tenant_demo'] },
    targets: 'keycloak',
  };

  expect(parseManifest(`${JSON.stringify(SERVER)}\r\n${JSON.stringify(other)}\n`, LISTS)).toEqual([
    { ...SERVER, port: 5432, databases: { like: ['auth'] }, targets: 'default' },
    other,
  ]);
});

test('lists every mistake with its line, its field, its rule and the value', () => {
  expect(
    mistakesIn(
      SERVER,
      { ...SERVER, name: 'a/b', host: 'postgres://c', port: 0 },
      { name: 'd', hots: 'd', secretArn: 'd', iamUser: 'd', databases: [] },
      { ...SERVER, name: 'e', host: 'e', databases: ['tenant_*'], targets: 'keyclock' },
      { ...SERVER, name: 'f', host: 'f', databases: 'auth', secretArn: undefined },
      '{ "name": "g"',
      '',
      '[]',
      { ...SERVER, name: 'h', host: 'h', databases: { like: [] }, password: 'secret' },
    ),
  ).toEqual([
    'line 2: name must be a name of at most 63 letters, digits, dots, hyphens and underscores, got "a/b"',
    'line 2: host must be a host name, without a port, got "postgres://c"',
    'line 2: port must be a whole number from 1 to 65535, got 0',
    'line 3: host is required',
    'line 3: secretArn must be the ARN of a secret, got "d"',
    'line 3: databases must name at least one database, got []',
    'line 3: hots is not a known key (did you mean host?)',
    'line 3: secretArn must not be set with iamUser, which needs no secret, got "d"',
    'line 4: databases[0] must be a name; patterns stand in { "like": ["tenant_*"] }, got "tenant_*"',
    'line 4: targets must be one of default, keycloak (did you mean keycloak?), got "keyclock"',
    'line 5: databases must be a list of databases, or a pattern such as { "like": ["tenant_*"] }, got "auth"',
    'line 5: secretArn is required without iamUser',
    'line 6: must be a server as JSON, got "{ \\"name\\": \\"g\\""',
    'line 7: must be a server as JSON, got ""',
    'line 8: must be an object, got []',
    'line 9: databases.like must hold at least one pattern, got []',
    'line 9: password is not a known key',
  ]);
});

test('requires the list of targets of a server where none is called default', () => {
  expect(() => parseManifest(JSON.stringify(SERVER), ['keycloak'])).toThrow('line 1: targets is required');
});

test('refuses two lines of the same name, and two of the same server, whatever the case of its host', () => {
  expect(
    mistakesIn(
      SERVER,
      { ...SERVER, host: 'b.db.internal' },
      { ...SERVER, name: 'c', host: 'A.DB.internal', port: 5432 },
      { ...SERVER, name: 'd', port: 5433 },
    ),
  ).toEqual([
    'line 2: name must differ from line 1, got "a"',
    'line 3: host and port must differ from line 1, got "a.db.internal:5432"',
  ]);
});

test('refuses an empty manifest', () => {
  expect(mistakesIn('')).toEqual(['line 1: must be a server as JSON, got ""']);
});
