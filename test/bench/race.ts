import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { type Arena, type Contender, titleOf } from './contenders';
import { duration, percent } from './figures';
import { connect, type Laboratory, type Prepared } from './laboratory';
import type { Bench } from './section';
import { median } from './statistics';
import { census } from './tables';

/** The result of one contender on one fresh clone. */
export interface Turn {
  readonly durationMs: number;
  readonly rowsDeleted: number;
  /** The share of the dead rows that were deleted; below 1 if the time was up. */
  readonly done: number;
  /** Whether the time was up before the contender was done. */
  readonly capped: boolean;
  /** The mistake in the result; absent if there is none. */
  readonly wrong?: string;
  /** Blocks of the table and its indexes that were touched, in memory or on disk, as often as they were. */
  readonly blocks: number;
  readonly walBytes: number;
}

export interface TurnOptions {
  /** A contender that takes longer is stopped. */
  readonly capMs: number;
  /** The other sessions: a transaction with an old snapshot of the table, or a writer of another table. */
  readonly company?: Company;
}

export type Company = 'old snapshot' | 'a writer';

/** All turns of one contender on one course. */
export interface Standing {
  readonly contender: string;
  readonly turns: readonly Turn[];
  readonly medianMs: number;
  readonly rowsPerSecond: number;
  /** Rows per second as a multiple of what the first contender reached: median, least and most. */
  readonly ratio: number;
  readonly ratios: readonly [number, number];
}

export interface RaceOptions extends TurnOptions {
  readonly rounds: number;
}

/** Lets contenders take turns, each on a fresh clone: A B C, A B C, and so on. The first is what the others are compared with. */
export async function race(
  { laboratory, step, blame }: Bench,
  prepared: Prepared,
  contenders: readonly Contender[],
  { rounds, ...options }: RaceOptions,
): Promise<Standing[]> {
  const turns = new Map(contenders.map((contender) => [contender, [] as Turn[]]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const [contender, its] of turns) {
      step(`${prepared.course.title}: ${contender.name}`);
      // A contender that once took more than the whole time gets no further round.
      if (!its.some(({ capped }) => capped)) {
        const turn = await takeTurn(laboratory, prepared, contender, options);
        its.push(turn);
        // Nobody else changes the table, so that everybody's result has to be right.
        if (turn.wrong) {
          blame(`${contender.name}, ${prepared.course.title}: ${turn.wrong}`);
        }
      }
    }
  }
  const baseline = rate([...turns.values()][0] ?? []);
  return [...turns].map(([contender, its]) => {
    const ratios = its.map((turn) => rate([turn]) / baseline);
    return {
      contender: titleOf(contender),
      turns: its,
      medianMs: median(its.map(({ durationMs }) => durationMs)),
      rowsPerSecond: rate(its),
      ratio: rate(its) / baseline,
      ratios: [Math.min(...ratios), Math.max(...ratios)],
    };
  });
}

/** How long a contender took, or why that does not count. */
export function timeOf({ turns: [turn], medianMs }: Standing, capMs: number): string {
  if (turn?.wrong) {
    return `wrong: ${turn.wrong}`;
  }
  return turn?.capped ? `> ${duration(capMs)} (${percent(turn.done)} done)` : duration(medianMs);
}

function rate(turns: readonly Turn[]): number {
  return median(turns.map(({ rowsDeleted, durationMs }) => (1_000 * rowsDeleted) / durationMs));
}

async function takeTurn(
  laboratory: Laboratory,
  prepared: Prepared,
  contender: Contender,
  { capMs, company }: TurnOptions,
): Promise<Turn> {
  const { course, before } = prepared;
  const url = await laboratory.clone(prepared);
  const observer = await connect(url, 'observer');
  const leave = company && (await COMPANY[company](await connect(url, 'company'), course.table.name));
  try {
    await resetStatistics(observer);
    const position = await logPosition(observer);
    const { durationMs, stopped, error } = await runCapped(observer, contender, {
      url,
      ...course,
      capMs,
      rest: 'none',
    });
    const walBytes = (await logPosition(observer)) - position;
    const blocks = await blocksTouched(observer);
    const after = await census(observer, course.table);
    const capped = stopped && after.dead > 0;
    const wrong =
      error ??
      (after.live !== before.live || after.fingerprint !== before.fingerprint
        ? 'live rows are gone'
        : after.dead > 0 && !capped
          ? `${after.dead} dead rows are left`
          : undefined);
    const rowsDeleted = before.dead - after.dead;
    const done = before.dead > 0 ? rowsDeleted / before.dead : 1;
    return { durationMs, rowsDeleted, done, capped, ...(wrong && { wrong }), blocks, walBytes };
  } finally {
    await leave?.();
    await observer.end();
  }
}

