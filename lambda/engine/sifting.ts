import { CLASSES_OF_NO_ROW, describeError } from '../database/database-error';
import type { QueryResult } from '../database/queryable';
import { isUnchanged } from './conditions/relation';
import { quoteLiteral, withParameters } from './conditions/sql';
import { type Deleted, type Doomed, deletion, hasResult, isDead } from './deletion';
import type { Piece } from './pieces';

/** How far a statement that deletes the rows of a piece in groups has come, and the rows that had to stay. */
export interface Sifted {
  readonly done: readonly (Pick<Deleted, 'rows'> & Partial<Deleted>)[];
  /** For each row that a constraint or a trigger refused: SQLSTATE, constraint and table. */
  readonly refused: readonly (readonly [string, string, string])[];
  /** The groups that were undone, the refused rows among them. */
  readonly undone: number;
  /** The size that the next group should have. */
  readonly size: number;
  /** The start of the rest of the piece; null if nothing is left or nothing was done. */
  readonly border: string | null;
  readonly isFinished: boolean;
}

export interface SiftOptions {
  /** How many rows the first group has. */
  readonly size: number;
  /** Takes the last rows first. */
  readonly backwards: boolean;
  /** No group begins later than this after the first. */
  readonly ms: number;
}

/** Each takes a transaction id. With more than 64 of them a transaction slows down the snapshots of all other sessions. */
const MOST_GROUPS = 50;

const LARGEST_GROUP = 1_024;

/**
 * The statements that delete the dead rows of a piece although a constraint or a trigger refuses some. Each group of rows
 * is deleted in a subtransaction of its own. If one of them is refused, the group is undone without a line in the server's
 * log, and smaller ones follow, down to a single row; as long as none is refused, the groups grow.
 *
 * Nothing is read of the tables that refer, so that this needs no privilege to read them. It needs PL/pgSQL, which every
 * role may use unless the owner of the database has revoked that.
 */
