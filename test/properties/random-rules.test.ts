import fc from 'fast-check';
import type { TargetsInput } from '../../lambda/configuration/targets';
import { useDatabase } from '../support/database';

const database = useDatabase();

const RUNS = Number(process.env.RULES_RUNS ?? 20);

type Rule = Exclude<TargetsInput[number], { preset: string }>['deleteWhen'][number];
type Test = Rule[string];

interface Column {
  readonly types: readonly string[];
  /** As SQL. */
  readonly values: fc.Arbitrary<string>;
  readonly tests: fc.Arbitrary<Test>;
}

const AGES: Readonly<Record<string, string>> = { '0s': '0 s', '90m': '90 min', '7d': '7 d', '30d': '30 d' };

/** Moments on both sides of every age, most of them close. */
const moment = fc
  .tuple(fc.constantFrom(...Object.values(AGES)), fc.integer({ min: -9_999, max: 9_999 }), fc.constantFrom(1, 60_000))
  .map(([age, distance, unitMs]) => `now() - interval '${age}' + interval '${distance * unitMs} ms'`);
const times = fc.oneof(
  { weight: 5, arbitrary: moment },
  fc.constantFrom('null', `'-infinity'`, `'infinity'`, `'4713-01-01 BC'`, `'200000-01-01'`),
);
const numbers = (perSecond: number) =>
  fc.oneof(
    { weight: 5, arbitrary: moment.map((at) => `floor(extract(epoch from ${at}) * ${perSecond})`) },
    fc.constantFrom('null', '0', '-1', `${100_000_000 * perSecond}`, `${100_000_000 * perSecond + 1}`, '2147483647'),
  );

const ages = (epoch?: 's' | 'ms', hasLifetime = true): fc.Arbitrary<Test> =>
  fc.record({
    olderThan: fc.constantFrom(...Object.keys(AGES)),
    epoch: fc.constant(epoch),
    plusSeconds: hasLifetime ? fc.constantFrom(undefined, 'lifetime') : fc.constant(undefined),
    orNull: fc.constantFrom(undefined, false, true),
  });
const listed = (...values: (string | number)[]): fc.Arbitrary<Test> =>
  fc.record({ in: fc.subarray(values, { minLength: 1 }) });

/** The columns of the table and of the one that it refers to. Some names are keywords or need quotes. */
const COLUMNS: Readonly<Record<string, Column>> = {
  isRevoked: {
    types: ['boolean'],
    values: fc.constantFrom('true', 'false', 'null'),
    tests: fc.constantFrom(true, false),
  },
  key_0: { types: ['timestamptz', 'timestamptz(3)'], values: times, tests: ages() },
  'a "local" time': {
    types: ['timestamp', 'timestamp(0)'],
    values: times.map((at) => (at.startsWith('now') ? `(${at}) at time zone 'UTC'` : at)),
    tests: ages(),
  },
  day: {
    types: ['date'],
    values: fc.oneof(
      fc.integer({ min: -32, max: 2 }).map((days) => `current_date + ${days}`),
      fc.constantFrom('null', `'-infinity'`, `'infinity'`),
    ),
    tests: ages(undefined, false),
  },
  seconds: { types: ['int', 'bigint', 'numeric'], values: numbers(1), tests: ages('s') },
  MS: { types: ['bigint', 'numeric'], values: numbers(1_000), tests: ages('ms') },
  status: {
    types: ['text', 'varchar(20)', 'char(12)', 'status', 'text collate folding'],
    values: fc.constantFrom(`'active'`, `'REVOKED'`, `'revoked'`, `'it''s "used"'`, 'null'),
    tests: listed('active', 'revoked', `it's "used"`),
  },
  code: {
    types: ['smallint', 'int', 'bigint', 'code'],
    values: fc.constantFrom('-1', '0', '1', '2', 'null'),
    tests: listed(-1, 0, 2),
  },
  lifetime: {
    types: ['int', 'bigint', 'numeric'],
    values: fc.constantFrom('0', '-1', '60', '5400', '604800', '2147483647', 'null'),
    tests: fc.constant(null),
  },
};

