import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { type Contender, ONE_DELETE, OTHERS, OURS, titleOf } from './contenders';
import { count, digits, duration, times, timesOf } from './figures';
import { connect, type Prepared } from './laboratory';
import { runCapped } from './race';
import type { Bench, Section } from './section';
import { ServiceLoad } from './service-load';
import { median, percentile } from './statistics';
import { census, fillTokens, REFRESH_TOKENS } from './tables';

/** What the token service felt beside one contender: medians of the rounds, and the worst of all. */
export interface Felt {
  readonly name: string;
  readonly contender: string;
  readonly ours: boolean;
  readonly operations: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** p99 as a multiple of what it is alone: of the medians, and the least and the most of a round. */
  readonly p99Ratio: number;
  readonly p99Ratios: readonly [number, number];
  /** Of the service and of the contender. */
  readonly deadlocks: number;
  /** The longest that an operation of the service waited for a lock, as far as looking 20 times a second shows it. */
  readonly longestLockWaitMs: number;
  readonly rowsPerSecond: number;
  /** Rows per second as a multiple of one DELETE. */
  readonly ratio: number;
  /** Whether the contender was done in the time that it had. */
  readonly finished: boolean;
  /** What is wrong with the result; absent when nothing is. */
  readonly wrong?: string;
}

const DEAD_SHARE = 0.5;
const LOOK_INTERVAL_MS = 50;

export const NOBODY: Contender = {
  name: 'nobody',
  detail: 'the service alone',
  run: async ({ signal }) => {
    await once(signal, 'abort');
    return undefined;
  },
};

const CONTENDERS = [NOBODY, ONE_DELETE, ...OURS, ...OTHERS];

/** What a token service feels of each contender. */
export const service: Section<readonly Felt[]> = {
  name: 'service',

  steps: ({ scale, chosen }) => scale.rounds * chosen(CONTENDERS).length,

  async run(bench) {
    const { laboratory, scale, chosen, step, blame } = bench;
    const prepared = await laboratory.prepare({
      title: 'beside a token service',
      table: REFRESH_TOKENS,
      fill: (client) => fillTokens(client, { rows: scale.serviceRows, deadShare: DEAD_SHARE, indexed: true }),
    });
    const turns = new Map(chosen(CONTENDERS).map((contender) => [contender, [] as Turn[]]));
    for (let round = 1; round <= scale.rounds; round += 1) {
      for (const [contender, its] of turns) {
        step(contender.name);
        const turn = await takeTurn(bench, prepared, contender);
        its.push(turn);
        if (contender.ours && turn.wrong) {
          blame(`${contender.name}, beside a token service: ${turn.wrong}`);
        }
      }
    }
    await laboratory.discard(prepared);
    const alone = (turns.get(NOBODY) ?? []).map(p99);
    const oneDelete = rate(turns.get(ONE_DELETE) ?? []);
    return [...turns].map(([contender, its]) => feltBeside(contender, its, alone, oneDelete));
  },

  show: (felt, { serviceRows, serviceRate, serviceCapMs }) => [
    {
      title: `What a token service feels: ${count(serviceRate)} operations a second, ${count(serviceRows)} rows, half of them dead`,
      head: [
        'beside',
        'p50',
        'p99',
        'p99, of alone',
        'max',
        'lock wait',
        'deadlocks',
        'rows a second',
        'of one DELETE',
      ],
      rows: felt.map((its, index) => [
        its.contender,
        duration(its.p50Ms),
        duration(its.p99Ms),
        timesOf(its.p99Ratio, its.p99Ratios),
        duration(its.maxMs),
        duration(its.longestLockWaitMs),
        count(its.deadlocks),
        index === 0 ? '' : count(its.rowsPerSecond),
        index === 0 ? '' : its.wrong ? `wrong: ${its.wrong}` : `${times(its.ratio)}${its.finished ? '' : ' *'}`,
      ]),
      notes: [
        `Latency counts from when an operation was due. River rests between its batches, as it does in production.`,
        `* stopped after ${digits(serviceCapMs / 1_000)} s`,
      ],
    },
  ],
};

interface Turn {
  readonly latenciesMs: readonly number[];
  readonly durationMs: number;
  readonly rowsDeleted: number;
  readonly deadlocks: number;
  readonly longestLockWaitMs: number;
  readonly finished: boolean;
  readonly wrong?: string;
}

