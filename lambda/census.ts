import { blocksOf, wholeTable } from './pieces';
import type { Condition, RuleCondition } from './rules';
import type { SweepOptions } from './sweep';
import { type Obstacle, type Piece, type Relation, Walk, type WalkEnd } from './walk';

/** The rows of a table, as far as they were counted. */
export interface Census {
  readonly end: WalkEnd;
  /** What could not be counted, and why. */
  readonly obstacles: readonly Obstacle[];
  /** All rows, but for those of {@link indexed}. */
  readonly rows: number;
  /** Those that meet any rule. */
  readonly dead: number;
  /** Those that meet each rule, in the order of the rules. A row may meet several. */
  readonly deadByRule: readonly number[];
  /** Where an index led to the dead rows, so that nobody saw the others. */
  readonly indexed: readonly Piece[];
  /** How many were visited, or about as many where an index led to the rows. */
  readonly blocks: number;
  /** How long the server was at work. */
  readonly workMs: number;
}

/**
 * Counts the rows of a table by an index where a sweep would use it, otherwise in ranges and at the pace of a sweep.
 *
 * @throws an error that is neither a row's nor of those that a session repeats
 */
export async function takeCensus(options: SweepOptions, rules: readonly RuleCondition[]): Promise<Census> {
  const { condition, stopCounting, onProgress } = options;
  const statement = (relation: Relation, where: string) => `
    select
      count(*)::float8 as rows,
      count(*) filter (where ${condition.text})::float8 as dead,
      array[${rules.map(({ text }) => `count(*) filter (where ${text})`)}]::float8[] as "deadByRule"
    from only ${relation.quotedName}
    where ${where}`;
  const seen = { rows: 0, dead: 0, deadByRule: rules.map(() => 0), workMs: 0 };
  const visit = async (pieces: readonly Piece[], where: Condition) => {
    const blocksTotal = blocksOf(pieces);
    const walk = new Walk<Pick<Census, 'rows' | 'dead' | 'deadByRule'>>(
      {
        ...options,
        statement,
        condition: where,
        until: stopCounting,
        onStatement: (durationMs, done) => {
          seen.workMs += durationMs;
          for (const counted of done?.result.rows ?? []) {
            seen.rows += counted.rows;
            seen.dead += counted.dead;
            seen.deadByRule = seen.deadByRule.map((sum, rule) => sum + (counted.deadByRule[rule] ?? 0));
          }
          if (done) {
            onProgress?.({ rowsDeleted: 0, blocksVisited: blocksTotal - done.blocksPending, blocksTotal });
          }
        },
      },
      pieces,
    );
    return { end: await walk.run(), obstacles: walk.obstacles };
  };
  const pieces = await wholeTable(options);
  const indexed = pieces.filter(({ tids }) => tids);
  const byIndex = await visit(indexed, condition);
  seen.rows = 0; // only the dead ones, so far
  // A range is read whole anyway, so the rows to keep are counted along with the dead.
  const byRange = await visit(
    pieces.filter(({ tids }) => !tids),
    { ...condition, text: 'true' },
  );
  return {
    ...seen,
    indexed,
    blocks: blocksOf(pieces),
    end: byIndex.end === 'finished' ? byRange.end : byIndex.end,
    obstacles: [...byIndex.obstacles, ...byRange.obstacles],
  };
}