const ruleOf = (tests: Readonly<Record<string, fc.Arbitrary<Test>>>): fc.Arbitrary<Rule> =>
  fc
    .subarray(Object.keys(tests), { minLength: 1, maxLength: 3 })
    .chain((columns) =>
      fc.record(
        Object.fromEntries(
          columns.map((column) => [
            column,
            fc.oneof({ weight: 6, arbitrary: tests[column] as fc.Arbitrary<Test> }, fc.constant(null)),
          ]),
        ),
      ),
    )
    .filter((rule) => Object.values(rule).some(decides));

function decides(test: Test): boolean {
  return test !== null && !(typeof test === 'object' && 'orNull' in test && test.orNull);
}

const simple = Object.fromEntries(Object.entries(COLUMNS).map(([column, { tests }]) => [column, tests]));
const rule = ruleOf({ ...simple, parent: ruleOf(simple).map((refersTo) => ({ refersTo }) as Test) });

const types = fc.record(
  Object.fromEntries(Object.entries(COLUMNS).map(([column, { types }]) => [column, fc.constantFrom(...types)])),
);
const row = fc.record(Object.fromEntries(Object.entries(COLUMNS).map(([column, { values }]) => [column, values])));
const parents = 5;

const scenario = fc.record({
  types,
  parentTypes: types,
  parents: fc.array(row, { minLength: parents, maxLength: parents }),
  rows: fc.array(
    fc.record({ values: row, parent: fc.option(fc.integer({ min: 1, max: parents })), isReferredTo: fc.boolean() }),
    { minLength: 1, maxLength: 60 },
  ),
  copies: fc.constantFrom(1, 1, 20),
  partitions: fc.constantFrom(0, 0, 3),
  indexed: fc.subarray(Object.keys(COLUMNS)),
  // Clocks in these zones were never set back since 1970. In others a sweep takes care of the hour that is repeated.
  timeZone: fc.constantFrom(undefined, 'America/Phoenix', 'Pacific/Pago_Pago', 'Asia/Kolkata'),
  keepers: fc.boolean(),
  rules: fc.array(rule, { minLength: 1, maxLength: 4 }),
});

test('leaves the same rows of any table, by any rules, as one DELETE with the same cutoff', async () => {
  await database.sql(`
    create type status as enum ('active', 'REVOKED', 'revoked', 'it''s "used"');
    create domain code as smallint;
    create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`);
  await fc.assert(
    fc.asyncProperty(scenario, async (given) => {
      await database.sql(`
        drop table if exists devices, tokens, parents, expected;
        create table parents (id int primary key, ${definitions(given.parentTypes)});
        insert into parents values ${given.parents.map((values, index) => `(${index + 1}, ${sqlOf(values)})`)};
        create table tokens (id int primary key, parent int references parents, ${definitions(given.types)})
          ${given.partitions > 0 ? 'partition by hash (id)' : ''};
        ${Array.from(
          { length: given.partitions },
          (_, remainder) =>
            `create table leaf_${remainder} partition of tokens for values with (modulus ${given.partitions}, remainder ${remainder});`,
        ).join('')}
        insert into tokens
        select id + copy * 1000, ${['parent', ...Object.keys(COLUMNS)].map(quoted)}
        from (values ${given.rows.map(({ values, parent }, id) => `(${id}, ${parent}::int, ${typed(values, given.types)})`)})
          as listed (id, parent, ${Object.keys(COLUMNS).map(quoted)}), generate_series(1, ${given.copies}) as copy;
        ${given.indexed.map((column) => `create index on tokens (${quoted(column)});`).join('')}
        create table devices (token int references tokens);
        create index on devices (token);
        ${given.keepers ? `insert into devices select id from tokens where id % 1000 = any('{${given.rows.flatMap(({ isReferredTo }, id) => (isReferredTo ? [id] : []))}}')` : ''};
        analyze tokens;
        create table expected as select * from tokens`);

      const report = await database
        .service({
          targets: [
            {
              table: 'tokens',
              deleteWhen: given.rules,
              ...(given.timeZone && { timeZone: given.timeZone }),
              ...(given.keepers && { unlessReferredToBy: ['devices'] }),
            },
          ],
        })
        .run();

      expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
      const dead = given.rules
        .map((each) => `(${conditionOf(each, 'row', report.cutoff, given.timeZone)})`)
        .join(' or ');
      const { length } = await database.sql(`
        delete from expected as row
        where (${dead}) and not exists (select from devices where devices.token = row.id) returning id`);
      expect(report.rowsDeleted).toBe(length);
      expect(await database.column('select id from tokens')).toEqual(await database.column('select id from expected'));
    }),
    { numRuns: RUNS },
  );
}, 3_600_000);

