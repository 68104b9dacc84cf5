import type { Bundle, BundledRun, Progress } from './bundle';
import { type Contender, ONE_DELETE, onConnection } from './contenders';
import { count, digits, duration, megabytes, times } from './figures';
import { type Course, tokens } from './laboratory';
import { race, type Standing } from './race';
import type { Bench, Section } from './section';
import { median } from './statistics';
import { REFRESH_TOKENS, TOKEN_COLUMNS } from './tables';

interface Step {
  readonly deadRows: number;
  readonly oldSnapshot: boolean;
  readonly standings: readonly Standing[];
  readonly peakBytes: number;
  /** Rows a second in the last tenth of the table as a multiple of the first; absent if a run was too short. */
  readonly lastTenthOfFirst?: number;
  /** Dropping a partition that holds the same dead rows. */
  readonly dropPartition?: { readonly durationMs: number; readonly walBytes: number };
}

/** A larger table is swept once: it takes minutes, and its rate varies little. */
const ONCE_FROM_ROWS = 10_000_000;
// No limit that anything here should meet.
const CAP_MS = 30 * 60_000;
/** Progress is reported four times a second. With fewer samples, a tenth of them means nothing. */
const LEAST_SAMPLES = 30;

/** How rate and memory of the function develop with the number of dead rows. */
export const growth: Section<readonly Step[]> = {
  name: 'growth',

  steps: ({ scale }) =>
    sizesOf(scale).reduce((sum, { rounds, oldSnapshot }) => sum + 2 * rounds + (oldSnapshot ? 0 : 1), 0),

  async run(bench) {
    const { laboratory, scale } = bench;
    const bundle = await bench.bundle();
    const steps: Step[] = [];
    for (const deadRows of scale.growth) {
      const prepared = await laboratory.prepare(tokens(`${count(deadRows)} dead rows`, { rows: 2 * deadRows }));
      for (const { rounds, oldSnapshot } of sizesOf(scale).filter((size) => size.deadRows === deadRows)) {
        const runs: BundledRun[] = [];
        const contenders = [ONE_DELETE, functionOf(bundle, runs)];
        const standings = await race(bench, prepared, contenders, {
          rounds,
          capMs: CAP_MS,
          ...(oldSnapshot && { company: 'old snapshot' as const }),
        });
        const tenths = median(runs.map(({ progress }) => lastTenthOfFirst(progress)));
        steps.push({
          deadRows,
          oldSnapshot,
          standings,
          peakBytes: Math.max(...runs.map(({ peakBytes }) => peakBytes)),
          ...(Number.isFinite(tenths) && { lastTenthOfFirst: tenths }),
          ...(!oldSnapshot && { dropPartition: await dropPartition(bench, deadRows) }),
        });
      }
      await laboratory.discard(prepared);
    }
    return steps;
  },

  show: (steps) => [
    {
      title: 'Growth: the function with 1 connection at full load, half of the rows dead, with indexes',
      head: [
        'dead rows',
        'rows a second',
        'of one DELETE',
        'last tenth, of first',
        'peak memory',
        'WAL a row',
        'one DELETE',
        'drop partition',
      ],
      rows: steps.map(
        ({ deadRows, oldSnapshot, standings, peakBytes, lastTenthOfFirst: tenths, dropPartition: drop }) => {
          const [oneDelete, ours] = standings;
          return [
            `${count(deadRows)}${oldSnapshot ? ', old snapshot' : ''}`,
            count(ours?.rowsPerSecond ?? Number.NaN),
            times(ours?.ratio ?? Number.NaN),
            tenths === undefined ? '' : times(tenths),
            megabytes(peakBytes),
            `${digits(walPerRow(ours))} B`,
            `${digits(walPerRow(oneDelete))} B`,
            drop ? `${duration(drop.durationMs)}, ${digits(drop.walBytes / deadRows)} B a row` : '',
          ];
        },
      ),
      notes: [
        'Peak memory is that of the whole process, Node.js included. The first write of a block after a checkpoint logs it whole.',
      ],
    },
  ],
};

