import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { type Arena, BY_DEFAULT, type Contender, ONE_DELETE, OTHERS, OURS, titleOf } from './contenders';
import { count, digits, duration, timesOf } from './figures';
import { connect, type Prepared } from './laboratory';
import { runCapped } from './race';
import type { Bench, Section } from './section';
import { ServiceLoad } from './service-load';
import { median, percentile } from './statistics';
import { census, fillTokens, REFRESH_TOKENS } from './tables';

/** A load of the service, and how contenders work beside it. */
export interface Scene {
  readonly title: string;
  /** Operations of the service a second. */
  readonly operationsPerSecond: number;
  readonly felt: readonly Felt[];
}

/** The latency of the token service beside one contender: medians of the rounds, and the worst of all. */
export interface Felt {
  readonly name: string;
  readonly contender: string;
  readonly ours: boolean;
  readonly operations: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
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
  /** Whether the contender was done in the time that it had. */
  readonly finished: boolean;
  /** The mistake in the result; absent if there is none. */
  readonly wrong?: string;
}

const DEAD_SHARE = 0.5;
const LOOK_INTERVAL_MS = 50;

/** Of the operations that a service gets done when it is alone: near saturation, and stable. */
const HIGH_LOAD = 0.7;

export const NOBODY: Contender = {
  name: 'nobody',
  detail: 'the service alone',
  run: async ({ signal }) => {
    await once(signal, 'abort');
    return undefined;
  },
};

/** Four connections have no place beside a service: the throughput shows them. */
const CONTENDERS = [NOBODY, ONE_DELETE, ...OURS.slice(0, 3), ...OTHERS];
const AT_EQUAL_RATES = [NOBODY, BY_DEFAULT, ...OTHERS.filter(({ batched }) => batched)];
const WITH_AUTOVACUUM = [NOBODY, ONE_DELETE, BY_DEFAULT];

/** A shorter time does not show the capacity. */
const LEAST_CAPACITY_MS = 1_000;

/** The speed of slowed-down contenders if this project is not among them. */
const FALLBACK_ROWS_PER_SECOND = 10_000;

/** Measures a token service beside each contender. */
export const service: Section<readonly Scene[]> = {
  name: 'service',

  steps: ({ scale, chosen }) => {
    const first = CONTENDERS.slice(0, scale.serviceContenders);
    const later = [AT_EQUAL_RATES, WITH_AUTOVACUUM, CONTENDERS].map((all) =>
      all.slice(0, scale.laterServiceContenders),
    );
    return 1 + scale.serviceRounds * chosen([...first, ...later.flat()]).length;
  },

  async run(bench) {
    const { laboratory, scale, step } = bench;
    const prepared = await laboratory.prepare({
      title: 'beside a token service',
      table: REFRESH_TOKENS,
      fill: (client) => fillTokens(client, { rows: scale.serviceRows, deadShare: DEAD_SHARE, indexed: true }),
    });
    const rate = scale.serviceRate;
    const some = (contenders: readonly Contender[]) => contenders.slice(0, scale.laterServiceContenders);
    const usual = await play(bench, prepared, 'at their usual settings', {
      contenders: CONTENDERS.slice(0, scale.serviceContenders),
      rate,
    });
    const rowsPerSecond =
      usual.felt.find(({ name }) => name === BY_DEFAULT.name)?.rowsPerSecond || FALLBACK_ROWS_PER_SECOND;
    const scenes = [
      usual,
      await play(bench, prepared, `at ${count(rowsPerSecond)} rows a second`, {
        contenders: some(AT_EQUAL_RATES),
        rate,
        rest: { rowsPerSecond },
      }),
      await play(bench, prepared, 'with autovacuum', {
        contenders: some(WITH_AUTOVACUUM),
        rate,
        autovacuum: true,
      }),
    ];
    step('the most that the service gets done');
    const highRate = Math.max(1, Math.round(HIGH_LOAD * (await capacity(bench, prepared))));
    scenes.push(await play(bench, prepared, 'near saturation', { contenders: some(CONTENDERS), rate: highRate }));
    await laboratory.discard(prepared);
    return scenes;
  },

  show: (scenes, { serviceRows, serviceCapMs }) =>
    scenes.map(({ title, operationsPerSecond, felt }) => ({
      title:
        `What a token service feels, ${title}: ${count(operationsPerSecond)} operations a second, ` +
        `${count(serviceRows)} rows, half of them dead`,
      head: ['beside', 'p50', 'p95', 'p99', 'p99, of alone', 'max', 'lock wait', 'deadlocks', 'rows a second'],
      rows: felt.map((its, index) => [
        its.contender,
        duration(its.p50Ms),
        duration(its.p95Ms),
        duration(its.p99Ms),
        timesOf(its.p99Ratio, its.p99Ratios),
        duration(its.maxMs),
        duration(its.longestLockWaitMs),
        count(its.deadlocks),
        index === 0 ? '' : its.wrong ? `wrong: ${its.wrong}` : `${count(its.rowsPerSecond)}${its.finished ? '' : ' *'}`,
      ]),
      notes: [
        'Latency counts from when an operation was due. River rests between its batches, as it does in production.',
        `Each round lasts ${digits(serviceCapMs / 1_000)} s; who is done sooner begins again on a fresh copy. * not done in that time`,
      ],
    })),
};

