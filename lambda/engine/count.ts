import type { Turns } from '../pace/turns';
import type { Condition } from './condition';
import type { Obstacle, WalkEnd } from './outcome';
import type { Piece } from './pieces';
import { isUnchanged } from './relation';
import { Walk } from './walk';
import type { TableOptions } from './whole-table';

export interface CountOptions extends TableOptions {
  readonly turns: Turns;
  readonly onPiece?: (blocksPending: number) => void;
}

export interface Counted<Column extends string> {
  readonly end: WalkEnd;
  /** What could not be counted, and why. */
  readonly obstacles: readonly Obstacle[];
  readonly sums: Readonly<Record<Column, number>>;
  /** How long the server was at work. */
  readonly workMs: number;
}

/**
 * Adds up numbers over pieces of tables, range after range. Read only.
 *
 * @param columns an aggregate for each number, as SQL with the parameters of the condition
 */
export async function count<Column extends string>(
  options: CountOptions,
  pieces: readonly Piece[],
  columns: Readonly<Record<Column, string>>,
): Promise<Counted<Column>> {
  const { condition, stopCounting, onPiece } = options;
  const names = Object.keys(columns) as Column[];
  const sums = Object.fromEntries(names.map((name) => [name, 0])) as Record<Column, number>;
  let workMs = 0;
  const list = names.map((name) => `(${columns[name]})::pg_catalog.float8 as "${name}"`).join(', ');
  const walk = new Walk<Record<Column, number>>(
    {
      ...options,
      until: stopCounting,
      statement: (piece): Condition => {
        const place = piece.place('', condition.values.length + 1);
        return {
          text: `
            select ${list}
            from only ${piece.relation.quotedName}
            where ${isUnchanged(piece.relation)} and ${place.text}`,
          values: [...condition.values, ...place.values],
        };
      },
      onStatement: (durationMs, done) => {
        workMs += durationMs;
        for (const name of done ? names : []) {
          sums[name] += done?.result.rows[0]?.[name] ?? 0;
        }
        onPiece?.(walk.blocksPending);
      },
    },
    pieces,
  );
  return { end: await walk.run(), obstacles: walk.obstacles, sums, workMs };
}
