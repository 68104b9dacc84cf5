import type { QueryResult } from '../database/queryable';
import type { Condition, DeathCondition } from './conditions/condition';
import { isUnchanged, takesNoOthers } from './conditions/relation';
import type { Piece } from './pieces';
import { type Path, type Protection, referringTo } from './protection';

/** The rows to delete. */
export interface Doomed {
  /** The rules that dead rows meet. */
  readonly condition: DeathCondition;
  /** The foreign keys that keep some of them. */
  readonly protections: readonly Protection[];
  /** The foreign keys through which a delete also deletes rows of other tables. */
  readonly cascades: readonly Path[];
}

/** The rows of a relation that a statement is narrowed to. */
export type Place = Pick<Piece, 'relation' | 'place'>;

/** The result of a statement. */
export interface Deleted {
  readonly rows: number;
  /** The rows that each protection kept. */
  readonly kept: readonly number[];
  /** The rows that each cascade deleted. */
  readonly cascaded: readonly number[];
  /** The deleted rows for a second test, as JSON; absent if the condition needs none, null if there are none. */
  readonly rechecked?: string | null;
  /** The reason for each refused row. */
  readonly refused?: readonly string[];
}

/**
 * The statement that deletes the dead rows of a piece. For the default rules and a range of blocks:
 *
 *     delete from only "public"."refresh_tokens" as doomed
 *     where '"public"."refresh_tokens"'::regclass = 16385::oid
 *       and (<sum of the oids of keys on delete cascade, set null or set default>) = 0
 *       and ctid >= '(0,0)' and ctid < '(64,0)'
 *       and coalesce("revoked" = true or "expires_at" < '2027-01-30T03:00:00.123Z', false)
 *
 * If foreign keys point at the table, the rows that they protect are left out and counted, and the rows that cascades
 * delete are counted; for a key of `devices` and one of the table itself:
 *
 *     with recursive
 *     dead as materialized (
 *       select ctid as place, dead."id" as value_0, dead."parent_id" as value_1, case
 *         when exists (select from "public"."devices" as referring where dead."id" = referring."token_id") then 0
 *         when exists (select from "public"."refresh_tokens" as referring where dead."id" = referring."parent_id"
 *           and not <dead>) then 1
 *         when exists (select from "public"."refresh_tokens" as referring where dead."id" = referring."parent_id"
 *           and <dead> and not <in these blocks>) then 2
 *       end as protection
 *       from only "public"."refresh_tokens" as dead where <unchanged, in these blocks, dead>
 *     ),
 *     kept as (
 *       select * from dead where protection is not null
 *       union
 *       select dead.place, dead.value_0, dead.value_1, kept.protection
 *       from kept join dead on dead.protection is null and dead.value_0 = kept.value_1
 *     ),
 *     kept_once as (select min(protection) as protection from kept group by place),
 *     deleted as (
 *       delete from only "public"."refresh_tokens" as doomed where <unchanged, in these blocks, dead>
 *         and not exists (select from kept where kept.place = doomed.ctid)
 *       returning doomed."id"
 *     )
 *     select
 *       (select count(*) from deleted) as rows,
 *       array[(select count(*) from kept_once where protection = 0), ...] as kept,
 *       array[(select count(*) from deleted, "public"."grants" as referring where ...), ...] as cascaded
 */
