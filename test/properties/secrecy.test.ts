import fc from 'fast-check';
import { SecretsEndpoint } from '../../bin/local/secrets-endpoint';
import type { TargetsInput } from '../../lambda/configuration/targets';
import { handler } from '../../lambda/handler';
import { useDatabase } from '../support/database';
import { Rds } from '../support/rds';

const database = useDatabase();
const ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:tokens';
/** Nothing that holds this may be found in what a run puts out. Identifiers fold it, and so does the search. */
const CANARY = 'canary';

/** What is tried again is tried so long. */
const TIME_LIMIT_MS = 1_500;

let endpoint: SecretsEndpoint;
beforeAll(async () => {
  endpoint = await SecretsEndpoint.start();
});
afterAll(() => endpoint.stop());

beforeEach(() =>
  database.sql(`
    create table refresh_tokens (
      id int primary key, token_hash text, revoked boolean, expires_at timestamptz default now() + interval '1 day'
    );
    insert into refresh_tokens select id, '${CANARY}_' || id, id % 2 = 0 from generate_series(1, 20) as id`),
);

/** All output of a run of the real handler: its log, its metrics and its result. */
async function outputOf(secret: string | Uint8Array): Promise<string> {
  endpoint.put(ARN, secret);
  return await outputWith({ ...endpoint.environment, DB_SECRET_ARN: ARN, DB_SSL_MODE: 'disable' });
}

async function outputWith(environment: Record<string, string>): Promise<string> {
  const env = jest.replaceProperty(process, 'env', { POWERTOOLS_LOG_LEVEL: 'DEBUG', ...environment });
  let output = '';
  const streams = [process.stdout, process.stderr].map((stream) =>
    jest.spyOn(stream, 'write').mockImplementation((text) => {
      output += text;
      return true;
    }),
  );
  try {
    const report = await handler({}, { getRemainingTimeInMillis: () => TIME_LIMIT_MS });
    output += JSON.stringify(report);
  } finally {
    env.restore();
    for (const stream of streams) {
      stream.mockRestore();
    }
  }
  // That there was something to search, logs and metrics and result.
  expect(output).toContain('"status"');
  expect(output).toContain('CloudWatchMetrics');
  return output.toLowerCase();
}

/** A text that the search finds wherever half of it is left. */
const canary = fc
  .tuple(fc.string({ unit: 'grapheme', maxLength: 4 }), fc.string({ unit: 'binary-ascii', maxLength: 4 }))
  .map(([before, after]) => `${before}${CANARY}${after}${CANARY}`);

/** Values that hold canaries where a secret should hold a text or a number. */
const misplaced: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, 0, -1, 65_536, 1e99, '', [], {}),
  canary.map((text) => [text]),
  canary.map((text) => ({ [text]: text })),
  canary.map((text) => ({ deeply: [{ nested: [text, { [text]: text }] }] })),
);

test('repeats nothing of a malformed secret', async () => {
  const { host, port, database: dbname } = database.login();
  const fields = fc.record({ username: canary, password: canary });
  const whole = fields.map((texts) => JSON.stringify({ ...texts, host, port, dbname, note: CANARY }));
  const malformed = fc.oneof(
    // Cut off, or with something in it that does not belong there.
    fc.tuple(whole, fc.double({ min: 0, max: 0.99, noNaN: true })).map(([text, at]) => text.slice(0, at * text.length)),
    fc
      .tuple(whole, fc.nat(60), fc.constantFrom('"', '\\', '{', '\0', '\n', "'"))
      .map(([text, at, junk]) => `${text.slice(0, at)}${junk}${text.slice(at)}${junk}`),
    canary,
    // Of other types.
    fc
      .tuple(fields, fc.constantFrom('username', 'password', 'port'), misplaced)
      .map(([texts, field, value]) => JSON.stringify({ ...texts, host, port, dbname, [field]: value })),
    fields.map(({ username }) => JSON.stringify({ username, host, port, dbname })),
    fields.map((texts) => JSON.stringify([texts])),
    fields.map((texts) => JSON.stringify(JSON.stringify({ ...texts, host }))),
    misplaced.map((value) => JSON.stringify(value)),
    whole.map((text) => Buffer.from(text)),
  );

  await fc.assert(
    fc.asyncProperty(malformed, async (secret) => {
      expect(await outputOf(secret)).not.toContain(CANARY);
    }),
    { numRuns: 100 },
  );
});

