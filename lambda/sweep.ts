import type { Clock } from './clock';
import type { Condition } from './rules';
import {
  type Brake,
  type Obstacle,
  type Piece,
  positionOf,
  type Queryable,
  type Relation,
  Walk,
  type WalkEnd,
} from './walk';

/**
 * Why a sweep ended:
 * - `drained`: every block was visited, and nothing was held back
 * - `deadline`: the time was up
 * - `interrupted`: it was asked to end
 * - `blocked`: rows stayed locked, or are kept by a constraint or a trigger
 * - `replica-lag`: the time was up while a replica was too far behind
 */
export type StopReason = 'drained' | 'deadline' | 'interrupted' | 'blocked' | 'replica-lag';

export interface SweepOptions {
  /** The connections to work on. */
  readonly sessions: readonly [Queryable, ...Queryable[]];
  /** The table, or its leaves. */
  readonly relations: readonly Relation[];
  /** Which rows are dead. */
  readonly condition: Condition;
  /** Whether to count only. */
  readonly dryRun: boolean;
  /** The share of time that a connection works, above 0 up to 1. */
  readonly maxLoad: number;
  readonly brake?: Brake | undefined;
  readonly clock: Clock;
  /** Ends the deleting. Its reason is a {@link StopReason}. */
  readonly stopDeleting: AbortSignal;
  /** Ends the counting that follows, likewise. */
  readonly stopCounting: AbortSignal;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
}

export interface SweepProgress {
  readonly rowsDeleted: number;
  readonly blocksVisited: number;
  readonly blocksTotal: number;
}

export interface SweepOutcome {
  /** Absent when there is an error. */
  readonly stopReason?: StopReason;
  readonly error?: unknown;
  readonly rowsDeleted: number;
  /** The dead rows that are left; absent when they could not be counted. */
  readonly rowsRemaining?: number;
  /** How many statements deleted, or tried to. */
  readonly batches: number;
  readonly longestBatchMs: number;
  /** What kept rows from being deleted in the last pass. */
  readonly blockedBy: readonly Blockage[];
}

export interface Blockage {
  /** Such as the name of a constraint. */
  readonly reason: string;
  /** Absent when they are too many to be found one by one. */
  readonly rows?: number;
}

/** Enough for rows that died during the run and for locks that were released. */
const MAX_PASSES = 3;
/** As many rows as one statement finds by an index and deletes well within its timeout. */
const MOST_INDEXED_ROWS = 5_000;
/** The planner is not asked about tables that are read in a few milliseconds anyway. */
const SMALL_TABLE_BLOCKS = 64;

/**
 * Deletes the dead rows of a table.
 *
 * A pass visits the blocks that the table has when it begins. Rows that died behind it, and rows that were locked as it
 * came by, are found by counting afterwards, and the range that holds them gets another pass. Never throws: an error is
 * returned along with what was done until then.
 */
export async function sweep(options: SweepOptions): Promise<SweepOutcome> {
  const tally: Tally = { rowsDeleted: 0, batches: 0, longestBatchMs: 0, blockedBy: [] };
  try {
    return { ...(await deleteAndVerify(options, tally)), ...tally };
  } catch (error) {
    return { error, ...tally };
  }
}

interface Tally {
  rowsDeleted: number;
  batches: number;
  longestBatchMs: number;
  blockedBy: Blockage[];
}

type Verdict = Pick<SweepOutcome, 'stopReason' | 'rowsRemaining'>;

async function deleteAndVerify(options: SweepOptions, tally: Tally): Promise<Verdict> {
  let pieces = options.dryRun ? [] : await wholeTable(options, deletion);
  for (let pass = 1; ; pass += 1) {
    const deletedBefore = tally.rowsDeleted;
    const { end, obstacles } = await deletePass(options, pieces, tally);
    const dead = await countDead(options);
    const rowsRemaining = dead.end === 'finished' ? { rowsRemaining: dead.rows } : {};
    if (end !== 'finished') {
      return { stopReason: reasonOf(end, options.stopDeleting), ...rowsRemaining };
    }
    if (dead.end !== 'finished') {
      return { stopReason: reasonOf(dead.end, options.stopCounting) };
    }
    if (dead.rows === 0 || options.dryRun) {
      return { stopReason: 'drained', ...rowsRemaining };
    }
    const inVain = pass > 1 && tally.rowsDeleted === deletedBefore;
    if (inVain && obstacles.length === 0) {
      tally.blockedBy = [{ reason: 'a trigger, a rule or a policy that skips rows in silence', rows: dead.rows }];
    }
    if (inVain || pass === MAX_PASSES || areAllProtected(dead.rows, obstacles)) {
      return { stopReason: inVain || obstacles.length > 0 ? 'blocked' : 'drained', ...rowsRemaining };
    }
    pieces = dead.pieces;
  }
}