interface Part {
  readonly contenders: readonly Contender[];
  readonly rate: number;
  readonly rest?: Arena['rest'];
  readonly autovacuum?: boolean;
}

async function play(bench: Bench, prepared: Prepared, title: string, part: Part): Promise<Scene> {
  const { scale, chosen, step, blame } = bench;
  const rounds = new Map(chosen(part.contenders).map((contender) => [contender, [] as Turn[]]));
  for (let round = 1; round <= scale.serviceRounds; round += 1) {
    for (const [contender, its] of rounds) {
      step(`${title}: ${contender.name}`);
      const turn = await takeRound(bench, prepared, contender, part);
      its.push(turn);
      if (contender.ours && turn.wrong) {
        blame(`${contender.name}, beside a token service, ${title}: ${turn.wrong}`);
      }
    }
  }
  const alone = (rounds.get(NOBODY) ?? []).map((turn) => percentile(turn.latenciesMs, 99));
  return {
    title,
    operationsPerSecond: part.rate,
    felt: [...rounds].map(([contender, turns]) => feltBeside(contender, turns, alone)),
  };
}

/** Takes turns until the service has been at work for long enough beside them. */
async function takeRound(bench: Bench, prepared: Prepared, contender: Contender, part: Part): Promise<Turn> {
  const turns: Turn[] = [];
  let leftMs = bench.scale.serviceCapMs;
  while (leftMs > 0 && !turns.some(({ wrong }) => wrong)) {
    const turn = await takeTurn(bench, prepared, contender, part, leftMs);
    turns.push(turn);
    leftMs -= turn.durationMs;
  }
  const wrong = turns.find((turn) => turn.wrong)?.wrong;
  const sum = (value: (turn: Turn) => number) => turns.reduce((total, turn) => total + value(turn), 0);
  return {
    latenciesMs: turns.flatMap(({ latenciesMs }) => latenciesMs),
    durationMs: sum(({ durationMs }) => durationMs),
    rowsDeleted: sum(({ rowsDeleted }) => rowsDeleted),
    deadlocks: sum(({ deadlocks }) => deadlocks),
    longestLockWaitMs: Math.max(...turns.map(({ longestLockWaitMs }) => longestLockWaitMs)),
    finished: turns.some(({ finished }) => finished),
    ...(wrong !== undefined && { wrong }),
  };
}

/** How many operations a second the service gets done when it is alone. */
async function capacity({ laboratory, scale }: Bench, prepared: Prepared): Promise<number> {
  const url = await laboratory.clone(prepared);
  const load = await ServiceLoad.start({
    url,
    rows: scale.serviceRows,
    rate: 'unlimited',
    warmUpMs: scale.serviceWarmUpMs,
  });
  try {
    load.begin();
    const startedAt = performance.now();
    await delay(Math.max(LEAST_CAPACITY_MS, scale.serviceCapMs / 3));
    const { latenciesMs } = await load.end();
    return (1_000 * latenciesMs.length) / (performance.now() - startedAt);
  } finally {
    load.stop();
  }
}

interface Turn {
  readonly latenciesMs: readonly number[];
  readonly durationMs: number;
  readonly rowsDeleted: number;
  readonly deadlocks: number;
  readonly longestLockWaitMs: number;
  readonly finished: boolean;
  readonly wrong?: string;
}

async function takeTurn(
  { laboratory, scale }: Bench,
  prepared: Prepared,
  contender: Contender,
  { rate, rest = 'usual', autovacuum = false }: Part,
  capMs: number,
): Promise<Turn> {
  const { course, before } = prepared;
  const url = await laboratory.clone(prepared);
  await laboratory.setAutovacuum(autovacuum);
  const observer = await connect(url, 'observer');
  const load = await ServiceLoad.start({
    url,
    rows: scale.serviceRows,
    rate,
    warmUpMs: scale.serviceWarmUpMs,
  });
  try {
    const locks = new LockWatch(await connect(url, 'observer'));
    load.begin();
    const { durationMs, stopped, error } = await runCapped(observer, contender, {
      url,
      ...course,
      capMs,
      rest,
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
    await laboratory.setAutovacuum(false);
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

function feltBeside(contender: Contender, rounds: readonly Turn[], alone: readonly number[]): Felt {
  const at = (percent: number) => rounds.map(({ latenciesMs }) => percentile(latenciesMs, percent));
  const ratios = at(99).map((ms, round) => ms / (alone[round] ?? Number.NaN));
  const wrong = rounds.find((round) => round.wrong)?.wrong;
  return {
    name: contender.name,
    contender: titleOf(contender),
    ours: contender.ours ?? false,
    operations: rounds.reduce((sum, { latenciesMs }) => sum + latenciesMs.length, 0),
    p50Ms: median(at(50)),
    p95Ms: median(at(95)),
    p99Ms: median(at(99)),
    maxMs: Math.max(...at(100)),
    p99Ratio: median(at(99)) / median(alone),
    p99Ratios: [Math.min(...ratios), Math.max(...ratios)],
    deadlocks: rounds.reduce((sum, { deadlocks }) => sum + deadlocks, 0),
    longestLockWaitMs: Math.max(...rounds.map(({ longestLockWaitMs }) => longestLockWaitMs)),
    rowsPerSecond: median(rounds.map(({ rowsDeleted, durationMs }) => (1_000 * rowsDeleted) / durationMs)),
    finished: rounds.every(({ finished }) => finished),
    ...(wrong !== undefined && { wrong }),
  };
}
