import type { TargetsInput } from '../../lambda/configuration/targets';
import { adviseOnIndexes, type IndexAdvice } from '../../lambda/dry-run/index-advice';
import { conditionOf } from '../../lambda/engine/conditions/condition';
import { useDatabase } from '../support/database';
import { inspectFirst } from '../support/inspected';

const database = useDatabase();

type Rules = Exclude<TargetsInput[number], { preset: string }>['deleteWhen'];

/** The advice for a table that is too large to read in a second, and the plan by which a sweep finds few dead rows. */
async function advised(deleteWhen: Rules): Promise<{ advice: IndexAdvice; plan: string }> {
  const session = database.session();
  try {
    const { target, inspected } = await inspectFirst(session, [
      { table: 'tokens', deleteWhen, timeZone: 'Europe/Berlin' },
    ]);
    const large = { largest: inspected.oid, heapBytes: 2 ** 30, rows: 1_000_000, dead: 10 };
    const advice = await adviseOnIndexes(session, { target, inspected, ...large });
    const { text, values } = conditionOf(target, new Date(), inspected);
    const { rows } = await session.query<Record<string, string>>(
      `explain select ctid from only public.tokens where ${text}`,
      values,
    );
    return { advice, plan: rows.map((row) => Object.values(row)[0]).join('\n') };
  } finally {
    await session.close();
  }
}

const UUID = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';

beforeEach(() =>
  database.sql(`
    create type state as enum ('active', 'revoked', 'used');
    create domain code as smallint;
    create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table "Sessions" (id int primary key, ends_at timestamptz);
    insert into "Sessions" select id, now() + interval '1 day' from generate_series(1, 100) as id;
    create table tokens (
      "isRevoked" boolean default false, seconds int, ms bigint, exact numeric, day date, local_at timestamp,
      at timestamptz, ends_at timestamptz, lifetime int, number smallint default 1,
      status text, short varchar(20), padded char(8), folded text collate folding, state state default 'active',
      code code default 1, big bigint default 1, key uuid default gen_random_uuid(), successor json,
      "sessionId" int references "Sessions", filler text default repeat('x', 100)
    );
    insert into tokens (
      seconds, ms, exact, day, local_at, at, ends_at, lifetime, status, short, padded, folded, successor, "sessionId"
    )
    select s, s * 1000::bigint, s, to_timestamp(s), to_timestamp(s), to_timestamp(s), to_timestamp(s), 60, 'active', 'active', 'active', 'active', '{}', n % 100 + 1
    from generate_series(1, 4000) as n, lateral (select extract(epoch from now())::int + 300000 as s) as moment;
    analyze tokens`),
);

