import { countRoundTrips } from '../support/round-trips';
import { type Contender, ONE_DELETE, OTHERS, OURS, titleOf } from './contenders';
import { count, duration, percent, times } from './figures';
import { connect, type Prepared, tokens } from './laboratory';
import { blocksTouched, race, resetStatistics, runCapped, type Standing, timeOf } from './race';
import type { Bench, Section } from './section';
import { median } from './statistics';
import { REFRESH_TOKENS } from './tables';

interface Sparse {
  readonly fewDead: readonly { readonly title: string; readonly standings: readonly Standing[] }[];
  readonly noneDead: readonly Idle[];
}

/** The cost of a run that finds nothing. */
interface Idle {
  readonly contender: string;
  readonly medianMs: number;
  readonly blocks: number;
  readonly roundTrips: number;
}

const DEAD_SHARE = 0.001;
const CONTENDERS = [ONE_DELETE, ...OURS, ...OTHERS];

/** Measures runs with little to do, and with nothing. */
export const sparse: Section<Sparse> = {
  name: 'sparse',

  steps: ({ scale, chosen }) =>
    scale.rounds * chosen(CONTENDERS).length +
    (scale.rounds + 1) * chosen(CONTENDERS.slice(0, scale.laterContenders)).length,

  async run(bench) {
    const { laboratory, scale } = bench;
    const { sparseRows: rows, rounds, capMs } = scale;
    const fewDead: { title: string; standings: Standing[] }[] = [];
    const noneDead: Idle[] = [];
    for (const indexed of [false, true]) {
      const title = indexed
        ? 'with indexes on expires_at and on revoked rows'
        : 'without an index that finds dead rows';
      const state = { rows, deadShare: DEAD_SHARE, indexed };
      const prepared = await laboratory.prepare(tokens(`${percent(DEAD_SHARE)} dead, ${title}`, state));
      const contenders = bench.chosen(indexed ? CONTENDERS.slice(0, scale.laterContenders) : CONTENDERS);
      fewDead.push({ title, standings: await race(bench, prepared, contenders, { rounds, capMs }) });
      if (indexed) {
        noneDead.push(...(await findNothing(bench, prepared)));
      }
      await laboratory.discard(prepared);
    }
    return { fewDead, noneDead };
  },

  show: ({ fewDead, noneDead }, { sparseRows, capMs }) => [
    ...fewDead.map(({ title, standings }) => ({
      title: `Little to do: ${count(sparseRows)} rows, ${percent(DEAD_SHARE)} dead, ${title}`,
      head: ['', 'time', 'of one DELETE', 'blocks touched', 'of one DELETE'],
      rows: standings.map((standing) => [
        standing.contender,
        timeOf(standing, capMs),
        times(standing.medianMs / (standings[0]?.medianMs ?? Number.NaN)),
        count(blocksOf(standing.turns)),
        times(blocksOf(standing.turns) / blocksOf(standings[0]?.turns ?? [])),
      ]),
    })),
    {
      title: `Nothing to do: the same table, with indexes, no row dead`,
      head: ['', 'time', 'blocks touched', 'round trips'],
      rows: noneDead.map(({ contender, medianMs, blocks, roundTrips }) => [
        contender,
        duration(medianMs),
        count(blocks),
        count(roundTrips),
      ]),
      notes: ['Time and round trips are those of the whole run, its connections and checks included.'],
    },
  ],
};

function blocksOf(turns: Standing['turns']): number {
  return median(turns.map(({ blocks }) => blocks));
}

async function findNothing({ laboratory, scale, chosen, step }: Bench, prepared: Prepared): Promise<Idle[]> {
  const url = await laboratory.clone(prepared);
  const observer = await connect(url, 'observer');
  try {
    await observer.query(`delete from ${REFRESH_TOKENS.name} where ${REFRESH_TOKENS.dead}`);
    await observer.query('vacuum analyze');
    const found: Idle[] = [];
    for (const contender of chosen(CONTENDERS.slice(0, scale.laterContenders))) {
      step(`nothing to do: ${contender.name}`);
      const run = (address: string) => runOnce(contender, address);
      const durationsMs: number[] = [];
      for (let round = 1; round <= scale.rounds; round += 1) {
        durationsMs.push(await run(url));
      }
      await resetStatistics(observer);
      const { roundTrips } = await countRoundTrips(url, run);
      const blocks = await blocksTouched(observer);
      found.push({ contender: titleOf(contender), medianMs: median(durationsMs), blocks, roundTrips });
    }
    return found;
  } finally {
    await observer.end();
  }

  async function runOnce(contender: Contender, address: string): Promise<number> {
    const arena = { url: address, table: REFRESH_TOKENS, capMs: scale.capMs, rest: 'none' as const };
    const { durationMs, error } = await runCapped(observer, contender, arena);
    if (error !== undefined) {
      throw new Error(`${contender.name} failed with nothing to do: ${error}`);
    }
    return durationMs;
  }
}
