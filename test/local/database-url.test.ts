import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join, relative } from 'node:path';
import { parseDatabaseUrl, storedPassword } from '../../bin/local/database-url';
import { encryptionOfFleet } from '../../bin/local/encryption';
import { mistakesOf } from '../support/mistakes';

const folder = mkdtempSync(join(tmpdir(), 'database-url-'));
afterAll(() => rmSync(folder, { recursive: true }));

function mistakesIn(url: string): readonly string[] {
  return mistakesOf(() => parseDatabaseUrl(url, {}));
}

describe('a database URL', () => {
  test.each([
    ['postgres://app:pw@db.example.com/shop', 'app', 'db.example.com', 5432, 'shop', 'pw', 'verify-full'],
    ['POSTGRESQL://app@[::1]:5433/shop', 'app', '::1', 5433, 'shop', undefined, 'disable'],
    ['postgres://app:p%40ss%2F@h/d%20b?sslmode=disable', 'app', 'h', 5432, 'd b', 'p@ss/', 'disable'],
    ['postgres://app:p@ss:word@h/d', 'app', 'h', 5432, 'd', 'p@ss:word', 'verify-full'],
    ['postgres:///d?host=h&port=6432&user=u&password=x', 'u', 'h', 6432, 'd', 'x', 'verify-full'],
    ['postgresql:///d?host=/run/pg', userInfo().username, '/run/pg', 5432, 'd', undefined, 'disable'],
    ['postgresql://u@%2Frun%2Fpg:5433/d?sslmode=verify-full', 'u', '/run/pg', 5433, 'd', undefined, 'disable'],
    ['postgres://u:pw@:5433/d?host=127.0.0.2', 'u', '127.0.0.2', 5433, 'd', 'pw', 'disable'],
  ])('is read: %s', (url, user, host, port, name, password, sslMode) => {
    expect(parseDatabaseUrl(url, {})).toEqual({
      ...{ user, host, port, name, sslMode, exposesPassword: password !== undefined },
      ...(password && { password }),
    });
  });

  test('is completed by the variables of psql, and wins over them', () => {
    const environment = { PGHOST: 'h', PGPORT: '6432', PGUSER: 'u', PGPASSWORD: 'secret', PGDATABASE: 'd' };

    expect(parseDatabaseUrl('postgres://', environment)).toEqual({
      ...{ host: 'h', port: 6432, user: 'u', name: 'd', password: 'secret' },
      ...{ exposesPassword: false, sslMode: 'verify-full' },
    });
    expect(parseDatabaseUrl('postgres://app:pw@localhost:5432/shop', environment)).toEqual({
      ...{ host: 'localhost', port: 5432, user: 'app', name: 'shop', password: 'pw' },
      ...{ exposesPassword: true, sslMode: 'disable' },
    });
  });

  const ENCODE =
    '--database-url must look like postgres://USER@HOST:PORT/DATABASE. If the password contains special characters, ' +
    'percent-encode them (/ is %2F, ? %3F, # %23, @ %40, : %3A, % %25), or leave it out and set PGPASSWORD';

  test.each([
    'postgres://app:canary/x@h/d',
    'postgres://app:1/canary@h/d',
    'postgres://app:1/@canary@h/d',
    'postgres://app:canary?x@h/d',
    'postgres://app:1?canary=x&canary@h/d',
    'postgres://app:canary#x@h/d',
    'postgres://app:1#canary@h/d',
    'postgres://app:x@canary/y@h/d',
    'postgres://app:canary,/x@h/d',
    'postgres://app:canary x@h canary/d',
  ])('whose password breaks it is answered with how to write that: %s', (url) => {
    expect(mistakesIn(url)).toEqual([ENCODE]);
  });

  test.each([
    ['postgres://app:100%canary@h/d', 'the password contains a % that encodes nothing; write %25 for a %'],
    ['postgres://u@h/d?schema=auth', 'the parameter schema is not supported; a schema is part of a target: '],
    ['postgres://u@h/d?pgbouncer=true', 'the parameter pgbouncer is not supported, only host, port, user, '],
    ['postgres://u@h/d?port=0', 'the port must be a whole number from 1 to 65535'],
    ['postgres://u:canary@h:99999/d', 'the port must be a whole number from 1 to 65535'],
    ['postgres://u:canary@h:54x2', 'the port must be a whole number from 1 to 65535'],
    ['postgres://u:canary@[::1]:99999/d', 'the port must be a whole number from 1 to 65535'],
    ['postgres://u@localhost/d?sslrootcert=absent.pem', 'sslrootcert must be a readable file: ENOENT'],
    [`postgres://u@h/d?sslmode=disable&sslrootcert=${__filename}`, 'sslrootcert must not be set with sslmode=disable'],
    ['postgres://u@h/d?sslmode=on', 'sslmode must be verify-full or disable, got "on"'],
  ])('is refused with the rule: %s', (url, mistake) => {
    expect(mistakesIn(url)).toEqual([expect.stringContaining(`--database-url: ${mistake}`)]);
    expect(mistakesIn(url).join()).not.toContain('canary');
  });

  test.each([
    [
      'postgres://u@h',
      '--database-url names no database: it must look like postgres://USER@HOST:PORT/DATABASE, unless PGDATABASE is set',
    ],
    [
      'jdbc:postgresql://h/d?user=canary',
      '--database-url must look like postgres://USER@HOST:PORT/DATABASE, without jdbc: in front',
    ],
    ['host=h password=canary', '--database-url must look like postgres://USER@HOST:PORT/DATABASE'],
    ['postgres://u:canary@h1:5432,h2:5432/d', '--database-url must name one host: the one that accepts writes'],
  ])('of another form is answered with the form: %s', (url, mistake) => {
    expect(mistakesIn(url)).toEqual([mistake]);
  });

  test.each([
    ['require', 'any server that answers'],
    ['prefer', 'any server that answers'],
    ['allow', 'any server that answers'],
    ['verify-ca', 'any server with a certificate of a trusted authority, for whatever host'],
  ])('with sslmode=%s is answered with the parameter to write', (mode, recipient) => {
    const because = `must be verify-full or disable, got "${mode}", which sends the password to ${recipient}. Write `;
    const otherwise = '=FILE if the authority is not a public one (Amazon RDS: global-bundle.pem)';

    expect(mistakesIn(`postgres://u@h/d?sslmode=${mode}`)).toEqual([
      `--database-url: sslmode ${because}sslmode=verify-full, and sslrootcert${otherwise}`,
    ]);
    expect(() => encryptionOfFleet({ PGSSLMODE: mode })).toThrow(
      `PGSSLMODE ${because}PGSSLMODE=verify-full, and PGSSLROOTCERT${otherwise}`,
    );
  });

  test('takes PGSSLROOTCERT unless the connection is not encrypted, or has its own', () => {
    const environment = { PGSSLROOTCERT: relative('.', __filename) };
    const file = (url: string) => parseDatabaseUrl(url, environment).rootCertificateFile;

    expect(file('postgres://u@h/d')).toBe(__filename);
    expect(file(`postgres://u@h/d?sslrootcert=${join(__dirname, 'options.test.ts')}`)).toMatch(/options.test.ts$/);
    expect(file('postgres://u@localhost/d')).toBeUndefined();
    expect(file('postgres://u@h/d?sslmode=disable')).toBeUndefined();
    expect(() => parseDatabaseUrl('postgres://u@h/d', { PGSSLROOTCERT: 'absent.pem' })).toThrow(
      /^PGSSLROOTCERT must be a readable file: ENOENT/,
    );
  });
});

describe('a password file', () => {
  const environment = process.env;
  beforeEach(() => {
    const { PGPASSWORD: _, ...others } = environment;
    process.env = { ...others, PGPASSFILE: join(folder, 'pgpass') };
  });
  afterEach(() => {
    process.env = environment;
  });

  test.each([
    ['postgres://app@h:6432/shop', 'for the host'],
    ['postgres://app@h:6433/shop', undefined],
    ['postgres://any:given@localhost/shop', 'a:b\\c'],
    ['postgres://any@/shop?host=/var/run/postgresql', 'a:b\\c'],
  ])('is searched as psql does: %s', async (url, password) => {
    writeFileSync(join(folder, 'pgpass'), '# comment\nh:6432:shop:app:for the host\nlocalhost:*:*:*:a\\:b\\\\c\n', {
      mode: 0o600,
    });

    expect(await storedPassword(parseDatabaseUrl(url, {}))).toBe(password);
  });

  test('that is missing holds no password', async () => {
    process.env.PGPASSFILE = join(folder, 'absent');

    expect(await storedPassword(parseDatabaseUrl('postgres://app@h/d', {}))).toBeUndefined();
  });
});
