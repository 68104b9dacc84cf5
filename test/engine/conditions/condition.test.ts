import type { TargetsInput } from '../../../lambda/configuration/targets';
import { useDatabase } from '../../support/database';

const database = useDatabase();

type Rules = TargetsInput extends readonly (infer Target)[]
  ? Extract<Target, { deleteWhen: unknown }>['deleteWhen']
  : never;

/** The type of a column, a test, values that are dead and values that are not, as SQL, and the zone of the target. */
type Case = [string, Rules[number][string], readonly string[], readonly string[], string?];

const S = 'extract(epoch from now())';

const EPOCH_S: readonly string[] = [`${S} - 7201`, '100000001'];
const ALIVE_S: readonly string[] = [`${S} - 7190`, S, `${S} + 10`, '100000000', '0', '-1', 'null'];
const UUID = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';

const CASES: readonly Case[] = [
  ['boolean', true, ['true'], ['false', 'null']],
  ['boolean', false, ['false'], ['true', 'null']],
  ['flag', true, ['true'], ['false', 'null']],
  [
    'timestamptz',
    { olderThan: '2h' },
    [`now() - interval '2 h 1 s'`, `'-infinity'`, `'4713-01-01 BC'`],
    [`now() - interval '119 min'`, `now() + interval '1 day'`, `'infinity'`, `'294276-12-31'`, 'null'],
  ],
  [
    'timestamptz(3)',
    { olderThan: '2h', orNull: true },
    [`now() - interval '2 h 1 s'`, 'null'],
    [`now() - interval '119 min'`, `'infinity'`],
  ],
  [
    'timestamp(0)',
    { olderThan: '0s' },
    [`now() at time zone 'UTC' - interval '2 s'`, `'-infinity'`],
    [`now() at time zone 'UTC' + interval '1 min'`, `'infinity'`, 'null'],
  ],
  [
    'timestamp',
    { olderThan: '0s' },
    [`now() at time zone 'Asia/Kathmandu' - interval '2 s'`, `now() at time zone 'UTC'`],
    [`now() at time zone 'Asia/Kathmandu' + interval '1 min'`, 'null'],
    'Asia/Kathmandu',
  ],
  [
    'date',
    { olderThan: '1d' },
    [`(now() at time zone 'UTC')::date - 2`, `'-infinity'`],
    [`(now() at time zone 'UTC')::date - 1`, `(now() at time zone 'UTC')::date`, `'infinity'`, 'null'],
  ],
  ...['integer', 'bigint', 'numeric'].map((type): Case => [type, { olderThan: '2h', epoch: 's' }, EPOCH_S, ALIVE_S]),
  [
    'integer',
    { olderThan: '2h', epoch: 's', orNull: true },
    [...EPOCH_S, 'null'],
    ALIVE_S.filter((value) => value !== 'null'),
  ],
  [
    'bigint',
    { olderThan: '2h', epoch: 'ms' },
    [...EPOCH_S.map((value) => `1000::bigint * (${value})`), '100000000001'],
    // Seconds that are declared as milliseconds match nothing.
    [...ALIVE_S.map((value) => `1000::bigint * (${value})`), S, '2147483647', '9223372036854775807'],
  ],
  [
    'bigint',
    { olderThan: '2h', epoch: 's' },
    EPOCH_S,
    // Milliseconds that are declared as seconds match nothing either.
    [...ALIVE_S, `1000 * (${S} - 86400 * 365)`, '9223372036854775807', '-9223372036854775808'],
  ],
  [
    'numeric',
    { olderThan: '0s', epoch: 's' },
    [`${S} - 0.001`],
    [`${S} + 60`, `'NaN'`, `'Infinity'`, `'-Infinity'`, '1e100', 'null'],
  ],
  ['smallint', { olderThan: '0s', epoch: 's' }, [], ['-1', '0', '32767', 'null']],
  ['text', { in: ['revoked', 'used'] }, [`'revoked'`, `'used'`], [`'Revoked'`, `'used '`, `''`, 'null']],
  ['varchar(20)', { in: [`it's "1"`, 'a,b', '{}'] }, [`'it''s "1"'`, `'a,b'`, `'{}'`], [`'a'`, `'b'`, 'null']],
  ['char(10)', { in: ['used'] }, [`'used'`, `'used  '`], [`'Used'`, `'unused'`, 'null']],
  ['text collate folding', { in: ['used'] }, [`'used'`], [`'USED'`, 'null']],
  ['status', { in: ['revoked', 'Über "1"'] }, [`'revoked'`, `'Über "1"'`], [`'active'`, 'null']],
  ['state', { in: [6] }, ['6'], ['0', '60', 'null']],
  ['smallint', { in: [1, 2, 70_000] }, ['1', '2'], ['0', 'null']],
  ['bigint', { in: [9_007_199_254_740_991] }, ['9007199254740991'], ['9007199254740992', 'null']],
  ['uuid', { in: [UUID.toUpperCase()] }, [`'${UUID}'`], ['gen_random_uuid()', 'null']],
];