/** A rule as SQL that is written for this test, with functions around the columns and without a care for indexes. */
function conditionOf(rule: Rule, table: string, cutoff: string | undefined, timeZone = 'UTC'): string {
  return Object.entries(rule)
    .map(([name, test]) => {
      const column = `${table}.${quoted(name)}`;
      if (test === null) {
        return `${column} is null`;
      }
      if (typeof test === 'boolean') {
        return `${column} is ${test}`;
      }
      if ('in' in test) {
        return `${column}::text collate "C" in (${test.in.map((value) => `'${String(value).replaceAll("'", "''")}'`)})`;
      }
      if ('refersTo' in test) {
        return `exists (select from parents where id = ${column} and ${conditionOf(test.refersTo as Rule, 'parents', cutoff, timeZone)})`;
      }
      const bound = `(timestamptz '${cutoff}' - interval '${AGES[test.olderThan]}')`;
      const isPast = pastSql(name, column, test.epoch, bound, timeZone);
      const lifetime = `${table}.lifetime::numeric`;
      const past = test.plusSeconds
        ? `(${isPast} and ${lifetime} >= 0 and ${startSql(name, column, test.epoch, timeZone)} + ${lifetime} < extract(epoch from ${bound}))`
        : isPast;
      return test.orNull ? `(${past} or ${column} is null)` : past;
    })
    .join(' and ');
}

function pastSql(name: string, column: string, epoch: string | undefined, bound: string, timeZone: string): string {
  if (epoch) {
    const perSecond = epoch === 's' ? 1 : 1_000;
    return `(${column}::numeric / ${perSecond} > 100000000 and ${column}::numeric / ${perSecond} < extract(epoch from ${bound}))`;
  }
  if (name === 'day') {
    const ends = (zone: string) => `(${column} + 1)::timestamp at time zone '${zone}' <= ${bound}`;
    return `(${ends('UTC')} and ${ends(timeZone)})`;
  }
  return name === 'key_0' ? `${column} < ${bound}` : `${column} at time zone '${timeZone}' < ${bound}`;
}

/** The seconds since 1970 at which a lifetime begins. */
function startSql(name: string, column: string, epoch: string | undefined, timeZone: string): string {
  if (epoch) {
    return `${column}::numeric / ${epoch === 's' ? 1 : 1_000}`;
  }
  return `extract(epoch from ${name === 'key_0' ? column : `${column} at time zone '${timeZone}'`})`;
}

function definitions(types: Readonly<Record<string, string>>): string {
  return Object.entries(types)
    .map(([column, type]) => `${quoted(column)} ${type}`)
    .join(', ');
}

function sqlOf(values: Readonly<Record<string, string>>): string {
  return Object.values(values).join(', ');
}

function typed(values: Readonly<Record<string, string>>, types: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([column, value]) => `(${value})::${types[column]?.replace(/ .*/, '')}`)
    .join(', ');
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