async function takeTurn({ laboratory, scale }: Bench, prepared: Prepared, contender: Contender): Promise<Turn> {
  const { course, before } = prepared;
  const url = await laboratory.clone(prepared);
  const observer = await connect(url, 'observer');
  const load = await ServiceLoad.start({
    url,
    rows: scale.serviceRows,
    rate: scale.serviceRate,
    warmUpMs: scale.serviceWarmUpMs,
  });
  try {
    const locks = new LockWatch(await connect(url, 'observer'));
    load.begin();
    const capMs = contender === NOBODY ? scale.serviceAloneMs : scale.serviceCapMs;
    const { durationMs, stopped, error } = await runCapped(observer, contender, {
      url,
      ...course,
      capMs,
      pauses: true,
    });
    const felt = await load.end();
    const longestLockWaitMs = await locks.stop();
    const after = await census(observer, course.table);
    const { rows } = await observer.query<{ deadlocks: number }>(
      'select deadlocks::float8 from pg_stat_database where datname = current_database()',
    );
    const finished = !stopped || after.dead <= felt.revoked;
    const wrong =
      felt.errors[0] ??
      error ??
      (after.live !== before.live + felt.liveChange
        ? 'live rows are gone'
        : after.dead > felt.revoked && !stopped
          ? `${after.dead - felt.revoked} dead rows are left`
          : undefined);
    return {
      latenciesMs: felt.latenciesMs,
      durationMs,
      rowsDeleted: before.dead + felt.revoked - after.dead,
      deadlocks: Math.max(felt.deadlocks, rows[0]?.deadlocks ?? 0),
      longestLockWaitMs,
      finished,
      ...(wrong !== undefined && { wrong }),
    };
  } finally {
    load.stop();
    await observer.end();
  }
}

/** Watches for how long the service waits for locks. */
class LockWatch {
  readonly #client: Client;
  readonly #watching: Promise<void>;
  #stopped = false;
  #longestMs = 0;

  constructor(client: Client) {
    this.#client = client;
    this.#watching = this.#watch();
  }

  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#watching;
    await this.#client.end();
    return this.#longestMs;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const { rows } = await this.#client.query<{ ms: number | null }>(
        `select max(extract(epoch from clock_timestamp() - waitstart) * 1000)::float8 as ms
         from pg_locks join pg_stat_activity using (pid)
         where not granted and application_name = 'token-service'`,
      );
      this.#longestMs = Math.max(this.#longestMs, rows[0]?.ms ?? 0);
      await delay(LOOK_INTERVAL_MS);
    }
  }
}

function feltBeside(contender: Contender, turns: readonly Turn[], alone: readonly number[], oneDelete: number): Felt {
  const p99s = turns.map(p99);
  const ratios = p99s.map((ms, round) => ms / (alone[round] ?? Number.NaN));
  const wrong = turns.find((turn) => turn.wrong)?.wrong;
  return {
    name: contender.name,
    contender: titleOf(contender),
    ours: contender.ours ?? false,
    operations: turns.reduce((sum, { latenciesMs }) => sum + latenciesMs.length, 0),
    p50Ms: median(turns.map(({ latenciesMs }) => median(latenciesMs))),
    p99Ms: median(p99s),
    maxMs: Math.max(...turns.flatMap(({ latenciesMs }) => latenciesMs)),
    p99Ratio: median(p99s) / median(alone),
    p99Ratios: [Math.min(...ratios), Math.max(...ratios)],
    deadlocks: turns.reduce((sum, { deadlocks }) => sum + deadlocks, 0),
    longestLockWaitMs: Math.max(...turns.map(({ longestLockWaitMs }) => longestLockWaitMs)),
    rowsPerSecond: rate(turns),
    ratio: rate(turns) / oneDelete,
    finished: turns.every(({ finished }) => finished),
    ...(wrong !== undefined && { wrong }),
  };
}

function p99({ latenciesMs }: Turn): number {
  return percentile(latenciesMs, 99);
}

function rate(turns: readonly Turn[]): number {
  return median(turns.map(({ rowsDeleted, durationMs }) => (1_000 * rowsDeleted) / durationMs));
}