const TYPES = `
  create type status as enum ('active', 'revoked', 'Über "1"');
  create domain flag as boolean;
  create domain short as smallint;
  create domain state as short;
  create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`;

test.each(CASES)('a column of %s with the test %j', async (...[type, columnTest, dead, alive, timeZone]) => {
  // What accepts NULL needs a test beside it that does not.
  const rule = JSON.stringify(columnTest).includes('orNull')
    ? { flag: true, tested: columnTest }
    : { tested: columnTest };
  const values = [...dead.map((value) => [value, true] as const), ...alive.map((value) => [value, false] as const)];
  await database.sql(`
    ${TYPES};
    create table tokens (id serial, expected boolean, tested ${type}, flag boolean default true, filler text default repeat('x', 2000));`);
  for (const [value, isDead] of values) {
    await database.sql(
      `insert into tokens (expected, tested) values (${isDead}, (${value})::${type.replace(/ .*/, '')})`,
    );
  }
  await database.sql('create index on tokens (tested)');

  const report = await database
    .service({ targets: [{ table: 'tokens', deleteWhen: [rule], ...(timeZone && { timeZone }) }] })
    .run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: dead.length, targets: [{ rowsRemaining: 0 }] });
  const survivors = await database.sql<{ id: number }>('select id from tokens order by id');
  expect(survivors.map(({ id }) => id)).toEqual(alive.map((_, index) => dead.length + index + 1));
});

test('a column that is NULL with the test null, beside a flag', async () => {
  await database.sql(`
    create table tokens (id int, used boolean, successor json);
    insert into tokens values (1, true, null), (2, true, '{}'), (3, true, 'null'), (4, false, null), (5, null, null)`);

  await database.service({ targets: [{ table: 'tokens', deleteWhen: [{ used: true, successor: null }] }] }).run();

  expect(await database.column('select id from tokens')).toEqual([2, 3, 4, 5]);
});

describe('a time with a lifetime beside it', () => {
  const BIG = '9223372036854775807';

  test.each([
    ['timestamptz', 'int', {}, (ago: string) => `now() - interval '${ago}'`],
    ['timestamp', 'bigint', {}, (ago: string) => `now() at time zone 'UTC' - interval '${ago}'`],
    ['bigint', 'numeric', { epoch: 's' as const }, (ago: string) => `extract(epoch from now() - interval '${ago}')`],
    [
      'numeric',
      'smallint',
      { epoch: 'ms' as const },
      (ago: string) => `1000 * extract(epoch from now() - interval '${ago}')`,
    ],
  ])('%s and %s', async (type, secondsType, epoch, moment) => {
    await database.sql(`
      create table tokens (id int, created_at ${type}, expires_in ${secondsType});
      insert into tokens values
        (1, ${moment('2 h 1 min')}, 3600), (2, ${moment('2 h')}, 3660), (3, ${moment('1 h 1 min')}, 0), (4, ${moment('59 min')}, 0),
        (5, ${moment('90 d')}, null), (6, null, 3600), (7, ${moment('90 d')}, -1), (8, ${moment('-1 h')}, -30000)`);

    const deleteWhen = [{ created_at: { olderThan: '1h', plusSeconds: 'expires_in', ...epoch } }];
    const report = await database.service({ targets: [{ table: 'tokens', deleteWhen }] }).run();

    expect(report).toMatchObject({ status: 'succeeded' });
    expect(await database.column('select id from tokens')).toEqual([2, 4, 5, 6, 7, 8]);
  });

  test('overflows for no value', async () => {
    await database.sql(`
      create table tokens (id int, created_at timestamptz, local_at timestamp, bigint_s bigint, many numeric);
      insert into tokens values
        (1, '-infinity', '-infinity', 0, 0), (2, '4713-01-01 BC', '4713-01-01 BC', 0, 0), (3, 'infinity', 'infinity', 0, 0),
        (4, '294276-12-31', '294276-12-31', ${BIG}, 1e1000), (5, now() - interval '1 d', now() - interval '1 d', ${BIG}, 'NaN'),
        (6, now() - interval '1 d', now() - interval '1 d', -${BIG}, '-Infinity'), (7, '-infinity', '-infinity', ${BIG}, 'Infinity')`);
    const deleteWhen = ['bigint_s', 'many'].flatMap((plusSeconds) =>
      ['created_at', 'local_at'].map((column) => ({ [column]: { olderThan: '0s', plusSeconds } })),
    );

    const report = await database
      .service({ targets: [{ table: 'tokens', timeZone: 'Pacific/Auckland', deleteWhen }] })
      .run();

    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained' }] });
    expect(await database.column('select id from tokens')).toEqual([3, 4, 5, 6]);
  });
});