function sizesOf({ growth: sizes, growthWithOldSnapshot, rounds }: Bench['scale']) {
  return sizes.flatMap((deadRows, index) => {
    const size = { deadRows, rounds: deadRows >= ONCE_FROM_ROWS ? 1 : rounds };
    const isLast = index === sizes.length - 1;
    return [false, ...(growthWithOldSnapshot && isLast ? [true] : [])].map((oldSnapshot) => ({ ...size, oldSnapshot }));
  });
}

/** The deployed function as a contender. */
function functionOf(bundle: Bundle, runs: BundledRun[]): Contender {
  return {
    name: 'this project, the function',
    ours: true,
    run: async ({ url, signal }) => {
      const run = await bundle.invoke({ concurrency: 1, maxLoad: 1 }, url, signal);
      if (run.report.status === 'failed') {
        throw new Error(run.report.error);
      }
      runs.push(run);
      // On Lambda a process is there already, most of the time.
      return run.report.durationMs;
    },
  };
}

function walPerRow(standing: Standing | undefined): number {
  return median((standing?.turns ?? []).map(({ walBytes, rowsDeleted }) => walBytes / rowsDeleted));
}

function lastTenthOfFirst(progress: readonly Progress[]): number {
  const [first, last] = [progress[0], progress.at(-1)];
  if (!first || !last || progress.length < LEAST_SAMPLES) {
    return Number.NaN;
  }
  /** How far the sweep was at a block, between the two samples around it. */
  const at = (share: number) => {
    const block = first.blocksVisited + share * (last.blocksVisited - first.blocksVisited);
    const index = Math.max(
      progress.findIndex(({ blocksVisited }) => blocksVisited >= block),
      1,
    );
    const [before = first, after = last] = progress.slice(index - 1, index + 1);
    const part = (block - before.blocksVisited) / (after.blocksVisited - before.blocksVisited);
    return {
      rows: before.rowsDeleted + part * (after.rowsDeleted - before.rowsDeleted),
      ms: before.atMs + part * (after.atMs - before.atMs),
    };
  };
  const rateBetween = (from: number, to: number) => (at(to).rows - at(from).rows) / (at(to).ms - at(from).ms);
  return rateBetween(0.9, 1) / rateBetween(0, 0.1);
}

/** The limit: the cost of deleting without testing any row. */
async function dropPartition(bench: Bench, deadRows: number): Promise<Step['dropPartition'] & object> {
  const course: Course = {
    title: 'a partition',
    table: REFRESH_TOKENS,
    fill: async (client) => {
      await client.query(`
        create table refresh_tokens (${TOKEN_COLUMNS}) partition by range (expires_at);
        create table refresh_tokens_past partition of refresh_tokens for values from (minvalue) to ('now'::timestamptz)`);
      await client.query(
        `insert into refresh_tokens (user_id, token_hash, expires_at)
         select n, encode(sha256(n::text::bytea), 'hex'), now() - interval '1 minute' - n * interval '1 second'
         from generate_series(1, $1::int) as n`,
        [deadRows],
      );
      await client.query(`
        create unique index on refresh_tokens (id, expires_at);
        create unique index on refresh_tokens (token_hash, expires_at);
        create index on refresh_tokens (user_id);
        create index on refresh_tokens (expires_at)`);
    },
  };
  const dropping: Contender = {
    name: 'drop a partition',
    run: onConnection(async (client) => {
      await client.query('drop table refresh_tokens_past');
    }),
  };
  const { laboratory } = bench;
  const prepared = await laboratory.prepare(course);
  const [standing] = await race({ ...bench, blame: () => {} }, prepared, [dropping], {
    rounds: 1,
    capMs: CAP_MS,
  });
  await laboratory.discard(prepared);
  const [turn] = standing?.turns ?? [];
  if (!turn || turn.wrong) {
    throw new Error(`the partition was not dropped: ${turn?.wrong}`);
  }
  return { durationMs: turn.durationMs, walBytes: turn.walBytes };
}
