import * as z from 'zod';
import { editDistance } from './validation';

export const SERVICE = 'token-cleanup';

export const DEFAULT_PORT = 5432;

export const DEFAULT_DATABASE = 'postgres';

export const DEFAULT_CONCURRENCY = 1;

export const DEFAULT_STAGE = 'local';

interface Range {
  readonly rule: string;
  readonly accepts: (value: number) => boolean;
}

export const NODE_ENV_RULE = 'must be exactly test to switch the job off, or a name that does not look like it';

/** Whether a value of `NODE_ENV` looks as if it was meant to be `test`, which alone switches the job off. */
export function isLikeTest(nodeEnv: string): boolean {
  const word = nodeEnv.trim().toLowerCase();
  return nodeEnv !== 'test' && (word === 'testing' || editDistance(word, 'test') <= 1);
}

export const CONCURRENCY = wholeNumberTo(16);

export const MAX_LOAD: Range = { rule: 'must be above 0 and at most 1', accepts: (n) => n > 0 && n <= 1 };

export const PORT = wholeNumberTo(65_535);

// The lag is checked once a second, and a limit of more than a day is of no use.
export const LAG_SECONDS: Range = {
  rule: 'must be a number of seconds from 1 to 86400',
  accepts: (n) => n >= 1 && n <= 86_400,
};

/** A larger number is a typing mistake, not a limit. */
export const MAX_ROWS = wholeNumberTo(1_000_000_000_000);

function wholeNumberTo(most: number): Range {
  return {
    rule: `must be a whole number from 1 to ${most}`,
    accepts: (n) => Number.isInteger(n) && n >= 1 && n <= most,
  };
}

/** A number in JSON. */
export function numberIn({ rule, accepts }: Range) {
  return z.number(rule).refine(accepts, rule);
}

/** A number in a variable. Only plain decimals: Number() would accept '', ' 1 ' and '0x10' too. */
export function decimal({ rule, accepts }: Range) {
  return z.string().transform((text, context) => {
    if (/^\d+(\.\d+)?$/.test(text) && accepts(Number(text))) {
      return Number(text);
    }
    context.addIssue(rule);
    return z.NEVER;
  });
}
