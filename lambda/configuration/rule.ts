import * as z from 'zod';
import { isObject } from './validation';

/** Columns and their tests, joined by AND. */
export type Rule = Readonly<Record<string, ColumnTest>>;

/** A test of a column. NULL passes only `null` and `orNull`. */
export type ColumnTest = boolean | null | AgeTest | ValueTest | ReferenceTest;

/** A time at least that long before the cutoff. */
export interface AgeTest {
  readonly olderThanMs: number;
  /** If the column is a number: seconds or milliseconds since 1970. */
  readonly epoch?: 's' | 'ms' | undefined;
  /** A column whose seconds are added to the time. */
  readonly plusSeconds?: string | undefined;
  /** Whether NULL passes, too. */
  readonly orNull?: boolean | undefined;
}

/** One of the listed values. */
export interface ValueTest {
  readonly in: readonly (string | number)[];
}

/** Tests of the row that the foreign key of this column refers to. */
export interface ReferenceTest {
  readonly refersTo: Rule;
}

export function isAge(test: ColumnTest): test is AgeTest {
  return typeof test === 'object' && test !== null && 'olderThanMs' in test;
}

export function isReference(test: ColumnTest): test is ReferenceTest {
  return typeof test === 'object' && test !== null && 'refersTo' in test;
}

/** The tests of a rule on its own table, and those on the rows to which foreign keys lead. Each with its column. */
export function testsIn(rule: Rule) {
  const own: [string, Exclude<ColumnTest, ReferenceTest>][] = [];
  const referred: [string, ReferenceTest['refersTo']][] = [];
  for (const [column, test] of Object.entries(rule)) {
    if (isReference(test)) {
      referred.push([column, test.refersTo]);
    } else {
      own.push([column, test]);
    }
  }
  return { own, referred };
}

/** All columns of the table itself that a rule, in JSON or parsed, reads. */
export function columnsIn(rule: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(rule).flatMap(([column, test]) =>
    isObject(test) && typeof test.plusSeconds === 'string' ? [column, test.plusSeconds] : [column],
  );
}

const MILLISECONDS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

// A greater age is a typing mistake, and its cutoff would leave the range of a timestamp.
const LONGEST_AGE_DAYS = 36_500;

const AGE_RULE = `must be an age such as "0s", "30m", "12h" or "7d", at most ${LONGEST_AGE_DAYS} days`;

/** An age such as `7d`. */
export const ageText = z
  .string(AGE_RULE)
  .regex(/^\d+[smhd]$/, { error: AGE_RULE, abort: true })
  .refine((text) => millisecondsOf(text) <= LONGEST_AGE_DAYS * MILLISECONDS.d, AGE_RULE);

export function millisecondsOf(text: string): number {
  return Number(text.slice(0, -1)) * MILLISECONDS[text.slice(-1) as keyof typeof MILLISECONDS];
}

// PostgreSQL truncates longer names silently, and might then find another table.
const LONGEST_IDENTIFIER_BYTES = 63;

const IDENTIFIER_RULE = `must be a name of 1 to ${LONGEST_IDENTIFIER_BYTES} bytes without a NUL character`;

/** The name of a schema, a table or a column. */
export const identifier = z
  .string('must be a name')
  .refine(
    (name) => name !== '' && !name.includes('\0') && Buffer.byteLength(name) <= LONGEST_IDENTIFIER_BYTES,
    IDENTIFIER_RULE,
  );

const age = z
  .strictObject({
    olderThan: ageText.describe('The least age, counted back from the cutoff: "0s", "30m", "12h" or "7d"'),
    epoch: z
      .enum(['s', 'ms'], 'must be "s" or "ms"')
      .describe('For columns of numbers: seconds or milliseconds since 1970')
      .optional(),
    plusSeconds: identifier.describe('A column of seconds to add to the time').optional(),
    orNull: z.boolean('must be true or false').describe('Whether NULL passes the test, too').optional(),
  })
  .transform(({ olderThan, ...test }): AgeTest => ({ olderThanMs: millisecondsOf(olderThan), ...test }));

const VALUE_RULE = 'must be a string or a whole number';

const values = z.strictObject({
  in: z
    .array(
      z.union(
        [
          z.string().refine((text) => !text.includes('\0'), 'must be a string without a NUL character'),
          z.int(VALUE_RULE),
        ],
        VALUE_RULE,
      ),
      'must be a list of values',
    )
    .min(1, 'must list at least one value')
    .describe('The values that match'),
});

const DECISION_RULE =
  'must have a test that only an event or the time makes true: true, false, "in", or "olderThan" without "orNull"';

const SIMPLE_TESTS = [z.boolean(), z.null(), age, values] as const;

const referredRule = ruleOf(
  z.union(
    SIMPLE_TESTS,
    'must be true, false, null, { "olderThan": "7d" } or { "in": ["revoked"] } in the row that a key leads to',
  ),
);

const reference = z.strictObject({
  refersTo: referredRule.describe('Tests of the row that the foreign key of this column refers to'),
});

/** A rule in JSON. */
export const ruleSchema = ruleOf(
  z.union(
    [...SIMPLE_TESTS, reference],
    'must be true, false, null, { "olderThan": "7d" }, { "in": ["revoked"] } or { "refersTo": { "expires_at": { "olderThan": "7d" } } }',
  ),
);

/** Columns and their tests, at least one of which only an event or the time makes true. */
function ruleOf<Test extends z.ZodType<ColumnTest>>(test: Test) {
  const rule = z
    .record(identifier, test, 'must be an object of columns and their tests')
    .superRefine((tests: Rule, context) => {
      if (Object.keys(tests).length === 0) {
        context.addIssue('must name at least one column, or it would match every row');
      } else if (!Object.values(tests).some(decides)) {
        context.addIssue(DECISION_RULE);
      }
    });
  return z.preprocess((input: z.input<typeof rule>, context) => {
    // The record would silently drop it, and the rest of the rule would match more rows.
    if (typeof input === 'object' && input !== null && Object.hasOwn(input, '__proto__')) {
      context.addIssue('must not name a column "__proto__"');
      return z.NEVER;
    }
    return input;
  }, rule);
}

function decides(test: ColumnTest): boolean {
  if (typeof test !== 'object' || test === null) {
    return test !== null;
  }
  return isAge(test) ? !test.orNull : isReference(test) ? Object.values(test.refersTo).some(decides) : true;
}