async function deletePass(options: SweepOptions, pieces: readonly Piece[], tally: Tally) {
  const { stopDeleting, onProgress } = options;
  const blocksTotal = blocksOf(pieces);
  const walk = new Walk<never>(
    {
      ...options,
      statement: deletion,
      until: stopDeleting,
      onStatement: (durationMs, done) => {
        tally.batches += 1;
        tally.longestBatchMs = Math.max(tally.longestBatchMs, durationMs);
        if (done) {
          tally.rowsDeleted += done.rowCount;
          onProgress?.({
            rowsDeleted: tally.rowsDeleted,
            blocksVisited: blocksTotal - done.blocksPending,
            blocksTotal,
          });
        }
      },
    },
    pieces,
  );
  const end = await walk.run();
  tally.blockedBy = blockagesOf(walk.obstacles);
  if (end === 'locked-out') {
    tally.blockedBy.push({ reason: 'a lock on the whole table' });
  }
  return { end, obstacles: walk.obstacles };
}

function blockagesOf(obstacles: readonly Obstacle[]): Blockage[] {
  const reasons = [...new Set(obstacles.map((obstacle) => obstacle.reason))];
  return reasons.map((reason) => {
    const found = obstacles.filter((obstacle) => obstacle.reason === reason);
    return found.every(({ rows }) => rows === 1) ? { reason, rows: found.length } : { reason };
  });
}

/** Whether another pass would only find the same constraints and triggers. */
function areAllProtected(deadRows: number, obstacles: readonly Obstacle[]): boolean {
  const lasting = obstacles.filter(({ passing }) => !passing);
  return lasting.length >= deadRows || lasting.some(({ rows }) => rows === undefined);
}

async function countDead(options: SweepOptions) {
  const pieces = new Map<Relation, Piece>();
  let rows = 0;
  const walk = new Walk<{ count: number; first: string | null; last: string | null }>(
    {
      ...options,
      brake: undefined, // reading adds nothing to what replicas have to replay
      statement: counting,
      until: options.stopCounting,
      onStatement: (_, done) => {
        for (const { count, first, last } of done?.rows ?? []) {
          if (done && first && last) {
            const { relation } = done.piece;
            const known = pieces.get(relation);
            const from = Math.min(positionFrom(first), known?.from ?? Number.POSITIVE_INFINITY);
            const to = Math.max(positionFrom(last) + 1, known?.to ?? 0);
            pieces.set(relation, { relation, from, to });
            rows += count;
          }
        }
      },
    },
    await wholeTable(options, counting),
  );
  const end = await walk.run();
  return { end, rows, pieces: [...pieces.values()] };
}

function deletion(relation: Relation, condition: string): string {
  return `delete from only ${relation.quotedName} where ${condition}`;
}

function counting(relation: Relation, condition: string): string {
  return `
    select count(*)::float8 as count, min(ctid)::text as first, max(ctid)::text as last
    from only ${relation.quotedName}
    where ${condition}`;
}

/** All the blocks that the table has now. */
async function wholeTable(options: SweepOptions, statement: typeof deletion): Promise<Piece[]> {
  const [session] = options.sessions;
  const pieces: Piece[] = [];
  for (const relation of options.relations) {
    const { rows } = await session.query<{ blocks: number }>(
      `select (pg_relation_size($1::oid) / current_setting('block_size')::int)::float8 as blocks`,
      [relation.oid],
    );
    const piece = { relation, from: 0, to: positionOf(rows[0]?.blocks ?? 0) };
    if (piece.to > 0) {
      const small = piece.to <= positionOf(SMALL_TABLE_BLOCKS);
      pieces.push(small ? piece : { ...piece, indexed: await expectsFewRows(session, options, statement, relation) });
    }
  }
  return pieces;
}

/** Whether the planner would use an index and expects so few rows that a single statement will do. */
async function expectsFewRows(
  session: Queryable,
  { condition }: SweepOptions,
  statement: typeof deletion,
  relation: Relation,
): Promise<boolean> {
  const { rows } = await session.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    `explain (format json) ${statement(relation, condition.text)}`,
    condition.values,
  );
  // The rows of a DELETE or of an aggregate come from the one scan below it.
  const scan = rows[0]?.['QUERY PLAN'][0].Plan.Plans?.[0];
  return scan !== undefined && scan['Node Type'] !== 'Seq Scan' && scan['Plan Rows'] <= MOST_INDEXED_ROWS;
}

interface Plan {
  readonly 'Node Type': string;
  readonly 'Plan Rows': number;
  readonly Plans?: readonly Plan[];
}

function reasonOf(end: Exclude<WalkEnd, 'finished'>, signal: AbortSignal): StopReason {
  const reasons = { stopped: signal.reason as StopReason, braked: 'replica-lag', 'locked-out': 'blocked' } as const;
  return reasons[end];
}

function blocksOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece.to - piece.from) / positionOf(1), 0);
}

function positionFrom(tid: string): number {
  const [block = 0, offset = 0] = tid.slice(1, -1).split(',').map(Number);
  return positionOf(block, offset);
}
