import type { Queryable } from '../database/queryable';
import type { WalkEnd } from './outcome';
import { blocksOf, type Piece, type PieceOptions, parsePosition, type Relation, wholeTable } from './pieces';
import { Walk } from './walk';

/** How many dead rows there are, unless that could not be established, and where. */
export async function countDead(
  options: PieceOptions & { readonly maxLoad: number },
): Promise<{ end: WalkEnd; rows: number | undefined; pieces: Piece[] }> {
  const table = options.stopCounting.aborted ? [] : await wholeTable(options);
  const found = table.filter(({ tids }) => tids);
  const ranges = new Map<Relation, Piece>();
  let rows = blocksOf(found); // one each
  const walk = new Walk<{ count: number; first: string | null; last: string | null }>(
    {
      ...options,
      statement: counting,
      until: options.stopCounting,
      onStatement: (_, done) => {
        for (const { count, first, last } of done?.result.rows ?? []) {
          if (done && first && last) {
            const { relation } = done.piece;
            const known = ranges.get(relation);
            const from = Math.min(parsePosition(first), known?.from ?? Number.POSITIVE_INFINITY);
            const to = Math.max(parsePosition(last) + 1, known?.to ?? 0);
            ranges.set(relation, { relation, from, to });
            rows += count;
          }
        }
      },
    },
    table.filter(({ tids }) => !tids),
  );
  const end = options.stopCounting.aborted ? 'stopped' : await walk.run();
  const complete = end === 'finished' && walk.obstacles.length === 0;
  return { end, rows: complete ? rows : undefined, pieces: [...found, ...ranges.values()] };
}

function counting(relation: Relation, condition: string): string {
  return `
    select count(*)::float8 as count, min(ctid)::text as first, max(ctid)::text as last
    from only ${relation.quotedName}
    where ${condition}`;
}

/**
 * Tells whether a sweep was alone with its tables. Where nobody else changed a row, it met every dead one, and the tables
 * need not be read a second time to find out.
 *
 * Whoever changes a row takes a transaction id, and the server hands these out one after the other, whatever the table
 * and the database. So where it handed out no more than the sweep took, there was nobody else.
 */
export class Solitude {
  readonly #session: Queryable;
  readonly #firstId: number | undefined;

  private constructor(session: Queryable, firstId: number | undefined) {
    this.#session = session;
    this.#firstId = firstId;
  }

  /** Looks before the first row is deleted. */
  static async begin(session: Queryable, relations: readonly Relation[]): Promise<Solitude> {
    const { rows } = await session.query<{ found: boolean }>(CONSEQUENCES_SQL, [relations.map(({ oid }) => oid)]);
    return new Solitude(session, rows[0]?.found === false ? await nextId(session) : undefined);
  }

  /** @param idsTaken the transaction ids that the sweep took since it began; NaN when it does not know */
  async lasted(idsTaken: number): Promise<boolean> {
    return this.#firstId !== undefined && (await nextId(this.#session)) === this.#firstId + idsTaken;
  }
}

/** The next id; nothing while a transaction that took one is under way, or after a crash, which hands ids out again. */
async function nextId(session: Queryable): Promise<number | undefined> {
  const { reconnections } = session;
  const { rows } = await session.query<{ first: number; next: number }>(
    `select pg_snapshot_xmin(now)::text::float8 as first, pg_snapshot_xmax(now)::text::float8 as next
     from pg_current_snapshot() as now`,
  );
  const [ids] = rows;
  return session.reconnections === reconnections && ids?.first === ids?.next ? ids?.next : undefined;
}

// What a DELETE sets off changes rows under the id of the DELETE, and a policy or a rule can hide rows from it.
const CONSEQUENCES_SQL = `
  select
    exists (select from pg_class where oid = any($1::oid[]) and (relrowsecurity or relhasrules))
    or exists (select from pg_trigger where tgrelid = any($1::oid[]) and tgtype & 8 <> 0)
    as found`;