test.each<[string, Rules[number], string]>([
  ['seconds', { seconds: { olderThan: '0s', epoch: 's' } }, '(seconds)'],
  ['milliseconds', { ms: { olderThan: '0s', epoch: 'ms' } }, '(ms)'],
  ['a lifetime', { at: { olderThan: '0s', plusSeconds: 'lifetime' } }, '(at)'],
  [
    'two times, one of which may be NULL',
    { ends_at: { olderThan: '0s', orNull: true }, at: { olderThan: '0s' } },
    '(at, ends_at)',
  ],
  [
    'a flag and a time that may be NULL',
    { isRevoked: true, at: { olderThan: '0s', orNull: true } },
    '(at) where "isRevoked"',
  ],
  ['a value of a text', { status: { in: ["it's (used)"] } }, `(status) where status = 'it''s (used)'`],
  ['values of a text', { status: { in: ['revoked', 'used'] } }, `(status) where status in ('revoked', 'used')`],
  ['values of a varchar', { short: { in: ['revoked', 'used'] } }, `(short) where short in ('revoked', 'used')`],
  ['a value of a char', { padded: { in: ['revoked'] } }, '(padded)'],
  [
    'values of a text in which case does not matter',
    { folded: { in: ['revoked', 'used'] } },
    `(folded COLLATE "C") where folded COLLATE "C" in ('revoked', 'used')`,
  ],
  ['values of an enum', { state: { in: ['revoked', 'used'] } }, `(state) where state in ('revoked', 'used')`],
  ['values of a domain', { code: { in: [6, 7] } }, '(code) where code in (6, 7)'],
  ['a negative value', { big: { in: [-6] } }, '(big) where big = -6'],
  ['long values', { big: { in: [9_007_199_254_740_991, 2] } }, '(big) where big in (9007199254740991, 2)'],
  ['values of a uuid', { key: { in: [UUID] } }, `(key) where key = '${UUID}'`],
  [
    'values and a time',
    { status: { in: ['used'] }, seconds: { olderThan: '7d', epoch: 's' } },
    `(seconds) where status = 'used'`,
  ],
  [
    'a flag and a json that is NULL',
    { successor: null, isRevoked: true },
    '("isRevoked") where successor is null and "isRevoked"',
  ],
  [
    'a time and a row of another table',
    { sessionId: { refersTo: { ends_at: { olderThan: '0s' } } }, at: { olderThan: '0s' } },
    '(at)',
  ],
  [
    'a json that is NULL and a row of another table',
    { successor: null, sessionId: { refersTo: { ends_at: { olderThan: '0s' } } } },
    '("sessionId") where successor is null',
  ],
])('advises on an index for %s that the sweep uses, and once', async (_, rule, definition) => {
  const { advice } = await advised([rule]);

  const statements = [`create index concurrently on public.tokens ${definition}`];
  expect(advice).toEqual({ verdict: 'helps', statements });
  await database.sql(statements.join());

  const after = await advised([rule]);

  expect(after.advice).toEqual({ verdict: 'exists', statements: [] });
  expect(after.plan).toMatch(/Index.* Scan (using|on) "?tokens_/);
  expect(after.plan).not.toContain('Seq Scan on tokens');
});

test.each<[string, Rules[number], string]>([
  ['epoch on an integer', { seconds: { olderThan: '0s', epoch: 's' } }, '(seconds)'],
  ['epoch on a bigint', { ms: { olderThan: '0s', epoch: 'ms' } }, '(ms)'],
  ['epoch on a numeric', { exact: { olderThan: '0s', epoch: 's' } }, '(exact)'],
  ['values of a text', { status: { in: ['revoked', 'used'] } }, '(status)'],
  ['values of a varchar', { short: { in: ['revoked'] } }, '(short)'],
  ['values of an enum', { state: { in: ['revoked'] } }, '(state)'],
  ['values of an integer', { number: { in: [6] } }, '(number)'],
  ['a date', { day: { olderThan: '0s' } }, '(day)'],
  ['a timestamp of a zone', { local_at: { olderThan: '0s' } }, '(local_at)'],
  ['a lifetime', { at: { olderThan: '0s', plusSeconds: 'lifetime' } }, '(at)'],
  ['a time that is not NULL', { at: { olderThan: '0s' } }, '(at) where at is not null'],
  ['seconds that are not NULL', { seconds: { olderThan: '0s', epoch: 's' } }, '(seconds) where seconds is not null'],
  ['values that are not NULL', { short: { in: ['revoked', 'used'] } }, '(short) where short is not null'],
  [
    'a time beside values that are not NULL',
    { at: { olderThan: '0s' }, status: { in: ['used'] } },
    '(at) where status is not null and at is not null',
  ],
])('counts on an index for %s, as the sweep does', async (_, rule, definition) => {
  await database.sql(`create index sought on tokens ${definition}`);

  const { advice, plan } = await advised([rule]);

  expect(advice).toEqual({ verdict: 'exists', statements: [] });
  expect(plan).toMatch(/Index.* Scan (using|on) sought/);
  expect(plan).not.toContain('Seq Scan');
});

test.each<[string, Rules[number], string, string]>([
  [
    'a time that may be NULL',
    { isRevoked: true, at: { olderThan: '0s', orNull: true } },
    '(at) where at is not null',
    '(at) where "isRevoked"',
  ],
  [
    'a key that a rule follows',
    { at: { olderThan: '0s' }, sessionId: { refersTo: { ends_at: { olderThan: '0s' } } } },
    '(at) where "sessionId" is not null',
    '(at)',
  ],
  [
    'values, by a collation in which case does not matter',
    { folded: { in: ['used'] } },
    '(folded)',
    `(folded COLLATE "C") where folded COLLATE "C" = 'used'`,
  ],
])('does not count on an index that leaves out %s', async (_, rule, definition, better) => {
  await database.sql(`create index sought on tokens ${definition}; set enable_seqscan to off`);

  const { advice, plan } = await advised([rule]);

  expect(advice.statements).toEqual([`create index concurrently on public.tokens ${better}`]);
  expect(plan).not.toContain('sought');
});

test('proposes no index if a rule tests nothing but rows of another table, which none would help', async () => {
  await database.sql('create index sought on tokens ("sessionId")');
  const dead: Rules = [{ sessionId: { refersTo: { ends_at: { olderThan: '0s' } } } }, { isRevoked: true }];

  const { advice, plan } = await advised(dead);

  expect(advice).toEqual({ verdict: 'cannot-help', statements: [] });
  expect(plan).toContain('Seq Scan on tokens');
});
