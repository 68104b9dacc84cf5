import type { Condition } from './conditions/condition';
import { isUnchanged } from './conditions/relation';
import type { Obstacle, WalkEnd } from './outcome';
import type { Turns } from './pace/turns';
import type { Piece } from './pieces';
import { Walk } from './walk';
import type { TableOptions } from './whole-table';

export interface CountOptions extends TableOptions {
  readonly turns: Turns;
  readonly onPiece?: (blocksPending: number) => void;
  /** SQL that follows the table, whose rows are called `visited`. It adds columns, and no rows. */
  readonly beside?: string;
  /** Columns that are not added up. */
  readonly further?: Further;
}

export interface Further {
  /** As SQL, by name. */
  readonly columns: Readonly<Record<string, string>>;
  /** Called with their values for each piece. */
  readonly onPiece: (values: Readonly<Record<string, unknown>>, piece: Piece) => void;
}

export interface Counted<Column extends string> {
  readonly end: WalkEnd;
  /** The parts that could not be counted, and the reasons. */
  readonly obstacles: readonly Obstacle[];
  readonly sums: Readonly<Record<Column, number>>;
  /** The time that the server worked. */
  readonly workMs: number;
}

/**
 * Adds up numbers over pieces of tables. Read only.
 *
 * @param columns an aggregate for each number, as SQL with the parameters of the condition
 */
export async function count<Column extends string>(
  options: CountOptions,
  pieces: readonly Piece[],
  columns: Readonly<Record<Column, string>>,
): Promise<Counted<Column>> {
  const { condition, stopCounting, onPiece, beside = '', further } = options;
  const names = Object.keys(columns) as Column[];
  const sums = Object.fromEntries(names.map((name) => [name, 0])) as Record<Column, number>;
  let workMs = 0;
  const list = [
    ...names.map((name) => `(${columns[name]})::pg_catalog.float8 as "${name}"`),
    ...Object.entries(further?.columns ?? {}).map(([name, column]) => `${column} as "${name}"`),
  ].join(', ');
  const walk = new Walk<Record<string, unknown>>(
    {
      ...options,
      until: stopCounting,
      statement: (piece): Condition => {
        const place = piece.place('', condition.values.length + 1);
        return {
          text: `
            select ${list}
            from only ${piece.relation.quotedName} as visited ${beside}
            where ${isUnchanged(piece.relation)} and ${place.text}`,
          values: [...condition.values, ...place.values],
        };
      },
      onStatement: (durationMs, done) => {
        workMs += durationMs;
        const [row] = done?.result.rows ?? [];
        if (done && row) {
          for (const name of names) {
            sums[name] += Number(row[name] ?? 0);
          }
          further?.onPiece(row, done.piece);
        }
        onPiece?.(walk.blocksPending);
      },
    },
    pieces,
  );
  return { end: await walk.run(), obstacles: walk.obstacles, sums, workMs };
}
