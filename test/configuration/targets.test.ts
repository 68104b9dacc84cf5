import { readFileSync } from 'node:fs';
import { SCHEMA_FILE, targetsJsonSchema } from '../../bin/targets-schema';
import { matchesPattern } from '../../lambda/configuration/name-pattern';
import { DEFAULT_TARGETS, parseTargets } from '../../lambda/configuration/targets';
import { mistakesOf } from '../support/mistakes';

function mistakesIn(input: unknown, name?: string): readonly string[] {
  return mistakesOf(() => parseTargets(input, name));
}

test('lists every mistake of the targets, with the values and suggestions', () => {
  const name = 'x'.repeat(64);
  expect(
    mistakesIn([
      { table: 'a', deleteWhen: [] },
      { table: 'b', deleteWhen: [{}], timeZone: 'Europe/Berln', unlessReferredToBy: [] },
      { schema: '', table: name, deleteWhen: [{ 'nul\0': true }] },
      { table: 'c', deletewhen: [], deleteWhen: [{ revoked: true }] },
      { deleteWhen: { revoked: true } },
      { tabel: 'd', deleteWhen: [{ revoked: true }] },
      { preset: 'unknown' },
      'refresh_tokens',
      {},
    ]),
  ).toEqual([
    'targets[0].deleteWhen must hold at least one rule, or it would match every row, got []',
    'targets[1].deleteWhen[0] must name at least one column, or it would match every row, got {}',
    'targets[1].unlessReferredToBy must name at least one table, got []',
    'targets[1].timeZone must be a time zone of the IANA database (did you mean Europe/Berlin?), got "Europe/Berln"',
    'targets[2].schema must be a name of 1 to 63 bytes without a NUL character, got ""',
    `targets[2].table must be a name of 1 to 63 bytes without a NUL character, got "${name}"`,
    'targets[2].deleteWhen[0].nul\0 must be a name of 1 to 63 bytes without a NUL character',
    'targets[3].deletewhen is not a known key (did you mean deleteWhen?)',
    'targets[4].table is required',
    'targets[4].deleteWhen must be a list of rules, got {"revoked":true}',
    'targets[5].table is required',
    'targets[5].tabel is not a known key (did you mean table?)',
    expect.stringMatching(/^targets\[6\]\.preset must be one of .*, got "unknown"$/),
    'targets[7] must be an object with "table" and "deleteWhen", or with "preset", got "refresh_tokens"',
    'targets[8] must be an object with "table" and "deleteWhen", or with "preset", got {}',
  ]);
  expect(mistakesIn([])).toEqual(['targets must name at least one table, got []']);
  expect(mistakesIn([...DEFAULT_TARGETS, ...DEFAULT_TARGETS])).toEqual([
    expect.stringMatching(/^targets\[1\] repeats the table "refresh_tokens", got \{/),
  ]);
});

const TEST =
  'must be true, false, null, { "olderThan": "7d" }, { "in": ["revoked"] } or { "refersTo": { "expires_at": { "olderThan": "7d" } } }';
const REFERRED_TEST =
  'must be true, false, null, { "olderThan": "7d" } or { "in": ["revoked"] } in the row that a key leads to';
const AGE = 'must be an age such as "0s", "30m", "12h" or "7d", at most 36500 days';
const DECISION =
  'must have a test that only an event or the time makes true: true, false, "in", or "olderThan" without "orNull"';

test.each<[string, unknown, readonly string[]]>([
  ['a text', { x: 'true' }, [`.x ${TEST}, got "true"`]],
  ['a number', { x: 0 }, [`.x ${TEST}, got 0`]],
  ['a list', { x: [true] }, [`.x ${TEST}, got [true]`]],
  ['a misspelled key', { x: { olderthan: '7d' } }, [`.x ${TEST}, got {"olderthan":"7d"} (did you mean olderThan?)`]],
  ['what does not exist', { x: { notIn: ['active'] } }, [`.x ${TEST}, got {"notIn":["active"]}`]],
  [
    'two tests of one column',
    { x: { in: ['a'], olderThan: '7d', orNul: true } },
    ['.x.in must not be used with olderThan', '.x.orNul is not a known key (did you mean orNull?)'],
  ],
  ['an age without a unit', { x: { olderThan: '7' } }, [`.x.olderThan ${AGE}, got "7"`]],
  ['a negative age', { x: { olderThan: '-1d' } }, [`.x.olderThan ${AGE}, got "-1d"`]],
  ['a broken age', { x: { olderThan: '1.5h' } }, [`.x.olderThan ${AGE}, got "1.5h"`]],
  ['an age in one more line', { x: { olderThan: '7d\n' } }, [`.x.olderThan ${AGE}, got "7d\\n"`]],
  ['a huge age', { x: { olderThan: '36501d' } }, [`.x.olderThan ${AGE}, got "36501d"`]],
  [
    'an endless age',
    { x: { olderThan: `${'9'.repeat(400)}d` } },
    [expect.stringContaining(`.x.olderThan ${AGE}, got "999`)],
  ],
  [
    'options of another type',
    { x: { olderThan: '7d', epoch: 'm', plusSeconds: '', orNull: 1 }, y: true },
    [
      '.x.epoch must be "s" or "ms", got "m"',
      '.x.plusSeconds must be a name of 1 to 63 bytes without a NUL character, got ""',
      '.x.orNull must be true or false, got 1',
    ],
  ],
  ['an empty list', { x: { in: [] } }, ['.x.in must list at least one value, got []']],
  ['a value alone', { x: { in: 'used' } }, ['.x.in must be a list of values, got "used"']],
  [
    'values of other types',
    { x: { in: ['used', null, true, 1.5, 2 ** 53, 'nul\0'] } },
    [
      '.x.in[1] must be a string or a whole number, got null',
      '.x.in[2] must be a string or a whole number, got true',
      '.x.in[3] must be a string or a whole number, got 1.5',
      '.x.in[4] must be a string or a whole number, got 9007199254740992',
      '.x.in[5] must be a string without a NUL character, got "nul\\u0000"',
    ],
  ],
  ['nothing but NULL', { x: null, y: null }, [` ${DECISION}, got {"x":null,"y":null}`]],
  [
    'nothing that must be there',
    { x: { olderThan: '0s', orNull: true }, y: null },
    [` ${DECISION}, got {"x":{"olderThan":"0s","orNull":true},"y":null}`],
  ],
  [
    'an empty rule behind a key',
    { x: { refersTo: {} } },
    ['.x.refersTo must name at least one column, or it would match every row, got {}'],
  ],
  [
    'no rule behind a key',
    { x: { refersTo: 'parents' } },
    ['.x.refersTo must be an object of columns and their tests, got "parents"'],
  ],
  [
    'nothing but NULL behind a key',
    { x: { refersTo: { y: null } }, z: true },
    [`.x.refersTo ${DECISION}, got {"y":null}`],
  ],
  [
    'a key behind a key',
    { x: { refersTo: { y: { refersTo: { z: true } } } } },
    [`.x.refersTo.y ${REFERRED_TEST}, got {"refersTo":{"z":true}}`],
  ],
])('refuses %s in a rule', (_, rule, mistakes) => {
  expect(mistakesIn([{ table: 't', deleteWhen: [{ fine: true }, rule] }], 'CLEANUP_TARGETS')).toEqual(
    mistakes.map((mistake) => (typeof mistake === 'string' ? `CLEANUP_TARGETS[0].deleteWhen[1]${mistake}` : mistake)),
  );
});

test.each([
  ['an age', { x: { olderThan: '7d' }, y: null }],
  ['an age that may be NULL beside one that may not', { x: { olderThan: '7d' }, y: { olderThan: '1h', orNull: true } }],
  ['an age whose orNull is false', { x: { olderThan: '7d', orNull: false } }],
  ['values', { x: { in: ['used', ''] } }],
  ['a flag that is not set', { x: false }],
  ['a reference', { x: { refersTo: { y: { in: [1, -1] }, z: null } } }],
])('accepts a rule that stands on %s', (_, rule) => {
  expect(mistakesIn([{ table: 't', deleteWhen: [rule] }])).toEqual([]);
});

test('reads every test', () => {
  expect(
    parseTargets([
      {
        schema: 'auth',
        table: 'tokens',
        deleteWhen: [
          { a: true, b: false, c: null, d: { olderThan: '90m' } },
          { e: { olderThan: '2h', epoch: 'ms', orNull: true }, f: { in: ['x', 7] } },
          { g: { refersTo: { h: { olderThan: '1d', plusSeconds: 'i' } } } },
        ],
        unlessReferredToBy: ['devices'],
        timeZone: 'Europe/Berlin',
      },
    ]),
  ).toEqual([
    {
      name: 'tokens',
      schema: 'auth',
      table: 'tokens',
      deleteWhen: [
        { a: true, b: false, c: null, d: { olderThanMs: 5_400_000 } },
        { e: { olderThanMs: 7_200_000, epoch: 'ms', orNull: true }, f: { in: ['x', 7] } },
        { g: { refersTo: { h: { olderThanMs: 86_400_000, plusSeconds: 'i' } } } },
      ],
      unlessReferredToBy: ['devices'],
      timeZone: 'Europe/Berlin',
    },
  ]);
});

test('takes the list from an object in which an editor finds the JSON Schema', () => {
  const targets = [{ table: 'tokens', deleteWhen: [{ revoked: true }] }];
  expect(parseTargets({ $schema: './targets.schema.json', targets })).toEqual(parseTargets(targets));
  expect(mistakesIn({ $schema: 1, targets: [{ table: 't' }], stage: 'prod' }, 'FILE')).toEqual([
    'FILE.$schema must be a string, got 1',
    'FILE.targets[0].deleteWhen is required',
    'FILE.stage is not a known key',
  ]);
});

test('calls a target by its table, and by its schema too if another table has the same name', () => {
  const deleteWhen = [{ revoked: true }];
  const names = (targets: { schema?: string; table: string }[]) =>
    parseTargets(targets.map((target) => ({ ...target, deleteWhen }))).map(({ name }) => name);

  expect(names([{ schema: 'auth', table: 'tokens' }, { table: 'resets' }])).toEqual(['tokens', 'resets']);
  expect(names([{ schema: 'auth', table: 'tokens' }, { table: 'tokens' }])).toEqual(['auth.tokens', 'public.tokens']);
});

test('sweeps the schemas that match a pattern in place of one', () => {
  const [pattern, one] = parseTargets([
    {
      schemas: { like: ['tenant_*', 'main'], except: ['tenant_demo'] },
      table: 'sessions',
      deleteWhen: [{ dead: true }],
    },
    { table: 'sessions', deleteWhen: [{ dead: true }] },
  ]);
  expect(pattern).toMatchObject({
    name: 'tenant_*, main.sessions',
    schemas: { like: ['tenant_*', 'main'], except: ['tenant_demo'] },
  });
  expect(one).toMatchObject({ name: 'public.sessions', schema: 'public' });

  expect(
    mistakesIn([
      { schema: 'a', schemas: { like: ['b'] }, table: 't', deleteWhen: [{ dead: true }] },
      { schemas: { like: [], exept: ['b'] }, table: 't', deleteWhen: [{ dead: true }] },
      { schemas: 'tenant_*', table: 't', deleteWhen: [{ dead: true }] },
    ]),
  ).toEqual([
    'targets[0].schemas must not be used with "schema", got {"like":["b"]}',
    'targets[1].schemas.like must hold at least one pattern, got []',
    'targets[1].schemas.exept is not a known key (did you mean except?)',
    'targets[2].schemas must be an object such as { "like": ["tenant_*"], "except": ["tenant_demo"] }, got "tenant_*"',
  ]);
});

test.each([
  ['tenant_*', ['tenant_', 'tenant_a'], ['tenant', 'xtenant_a']],
  ['*', ['', 'a'], []],
  ['a*b*c', ['abc', 'aXbYc', 'abbcc'], ['ac', 'acb', 'ab']],
  ['*_eu', ['_eu', 'a_eu'], ['a_eu_']],
  ['a*a', ['aa', 'aba'], ['a']],
  ['a.*', ['a.b'], ['ab']],
])('the pattern %s takes %j and not %j', (pattern, taken, others) => {
  const matches = (name: string) => matchesPattern({ like: [pattern] }, name);
  expect(taken.filter(matches)).toEqual(taken);
  expect(others.filter(matches)).toEqual([]);
  expect(taken.filter((name) => matchesPattern({ like: ['*'], except: [pattern] }, name))).toEqual([]);
});

test('is described by a JSON Schema that is up to date: node --import tsx bin/targets-schema.ts', () => {
  expect(readFileSync(SCHEMA_FILE, 'utf8')).toBe(targetsJsonSchema());
});
