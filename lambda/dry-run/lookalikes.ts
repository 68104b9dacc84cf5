import type { TargetsInput } from '../configuration/targets';
import { type CatalogColumn, type CatalogTable, NUMBERS } from './catalog';

type TargetInput = Extract<TargetsInput[number], { deleteWhen: unknown }>;

type RuleInput = TargetInput['deleteWhen'][number];

/** Rules for a table that no preset knows, derived from the names and types of its columns. */
export interface Lookalike {
  readonly rules: readonly RuleInput[];
  /** The number columns that may be times. Their values decide the unit. */
  readonly epochColumns: readonly string[];
  /** The column with the expiry; absent if only events such as a revocation end a row. */
  readonly expiry?: string | undefined;
  /** Whether the name of the table and its columns agree that it holds tokens, codes or sessions. */
  readonly isLikely: boolean;
  /** The reasons, for people. */
  readonly evidence: readonly string[];
}

/**
 * The age in proposed rules. Names mislead: a session's `expiry` may be its last use, and a revoked token is the evidence
 * of a theft. After this time, both are dead in most systems.
 */
export const CAUTIOUS_AGE = '30d';

/** Whole words of a table's name, apart from plurals. */
const TOKEN_WORDS =
  /^(access|auth|challenge|code|confirmation|credential|device|grant|invitation|invite|jti|jwt|login|magic|nonce|oauth|oauth2|otp|password|refresh|remember|reset|revocation|revoked|session|sid|state|ticket|token|verification)s?$/;

/** Tables with an expiry that are not tokens. */
const OTHER_WORDS =
  /^(cache|certificate|contract|coupon|discount|domain|event|invoice|job|key|licen[cs]e|lock|log|message|offer|order|plan|post|price|product|promotion|quota|subscription|trial|voucher)s?$/;

const SECRET =
  /^(access|api|auth|refresh|reset|session|verification)?(code|digest|hash|jti|jwt|nonce|otp|sid|token|tokenhash|tokendigest|hashedtoken|secret|key|id)$/;

const EXPIRY =
  /^(absolute|idle|token|session|code|refreshtoken)?(deadline|exp|expir(ed|es|y|ation)?|validuntil|validto|notafter)(at|on|date|time|timestamp|ts|ms|unix|utc){0,2}$/;

const LIFETIME = /^(expiresin|expirein|lifetime|ttl|maxage)(s|seconds|sec)?$/;

const ENDED = /^(is|was)?(blacklisted|consumed|invalidated|redeemed|revoked|used)$/;

const ENDED_AT = /^(blacklisted|consumed|invalidated|redeemed|revoked|used)(at|on|date|time|ts|ms|unix){0,2}$/;

const CREATED_AT = /^(created|inserted|issued|updated)(at|on|date|time)?$/;

const TIMES = ['timestamp with time zone', 'timestamp without time zone', 'date'];

/** Proposes rules for a table that looks like tokens, codes or sessions; nothing for any other. */
export function lookalike({ table, columns }: CatalogTable): Lookalike | undefined {
  const isTime = ({ type }: CatalogColumn) => TIMES.includes(type);
  const isNumber = ({ type }: CatalogColumn) => NUMBERS.includes(type);
  const find = (pattern: RegExp, ...kinds: ((column: CatalogColumn) => boolean)[]) =>
    columns.find((column) => pattern.test(plain(column.name)) && kinds.some((is) => is(column)));
  const words = wordsOf(table);
  const named = words.some((word) => TOKEN_WORDS.test(word));
  const otherwise = words.some((word) => OTHER_WORDS.test(word));
  const secret = columns.find(
    ({ name, type }) =>
      SECRET.test(plain(name)) && plain(name) !== 'id' && !NUMBERS.includes(type) && type !== 'boolean',
  );
  const expiry = find(EXPIRY, isTime, isNumber);
  const ended = columns.filter(({ name, type }) => ENDED.test(plain(name)) && type === 'boolean');
  const endedAt = columns.filter((column) => ENDED_AT.test(plain(column.name)) && (isTime(column) || isNumber(column)));
  const created = find(CREATED_AT, isTime);
  const lifetime = find(LIFETIME, isNumber);
  const rules = [
    ...(expiry ? [{ [expiry.name]: { olderThan: CAUTIOUS_AGE } }] : []),
    ...(created && lifetime && !expiry && created.type !== 'date'
      ? [{ [created.name]: { olderThan: CAUTIOUS_AGE, plusSeconds: lifetime.name } }]
      : []),
    ...endedAt.map(({ name }) => ({ [name]: { olderThan: CAUTIOUS_AGE } })),
    // A flag alone ends a row at once. If it has a time of its own, the rule for that time covers it.
    ...(endedAt.length === 0
      ? ended.map(({ name }) => ({ [name]: true, ...(created && { [created.name]: { olderThan: CAUTIOUS_AGE } }) }))
      : []),
  ];
  if (rules.length === 0 || !(named || (secret && expiry)) || (otherwise && !(named && secret))) {
    return undefined;
  }
  return {
    rules,
    epochColumns: [expiry, ...endedAt].flatMap((column) => (column && isNumber(column) ? [column.name] : [])),
    expiry: expiry?.name,
    isLikely: named && !otherwise && secret !== undefined && (expiry !== undefined || lifetime !== undefined),
    evidence: [
      ...(named ? [`its name`] : []),
      ...[secret, expiry ?? lifetime, ...ended, ...endedAt].flatMap((column) =>
        column ? [`column ${column.name} (${column.type})`] : [],
      ),
    ],
  };
}

/** `expiresAt`, `expires_at` and `ExpiresAt` are the same. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

function wordsOf(name: string): string[] {
  return name
    .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
}
