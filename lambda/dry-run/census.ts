import type { ColumnTypes } from '../engine/conditions/column-tests';
import type { Condition } from '../engine/conditions/condition';
import { count, type Further } from '../engine/count';
import type { Obstacle, WalkEnd } from '../engine/outcome';
import { blocksOf, type Piece, RowList } from '../engine/pieces';
import type { Table } from '../engine/purge';
import { SMALL_TABLE_BLOCKS, wholeTable } from '../engine/whole-table';
import { AgeValues, type ValuesOfAge } from './age-values';
import type { Forecast } from './forecast';

/** The rows of a table, as far as they were counted. */
export interface Census {
  readonly end: WalkEnd;
  /** The parts that could not be counted, and the reasons. */
  readonly obstacles: readonly Obstacle[];
  /** All rows, except those of {@link indexed}. */
  readonly rows: number;
  /** Those that meet any rule. */
  readonly dead: number;
  /** Those that meet each rule, in the order of the rules. A row may meet several. */
  readonly deadByRule: readonly number[];
  /** The relations, by oid, in which an index led to the dead rows, so that the others were not counted. */
  readonly indexed: readonly number[];
  /** The number of blocks that were visited; an approximation if an index led to the rows. */
  readonly blocks: number;
  /** How long the server was at work. */
  readonly workMs: number;
  /** The sum of the shares that the connections could work at the end. */
  readonly load: number;
  readonly ages: readonly ValuesOfAge[];
  /** Whether a trigger may refuse rows. */
  readonly mayRefuse: boolean;
}

/**
 * Counts the rows of a table by an index if a sweep would use it, otherwise in ranges and at the pace of a sweep.
 *
 * @throws an error that is neither a row's nor of those that a session repeats
 */
export async function takeCensus(table: Table, forecast: Forecast): Promise<Census> {
  const { options, inspected } = table;
  const { condition, onProgress } = options;
  const { pieces, mayRefuse } = await wholeTable(options);
  const blocksTotal = blocksOf(pieces);
  if (blocksTotal > SMALL_TABLE_BLOCKS) {
    await options.openFurther?.();
  }
  const foreseen = forecast.of(table);
  const question = foreseen.question(nameBeside(inspected.columnTypes));
  const ages = new AgeValues(table);
  const columns: Record<string, string> = {
    ...question.columns,
    ...ages.counts,
    rows: 'pg_catalog.count(*)',
    dead: countOf(condition),
    ...Object.fromEntries(condition.rules.map((rule, index) => [`rule ${index}`, countOf(rule)])),
  };
  const visit = (some: readonly Piece[], blocksBefore: number) => {
    const onPiece = (blocksPending: number) => {
      const blocksVisited = blocksBefore + blocksOf(some) - blocksPending;
      onProgress?.({ rowsDeleted: 0, blocksVisited, blocksTotal });
    };
    const further: Further = {
      columns: { ...question.further, ...ages.columns },
      onPiece: (values, { relation }) => {
        foreseen.addStaying(relation, values);
        ages.add(values);
      },
    };
    const asked = { condition: { ...options.condition, ...question.condition }, beside: question.beside };
    return count({ ...options, ...asked, onPiece, further }, some, columns);
  };
  const [found, ranges] = [pieces.filter(isFound), pieces.filter((piece) => !isFound(piece))];
  const byIndex = await visit(found, 0);
  // A range is read as a whole anyway, so the rows to keep are counted along with the dead.
  const byRange = await visit(ranges, blocksOf(found));
  const total = (name: string) => (byIndex.sums[name] ?? 0) + (byRange.sums[name] ?? 0);
  foreseen.add(total);
  return {
    rows: byRange.sums.rows ?? 0,
    dead: total('dead'),
    deadByRule: condition.rules.map((_, index) => total(`rule ${index}`)),
    indexed: found.map(({ relation }) => relation.oid),
    blocks: blocksTotal,
    workMs: byIndex.workMs + byRange.workMs,
    end: byIndex.end === 'finished' ? byRange.end : byIndex.end,
    obstacles: [...byIndex.obstacles, ...byRange.obstacles],
    load: options.turns.load(options.sessions.length),
    ages: ages.read(total),
    mayRefuse,
  };
}

function countOf(condition: Pick<Condition, 'text'>): string {
  return `pg_catalog.count(*) filter (where ${condition.text})`;
}

/** A name that no column of a table has. */
function nameBeside(columns: ColumnTypes): string {
  let name = 'protection';
  while (columns.has(name)) {
    name += '_';
  }
  return name;
}

function isFound(piece: Piece): boolean {
  return piece instanceof RowList;
}
