import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type Circumstances, type Turn, takeTurn } from './beside-service';
import { BY_DEFAULT, type Contender, ONE_DELETE, OTHERS, OURS, titleOf } from './contenders';
import { count, digits, duration, timesOf } from './figures';
import { type Prepared, tokens } from './laboratory';
import type { Bench, Section } from './section';
import { ServiceLoad } from './service-load';
import { median, percentile } from './statistics';

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

/**
 * Of the operations that a service gets done when it is alone: near saturation, and stable. At 0.7, measured in a fast
 * moment of the machine, a service did not keep up even when it was alone.
 */
const HIGH_LOAD = 0.6;

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
    const prepared = await laboratory.prepare(tokens('beside a token service', { rows: scale.serviceRows }));
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
      head: ['beside', ...LATENCIES, 'lock wait', 'deadlocks', 'rows a second'],
      rows: felt.map((its, index) => [
        its.contender,
        ...latenciesOf(its),
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

export const LATENCIES = ['p50', 'p95', 'p99', 'p99, of alone', 'max'];

export function latenciesOf({ p50Ms, p95Ms, p99Ms, p99Ratio, p99Ratios, maxMs }: Felt): string[] {
  return [duration(p50Ms), duration(p95Ms), duration(p99Ms), timesOf(p99Ratio, p99Ratios), duration(maxMs)];
}

interface Part extends Circumstances {
  readonly contenders: readonly Contender[];
}

/** Lets contenders take turns beside the service. */
export async function play(bench: Bench, prepared: Prepared, title: string, part: Part): Promise<Scene> {
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
