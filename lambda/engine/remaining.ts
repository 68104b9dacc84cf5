import type { Relation } from './conditions/relation';
import { type CountOptions, count } from './count';
import { isDead } from './deletion';
import type { Blockage, Obstacle } from './outcome';
import type { Piece } from './pieces';
import { wholeTable } from './whole-table';

/** The parts of a table that a sweep left. */
export interface Left {
  readonly obstacles: readonly Obstacle[];
  readonly unvisited: readonly Piece[];
  /** The rows that foreign keys protect, as far as they were counted. */
  readonly protectedRows: number;
  /** The partitions that were attached during the sweep. */
  readonly added: readonly Relation[];
  /** Whether there may be dead rows that it has not met. */
  readonly mayHideMore: boolean;
}

export interface Remaining {
  /** The remaining dead rows; undefined if they could not be counted. */
  readonly rows: number | undefined;
  /** How many of them the sweep has not met. */
  readonly unmet: number;
  readonly added: readonly Blockage[];
}

/**
 * Counts the remaining dead rows. Those that the sweep met are known. So only blocks that it did not visit are read, unless
 * it may have missed some.
 */
export async function remainingRows(options: CountOptions, left: Left): Promise<Remaining> {
  const inTheWay = left.obstacles.map(({ piece }) => piece);
  const met = inTheWay.filter(({ isRow }) => isRow).length + left.protectedRows;
  const unseen = [...left.unvisited, ...inTheWay.filter(({ isRow }) => !isRow)];
  if (options.stopCounting.aborted) {
    const isKnown = unseen.length + left.added.length === 0 && !left.mayHideMore;
    return { rows: isKnown ? met : undefined, unmet: 0, added: [] };
  }
  const counted = await countDead(options, left.mayHideMore ? (await wholeTable(options)).pieces : unseen);
  const own = counted === undefined || left.mayHideMore ? counted : counted + met;
  const added: Blockage[] = [];
  for (const partition of left.added) {
    added.push(await blockageOf(options, partition));
  }
  return {
    rows: sumOf([own, ...added.map(({ rows }) => rows)]),
    unmet: left.mayHideMore ? Math.max(0, (counted ?? 0) - met) : 0,
    added: added.filter(({ rows }) => rows !== 0),
  };
}

/** Rows of a partition that did not pass the preflight are counted, not deleted. */
async function blockageOf(options: CountOptions, partition: Relation): Promise<Blockage> {
  const reason = `partition ${partition.quotedName} was attached during the sweep`;
  try {
    const own = { ...options, relations: [partition] };
    const rows = await countDead(own, (await wholeTable(own)).pieces);
    return { reason, ...(rows !== undefined && { rows }) };
  } catch {
    return { reason }; // the role may have no right to read it
  }
}

async function countDead(options: CountOptions, pieces: readonly Piece[]): Promise<number | undefined> {
  const dead = `pg_catalog.count(*) filter (where ${isDead(options.condition)})`;
  const { end, obstacles, sums } = await count(options, pieces, { dead });
  return end === 'finished' && obstacles.length === 0 ? sums.dead : undefined;
}

/** Unknown if any of them is. */
function sumOf(numbers: readonly (number | undefined)[]): number | undefined {
  return numbers.includes(undefined) ? undefined : numbers.reduce((sum = 0, number = 0) => sum + number, 0);
}