test('repeats nothing of credentials that the server refuses', async () => {
  await fc.assert(
    fc.asyncProperty(fc.record({ user: canary, password: canary }), async (texts) => {
      expect(await outputOf(database.secret(texts))).not.toContain(CANARY);
    }),
    { numRuns: 20 },
  );
});

/** Makes each row that is deleted raise an error, which a trigger words with what the row holds. */
function raise(statement: string): Promise<unknown> {
  return database.sql(`
    create function raise() returns trigger language plpgsql as $$ begin ${statement}; return old; end $$;
    create trigger raise before delete on refresh_tokens for each row execute function raise()`);
}

async function outputOfService(): Promise<string> {
  const connection = { ...database.connection(), reconnectTimeoutMs: 100 };
  const report = await database.service({ connection }).run();
  // Nothing was deleted, so that what the trigger raised did meet the run.
  expect(report.rowsDeleted).toBe(0);
  expect(report.status).not.toBe('succeeded');
  return JSON.stringify([report, database.logs]).toLowerCase();
}

test.each<[string, string]>([
  ['that a trigger raises', `raise exception 'token % is guarded', old.token_hash`],
  [
    'that a trigger raises with a detail, a hint and a constraint',
    `raise exception 'x' using detail = old.token_hash, hint = old.token_hash, errcode = '23514'`,
  ],
  ['that a trigger raises as an error of its own class', `raise exception '%', old.token_hash using errcode = 'TC001'`],
  ['of a value that does not fit', `perform old.token_hash::int`],
  ['of a constraint', `insert into refresh_tokens values (old.id - 1, old.token_hash)`],
  ['of a division', `raise notice '%', old.token_hash; perform 1 / (old.id - old.id)`],
  ['of SQL that a trigger makes of it', `execute 'select ' || old.token_hash`],
  ...[
    ...['08006', '0A000', '25006', '25P02', '26000', '28000', '3D000', '3F000', '40001', '40P01', '42501', '42P01'],
    ...['53100', '53300', '54000', '55000', '55P03', '57014', '57P01', '58030', 'F0000', 'XX000'],
  ].map((code): [string, string] => [
    `with SQLSTATE ${code}`,
    `raise exception '%', old.token_hash using errcode = '${code}'`,
  ]),
])('repeats no value of a row from an error %s', async (_, statement) => {
  await raise(statement);

  expect(await outputOfService()).not.toContain(CANARY);
});

test('leaves only the row that a trigger guards, even if it raises insufficient_privilege', async () => {
  await raise(`if old.id = 10 then raise exception 'guarded' using errcode = '42501'; end if`);

  const report = await database.service().run();

  expect(report).toMatchObject({ status: 'partial', rowsDeleted: 9, targets: [{ stopReason: 'blocked' }] });
});

test('repeats no value of a row from a key that is still referenced, and no value of a cascade', async () => {
  await database.sql(`
    alter table refresh_tokens add unique (token_hash);
    create table devices (token_hash text references refresh_tokens (token_hash));
    insert into devices select token_hash from refresh_tokens;
    create table sessions (id int references refresh_tokens (id) on delete cascade);
    insert into sessions select id from refresh_tokens`);

  const output = await outputOfService();
  expect(output).not.toContain(CANARY);
  expect(output).toContain('devices_token_hash_fkey');
});

test('does not repeat the parameters of its statements', async () => {
  const report = await database
    .service({ targets: [{ table: 'refresh_tokens', deleteWhen: [{ expires_at: { olderThan: '1234567s' } }] }] })
    .run();
  const moment = new Date(Date.parse(report.cutoff ?? '') - 1_234_567_000).toISOString();

  expect(report.status).toBe('succeeded');
  expect(JSON.stringify([report, database.logs])).not.toContain(moment);
});

test.each([
  ['may not log in', 'nologin'],
  ['has too many connections', 'login connection limit 0'],
])('repeats no name of a role that %s', async (_, options) => {
  const user = `${CANARY}-role`;
  await database.sql(`create role "${user}" password 'right' ${options}`);

  const output = await outputOf(database.secret({ user, password: 'right' }));
  await database.sql(`drop role "${user}"`);

  expect(output).not.toContain(CANARY);
});

