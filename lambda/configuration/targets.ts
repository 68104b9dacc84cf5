import * as z from 'zod';
import { InvalidInputError, mistakesIn } from './validation';

/** `true` or `false` for a boolean column, or a least age before the cutoff, in milliseconds, for a timestamp column. */
export type ColumnTest = boolean | { readonly olderThanMs: number };

/** Columns and their tests, joined by AND. */
export type Rule = Readonly<Record<string, ColumnTest>>;

/** A table and the rules that say which of its rows are dead, joined by OR. */
export interface Target {
  /**
   * What it is called in events, results, metrics and logs: its table, with the schema in front where another target is a
   * table of the same name.
   */
  readonly name: string;
  readonly schema: string;
  readonly table: string;
  readonly deleteWhen: readonly Rule[];
}

/** What a list of targets looks like in JSON. */
export type TargetsInput = z.input<typeof targetsSchema>;

/** The rows that no service accepts any more: `revoked = true or expires_at < now()`. */
export const DEFAULT_TARGETS = [
  { schema: 'public', table: 'refresh_tokens', deleteWhen: [{ revoked: true }, { expires_at: { olderThan: '0s' } }] },
] as const satisfies TargetsInput;

const MILLISECONDS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

// Beyond this an age is a slip of the keyboard, and a cutoff that far back leaves the range of a timestamp.
const LONGEST_AGE_DAYS = 36_500;

const AGE_RULE = `must be an age such as "0s", "30m", "12h" or "7d", at most ${LONGEST_AGE_DAYS} days`;

const TEST_RULE = 'must be true, false or { "olderThan": "7d" }';

// PostgreSQL cuts longer names off in silence, and might then find another table.
const LONGEST_IDENTIFIER_BYTES = 63;

const identifier = z.string('must be a name').superRefine((name, context) => {
  if (name === '' || name.includes('\0') || Buffer.byteLength(name) > LONGEST_IDENTIFIER_BYTES) {
    context.addIssue(`must be a name of 1 to ${LONGEST_IDENTIFIER_BYTES} bytes without a NUL character`);
  }
});

const age = z.string(AGE_RULE).transform((text, context) => {
  const [, amount, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const ms = Number(amount) * MILLISECONDS[unit as keyof typeof MILLISECONDS];
  if (!(ms <= LONGEST_AGE_DAYS * MILLISECONDS.d)) {
    context.addIssue(AGE_RULE);
    return z.NEVER;
  }
  return ms;
});

const olderThan = z.strictObject({ olderThan: age }, TEST_RULE).transform((test) => ({ olderThanMs: test.olderThan }));

// Told apart by hand, because a union of schemas reports only that none of them fits.
const columnTest = z.unknown().transform((test, context): ColumnTest => {
  if (typeof test === 'boolean') {
    return test;
  }
  const result = olderThan.safeParse(test);
  if (result.success) {
    return result.data;
  }
  for (const issue of result.error.issues) {
    const message = issue.code === 'invalid_type' || issue.code === 'unrecognized_keys' ? TEST_RULE : issue.message;
    context.addIssue({ code: 'custom', message, path: issue.path });
  }
  return z.NEVER;
});

const rule = z
  .unknown()
  .refine(
    // A record would lose it in silence, and the rest of the rule matches more rows.
    (columns) => !(typeof columns === 'object' && columns !== null && Object.hasOwn(columns, '__proto__')),
    'must not name a column "__proto__"',
  )
  .pipe(columnsOf());

function columnsOf() {
  return z
    .record(identifier, columnTest, 'must be an object of columns and their tests')
    .refine((columns) => Object.keys(columns).length > 0, 'must name at least one column, or it would match every row');
}

const target = z.strictObject(
  {
    schema: identifier.default('public'),
    table: identifier,
    deleteWhen: z
      .array(rule, 'must be a list of rules')
      .min(1, 'must hold at least one rule, or it would match every row'),
  },
  'must be an object with "table" and "deleteWhen"',
);

/** The one schema of a list of targets: the function and the stack refuse the same mistakes. */
export const targetsSchema = z
  .array(target, 'must be a list of targets')
  .min(1, 'must name at least one table')
  .superRefine((targets, context) => {
    targets.forEach(({ schema, table }, index) => {
      if (targets.findIndex((other) => other.schema === schema && other.table === table) < index) {
        context.addIssue({ code: 'custom', path: [index], message: `repeats the table ${JSON.stringify(table)}` });
      }
    });
  })
  .transform((targets): Target[] =>
    targets.map((target) => {
      const isAlone = targets.filter(({ table }) => table === target.table).length === 1;
      return { name: isAlone ? target.table : `${target.schema}.${target.table}`, ...target };
    }),
  );

/**
 * Reads a list of targets.
 *
 * @param name what the list is called in messages
 * @throws InvalidInputError with every mistake
 */
export function parseTargets(input: unknown, name = 'targets'): Target[] {
  const result = targetsSchema.safeParse(input);
  if (!result.success) {
    throw new InvalidInputError(mistakesIn(result.error, name, input));
  }
  return result.data;
}