/**
 * Runs a contender to its end, or to the end of its time.
 *
 * @param observer cancels the statement that is under way when the time is up
 */
export async function runCapped(
  observer: Client,
  contender: Contender,
  arena: Omit<Arena, 'signal'> & { readonly capMs: number },
): Promise<{ durationMs: number; stopped: boolean; error?: string }> {
  const timeUp = new AbortController();
  const timer = setTimeout(() => {
    timeUp.abort();
    void observer.query(CANCEL_SQL);
  }, arena.capMs);
  const startedAt = performance.now();
  let counted: number | undefined;
  let error: string | undefined;
  try {
    counted = await contender.run({ ...arena, signal: timeUp.signal });
  } catch (thrown) {
    const { code, message } = thrown as { code?: string; message: string };
    error = timeUp.signal.aborted && code === CANCELED ? undefined : message;
  }
  clearTimeout(timer);
  const durationMs = counted ?? performance.now() - startedAt;
  return { durationMs, stopped: timeUp.signal.aborted, ...(error !== undefined && { error }) };
}

const CANCELED = '57014';

// This project ends by itself, after the batch that is under way.
const CANCEL_SQL = `
  select pg_cancel_backend(pid)
  from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid()
    and application_name not in ('token-cleanup', 'token-service', 'company', 'observer')`;

/** The rest between two writes of the other session: a service of some 100 transactions a second. */
const WRITE_INTERVAL_MS = 10;

/** The age of the old snapshot. A run waits for a second to see whether a younger one ends. */
const OLD_MS = 3_000;

/** Each returns a function that ends it. */
const COMPANY: Readonly<Record<Company, (client: Client, table: string) => Promise<() => Promise<void>>>> = {
  'old snapshot': async (reader, table) => {
    await reader.query('begin isolation level repeatable read');
    await reader.query(`select from ${table} limit 1`);
    await delay(OLD_MS);
    return () => reader.end();
  },
  'a writer': async (writer) => {
    const stop = new AbortController();
    const writing = (async () => {
      while (!stop.signal.aborted) {
        await writer.query('select pg_current_xact_id()'); // all that a sweep can tell of a write to another table
        await delay(WRITE_INTERVAL_MS);
      }
    })();
    return async () => {
      stop.abort();
      await writing;
      await writer.end();
    };
  },
};

async function logPosition(observer: Client): Promise<number> {
  const { rows } = await observer.query<{ bytes: number }>(
    `select (pg_current_wal_insert_lsn() - '0/0')::float8 as bytes`,
  );
  return rows[0]?.bytes ?? Number.NaN;
}

/** Forgets what the observer itself and earlier sessions touched, such as the one that read the copy into memory. */
export async function resetStatistics(observer: Client): Promise<void> {
  await othersEnd(observer);
  await observer.query('select pg_stat_force_next_flush()');
  await observer.query('select pg_stat_reset()');
}

/** The blocks that other sessions touched since the statistics were reset. */
export async function blocksTouched(observer: Client): Promise<number> {
  await othersEnd(observer);
  const { rows } = await observer.query<{ blocks: number }>(
    `select sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))::float8 as blocks
     from pg_statio_user_tables`,
  );
  return rows[0]?.blocks ?? Number.NaN;
}

/** A session reports the last of its figures as it ends. One that a contender left open is not waited for. */
async function othersEnd(observer: Client): Promise<void> {
  const patience = AbortSignal.timeout(5_000);
  while (!patience.aborted && (await observer.query(SESSIONS_SQL)).rowCount) {
    await delay(5);
  }
}

const SESSIONS_SQL = `
  select from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid()
    and application_name <> 'company' and backend_type in ('client backend', 'parallel worker')`;
