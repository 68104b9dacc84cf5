import type { Condition } from './condition';
import type { Piece } from './pieces';
import { isUnchanged } from './relation';

/**
 * The statement that deletes the dead rows of a piece. For the default rules and a range of blocks:
 *
 *     delete from only "public"."refresh_tokens"
 *     where '"public"."refresh_tokens"'::regclass = 16385::oid
 *       and ctid >= '(0,0)' and ctid < '(64,0)'
 *       and coalesce("revoked" = true or "expires_at" < '2027-01-30T03:00:00.123Z', false)
 */
export function deletion(condition: Condition, piece: Piece): Condition {
  const place = piece.place('', condition.values.length + 1);
  return {
    text: `
      delete from only ${piece.relation.quotedName}
      where ${isUnchanged(piece.relation)}
        and ${place.text}
        and ${isDead(condition)}`,
    values: [...condition.values, ...place.values],
  };
}

/**
 * Wrapped, the rules match no index, and the place is what is scanned. Left to the planner, statistics that are out of
 * date can make it walk an index of all the dead rows again for every piece.
 */
export function isDead({ text }: Condition): string {
  return `coalesce(${text}, false)`;
}