export function deletion(doomed: Doomed, piece: Place): Condition {
  const { condition, protections, cascades } = doomed;
  const { quotedName } = piece.relation;
  const place = piece.place('', condition.values.length + 1);
  const table = `${isUnchanged(piece.relation)} and ${takesNoOthers(piece.relation)}`;
  const where = `${table} and ${place.text} and ${isDead(condition)}`;
  const statement = `delete from only ${quotedName} as doomed where ${where}`;
  const values = [...condition.values, ...place.values];
  const { recheck } = condition;
  if (!hasResult(doomed)) {
    return { text: statement, values };
  }
  const isProtected = 'exists (select from kept where kept.place operator(pg_catalog.=) doomed.ctid)';
  const referred = unique(cascades.flatMap(([{ columns }]) => columns.map((column) => column.referred)));
  const returned = [
    ...referred.map((column) => `doomed.${column}`),
    ...(recheck ? [`${recheck.row('doomed')} as rechecked`] : []),
  ];
  return {
    text: `
      with recursive ${protections.length > 0 ? `${keptRows(doomed, piece, where)},` : ''}
      deleted as (
        ${statement}${protections.length > 0 ? ` and not ${isProtected}` : ''}
        returning ${returned.join(', ') || '1'}
      )
      select
        (select pg_catalog.count(*) from deleted)::pg_catalog.float8 as rows,
        ${countsOf(protections.map((_, index) => `kept_once where protection operator(pg_catalog.=) ${index}`))} as kept,
        ${countsOf(cascades.map((path) => `deleted, ${referringTo('deleted', path)}`))} as cascaded${recheck ? RECHECKED : ''}`,
    values,
  };
}

/** Whether the statement has a row of results, and is not a mere DELETE. */
export function hasResult({ condition, protections, cascades }: Doomed): boolean {
  return protections.length + cascades.length > 0 || condition.recheck !== undefined;
}

const RECHECKED = ', (select pg_catalog.jsonb_agg(rechecked) from deleted)::pg_catalog.text as rechecked';

export function deletedIn({ rows, rowCount }: QueryResult<unknown>): Deleted {
  return (rows[0] as Deleted | undefined) ?? { rows: rowCount ?? 0, kept: [], cascaded: [] };
}

/** CTEs of the dead rows of a piece, and of those among them that have to stay. */
function keptRows({ condition, protections }: Doomed, piece: Place, where: string): string {
  const { relation } = piece;
  const isHere = (key: { readonly oid: number }) => key.oid === relation.oid;
  const own = protections.filter(({ path: [key], waits }) => waits && isHere(key)).map(({ path: [key] }) => key);
  const columns = unique(own.flatMap((key) => key.columns.flatMap(({ referred, referring }) => [referred, referring])));
  const value = (column: string) => `value_${columns.indexOf(column)}`;
  const isReferringDead = isDead(condition); // its columns are those of the only table there
  const cases = protections.map(({ path, waits }, index) => {
    const [key] = path;
    const { text: isInPiece } = piece.place('referring.', condition.values.length + 1);
    const which = waits
      ? ` and ${isReferringDead}${isHere(key) ? ` and not (${isInPiece})` : ''}`
      : key.isSelf
        ? ` and not ${isReferringDead}`
        : '';
    return `when exists (select from ${referringTo('dead', path)}${which}) then ${index}`;
  });
  const chains = own.map(
    (key) =>
      `(${key.columns
        .map(({ referred, equals, referring }) => `dead.${value(referred)} ${equals} kept.${value(referring)}`)
        .join(' and ')})`,
  );
  const chained = `union
        select ${['place', ...columns.map(value)].map((name) => `dead.${name}`).join(', ')}, kept.protection
        from kept join dead on dead.protection is null and (${chains.join(' or ')})`;
  return `
      dead as materialized (
        select
          ${['ctid as place', ...columns.map((column) => `dead.${column} as ${value(column)}`)].join(', ')},
          case ${cases.join('\n            ')} end as protection
        from only ${relation.quotedName} as dead
        where ${where}
      ),
      kept as (
        select * from dead where protection is not null
        ${chains.length > 0 ? chained : ''}
      ),
      kept_once as (select pg_catalog.min(protection) as protection from kept group by place)`;
}

function countsOf(sources: readonly string[]): string {
  const each = sources.map((source) => `(select pg_catalog.count(*) from ${source})`);
  return `array[${each.join(', ')}]::pg_catalog.float8[]`;
}

function unique<Item>(items: readonly Item[]): Item[] {
  return [...new Set(items)];
}

/**
 * Wrapped, the rules match no index, and the place is what is scanned. Left to the planner, statistics that are out of
 * date can make it walk an index of all the dead rows again for every piece.
 */
export function isDead({ text }: Condition): string {
  return `coalesce(${text}, false)`;
}