export function sifting(doomed: Doomed, piece: Piece, { size, backwards, ms }: SiftOptions): string {
  const { condition } = doomed;
  const { relation } = piece;
  const { text: isHere, values: places } = piece.place('', condition.values.length + 1);
  const values = [...condition.values, ...places, `${ms} ms`, size];
  const { text: statement } = deletion(doomed, { relation, place: placeOfGroup });
  const body = `
#variable_conflict use_column
<<sifting>>
declare
  given pg_catalog.text[] := pg_catalog.current_setting('token_cleanup.given')::pg_catalog.text[];
  places pg_catalog.tid[] := array(
    select ctid from only ${relation.quotedName} as dead
    where ${isUnchanged(relation)} and ${isHere} and ${isDead(condition)} order by ctid${backwards ? ' desc' : ''}
  );
  ends pg_catalog.timestamptz :=
    pg_catalog.clock_timestamp() operator(pg_catalog.+) given[${values.length - 1}]::pg_catalog.interval;
  place pg_catalog.int4 := 1;
  last pg_catalog.int4;
  size pg_catalog.int4 := given[${values.length}];
  grows pg_catalog.bool := false;
  gone pg_catalog.record;
  rows_gone pg_catalog.int4;
  done pg_catalog.jsonb[] := '{}';
  undone pg_catalog.int4 := 0;
  refused pg_catalog.jsonb[] := '{}';
  code pg_catalog.text;
  name pg_catalog.text;
  owner pg_catalog.text;
begin
  set constraints all immediate;
  -- Measured: to plan the DELETE and the checks of keys anew for the first groups takes longer than these.
  perform pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true);
  for number in 1..${MOST_GROUPS} loop
    exit when place operator(pg_catalog.>) pg_catalog.cardinality(places)
      or number operator(pg_catalog.>) 1 and pg_catalog.clock_timestamp() operator(pg_catalog.>) ends;
    last := least(place operator(pg_catalog.+) size, pg_catalog.cardinality(places) operator(pg_catalog.+) 1)
      operator(pg_catalog.-) 1;
    begin
      ${
        hasResult(doomed)
          ? `${statement} into sifting.gone;
      done := pg_catalog.array_append(done, pg_catalog.to_jsonb(gone));`
          : `${statement};
      get diagnostics rows_gone = row_count;
      done := pg_catalog.array_append(done, pg_catalog.jsonb_build_object('rows', rows_gone));`
      }
      place := last operator(pg_catalog.+) 1;
      if grows and pg_catalog.clock_timestamp() operator(pg_catalog.<) ends then
        size := least(size operator(pg_catalog.*) 2, ${LARGEST_GROUP});
      end if;
      grows := true;
    exception when others then
      get stacked diagnostics code = returned_sqlstate, name = constraint_name, owner = table_name;
      if pg_catalog.left(code, 2) operator(pg_catalog.=) any ('{${CLASSES_OF_NO_ROW}}'::pg_catalog.text[]) then
        raise;
      end if;
      undone := undone operator(pg_catalog.+) 1;
      if place operator(pg_catalog.=) last then
        refused := pg_catalog.array_append(refused, pg_catalog.jsonb_build_array(code, name, owner));
        place := place operator(pg_catalog.+) 1;
      end if;
      size := greatest(size operator(pg_catalog./) 4, 1);
      grows := false;
    end;
  end loop;
  perform pg_catalog.set_config('token_cleanup.sifted', pg_catalog.jsonb_build_object(
    'done', done, 'refused', refused, 'undone', undone, 'size', size,
    'border', places[place${backwards ? ' operator(pg_catalog.-) 1' : ''}],
    'isFinished', place operator(pg_catalog.>) pg_catalog.cardinality(places)
  )::pg_catalog.text, true);
end sifting`;
  // A DO takes no parameters. With values in its text, each would be another statement to `pg_stat_statements`.
  return `select pg_catalog.set_config('token_cleanup.given', ${quoteLiteral(textOf(values.map(textOf)))}, true);
    do ${quoteLiteral(withParameters(body, (number) => `sifting.given[${number}]`))};
    select pg_catalog.current_setting('token_cleanup.sifted')::pg_catalog.jsonb as sifted`;
}

function placeOfGroup(row: string) {
  return {
    text: `${row}ctid operator(pg_catalog.=) any (sifting.places[sifting.place:sifting.last])`,
    values: [],
  };
}

/** A value as PostgreSQL reads it. */
function textOf(value: unknown): string {
  if (!Array.isArray(value)) {
    return String(value);
  }
  return `{${value.map((item) => `"${String(item).replace(/["\\]/g, '\\$&')}"`).join(',')}}`;
}

/** The result of the statements; undefined if they are not those of a sifting. */
export function siftedIn({ rows }: QueryResult<unknown>): Sifted | undefined {
  return (rows[0] as { readonly sifted?: Sifted } | undefined)?.sifted;
}

/** How many transaction ids they took. */
export function idsOf({ done, undone }: Sifted): number {
  const ids = done.filter(({ rows }) => rows > 0).length + undone;
  return ids + Math.min(ids, 1);
}

export function sumOf({ done, refused }: Sifted): Deleted {
  const sum = (lists: readonly (readonly number[])[]) =>
    (lists[0] ?? []).map((_, index) => lists.reduce((total, list) => total + (list[index] ?? 0), 0));
  const rechecked = done.flatMap((group) => (group.rechecked ? (JSON.parse(group.rechecked) as unknown[]) : []));
  return {
    rows: done.reduce((total, { rows }) => total + rows, 0),
    kept: sum(done.map(({ kept = [] }) => kept)),
    cascaded: sum(done.map(({ cascaded = [] }) => cascaded)),
    refused: refused.map(([code, constraint, table]) =>
      describeError(Object.assign(new Error(), { severity: 'ERROR', code, constraint, table })),
    ),
    ...(rechecked.length > 0 && { rechecked: JSON.stringify(rechecked) }),
  };
}