describe('with a token of IAM', () => {
  const KEYS = { accessKeyId: `${CANARY}key`, secretAccessKey: `${CANARY}secret`, sessionToken: `${CANARY}/token=` };
  let rds: Rds;

  beforeAll(async () => {
    rds = await Rds.start(database.server, { user: 'token_cleanup', region: 'eu-central-1', keys: KEYS });
  });
  afterAll(() => rds.stop());

  test.each<[string, Partial<typeof KEYS>, Partial<Rds>]>([
    ['that the server accepts', {}, {}],
    ['that the server refuses', { secretAccessKey: `${CANARY}wrong` }, {}],
    [
      'that the server refuses by quoting it',
      { secretAccessKey: `${CANARY}wrong` },
      { refusal: (user, password) => `no token for ${user}: ${password}` },
    ],
  ])('repeats nothing of a token %s, nor of the keys that it is signed with', async (_, differing, server) => {
    await database.sql('grant delete, select on refresh_tokens to token_cleanup');
    rds.passwords.length = 0;
    Object.assign(rds, server);

    const output = await outputWith(rds.environment(database.name, { ...KEYS, ...differing }));

    expect(rds.passwords).toEqual([expect.stringContaining(`X-Amz-Security-Token=${CANARY}`)]);
    expect(output).not.toContain(CANARY);
    expect(output).not.toContain('x-amz');
  });
});

/** Names as the server takes them: up to 63 bytes, no NUL. */
const name = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    fc
      .array(
        fc.constantFrom(
          '"',
          "'",
          '\\',
          '$1',
          '$$',
          ';--',
          '/*',
          '*/',
          '; drop table witness; --',
          '%',
          '%I',
          '.',
          ' ',
          '\n',
          '\t',
          '​',
          '🕰',
          'É',
          '{',
          '\\0',
        ),
        { minLength: 1, maxLength: 8 },
      )
      .map((parts) => parts.join('')),
    fc.constantFrom('constructor', 'toString', 'select', 'ctid ', 'null', '"', '""', '$1', ';'),
  )
  .filter((text) => Buffer.byteLength(text) <= 63 && !text.includes('\0') && text !== '__proto__');

const target = fc
  .record({ schema: name, table: name, flag: name, moment: name })
  .filter(({ schema, flag, moment }) => flag !== moment && !schema.startsWith('pg_'));

test('treats every name as a name, and nothing in it as SQL', async () => {
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  await database.sql(`create table witness as select 1 as id`);
  const relations = () => database.sql(`select oid, relname from pg_class where relnamespace = 'public'::regnamespace`);
  const before = await relations();

  await fc.assert(
    fc.asyncProperty(target, async ({ schema, table, flag, moment }) => {
      const quotedTable = `${quoted(schema)}.${quoted(table)}`;
      await database.sql(`create schema if not exists ${quoted(schema)}`);
      await database.sql(`drop table if exists ${quotedTable}`);
      await database.sql(`create table ${quotedTable} (${quoted(flag)} boolean, ${quoted(moment)} timestamptz)`);
      await database.sql(
        `insert into ${quotedTable} values (true, '2999-01-01'), (false, '2000-01-01'), (false, '2999-01-01'), (null, null)`,
      );
      // As JSON would hold them: a literal would set the prototype of an object.
      const rule = (column: string, columnTest: unknown) =>
        JSON.parse(`{${JSON.stringify(column)}:${JSON.stringify(columnTest)}}`);
      const deleteWhen = [rule(flag, true), rule(moment, { olderThan: '1d' })];
      const targets: TargetsInput = [{ schema, table, deleteWhen }];

      const report = await database.service({ targets }).run();

      expect(report.error).toBeUndefined();
      expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 2, targets: [{ rowsRemaining: 0 }] });
      expect(await database.sql(`select ${quoted(flag)} as flag from ${quotedTable} order by 1`)).toEqual([
        { flag: false },
        { flag: null },
      ]);
    }),
    { numRuns: 40 },
  );

  expect(await database.sql('table witness')).toEqual([{ id: 1 }]);
  expect(await relations()).toEqual(before);
});

test('refuses a column called __proto__, which a parser could lose from its rule in silence', () => {
  const targets = JSON.parse('[{"table": "refresh_tokens", "deleteWhen": [{"revoked": true, "__proto__": true}]}]');

  expect(() => database.service({ targets })).toThrow(
    /^targets\[0\]\.deleteWhen\[0\] must not name a column "__proto__", got /,
  );
});
