import type { Relation } from './conditions/relation';
import { type CountOptions, count } from './count';
import { isDead } from './deletion';
import type { Blockage } from './outcome';
import type { Pass } from './pass';
import type { Piece } from './pieces';
import { wholeTable } from './whole-table';

export interface Remaining {
  /** The remaining dead rows; undefined if they could not be counted. */
  readonly rows: number | undefined;
  /** How many of them the sweep has not met. */
  readonly unmet: number;
  readonly added: readonly Blockage[];
}

/**
 * Counts the remaining dead rows. Those that the last pass met are known. So only blocks that it did not visit are read,
 * unless it may have missed some.
 *
 * @param attached the partitions that were attached during the sweep
 * @param mayHideMore whether there may be dead rows that the pass has not met
 */
export async function remainingRows(
  options: CountOptions,
  { obstacles, unvisited, kept }: Pass,
  attached: readonly Relation[],
  mayHideMore: boolean,
): Promise<Remaining> {
  const inTheWay = obstacles.map(({ piece }) => piece);
  const met = inTheWay.filter(({ isRow }) => isRow).length + kept.rows;
  const unseen = [...unvisited, ...inTheWay.filter(({ isRow }) => !isRow)];
  if (options.stopCounting.aborted) {
    const isKnown = unseen.length + attached.length === 0 && !mayHideMore;
    return { rows: isKnown ? met : undefined, unmet: 0, added: [] };
  }
  const counted = await countDead(options, mayHideMore ? (await wholeTable(options)).pieces : unseen);
  const own = counted === undefined || mayHideMore ? counted : counted + met;
  const added: Blockage[] = [];
  for (const partition of attached) {
    added.push(await blockageOf(options, partition));
  }
  return {
    rows: sumOf([own, ...added.map(({ rows }) => rows)]),
    unmet: mayHideMore ? Math.max(0, (counted ?? 0) - met) : 0,
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
