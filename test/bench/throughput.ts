import { type Contender, ONE_DELETE, OTHERS, OURS } from './contenders';
import { count, digits, percent, times, timesOf } from './figures';
import { type Course, tokens } from './laboratory';
import { PEERS } from './peers';
import { type Company, race, type Standing, type TurnOptions } from './race';
import type { Figures, Section } from './section';
import { fillProtectedTokens, PROTECTED_TOKENS } from './tables';

interface Heat {
  readonly title: string;
  readonly group: string;
  readonly rows: number;
  readonly standings: readonly Standing[];
}

const TOKEN_CONTENDERS = [ONE_DELETE, ...OURS, ...OTHERS];
const peerContenders = (peer: Contender) => [ONE_DELETE, peer, ...OURS];
const PROTECTED_CONTENDERS = [ONE_DELETE, ...OURS];
/** Checking a key for each row takes so long that fewer rows will do. */
const PROTECTED_SHARE = 0.2;
const protectedCourse = (rows: number): Course => ({
  title: 'a tenth of which is protected by a foreign key',
  table: PROTECTED_TOKENS,
  fill: (client) => fillProtectedTokens(client, rows),
});
const COMPANIES: readonly Company[] = ['old snapshot', 'a writer'];
/** Half of the rows of the peers' tables are dead. */
const PEER_SHARE = 0.5;

/** How many rows a second each contender deletes, on tables of all kinds. */
export const throughput: Section<readonly Heat[]> = {
  name: 'throughput',

  steps: ({ scale: { deadShares, rounds, laterContenders }, chosen }) => {
    const some = (contenders: readonly Contender[]) => chosen(contenders.slice(0, laterContenders)).length;
    return (
      rounds *
      (chosen(TOKEN_CONTENDERS).length +
        (2 * deadShares.length + COMPANIES.length - 1) * some(TOKEN_CONTENDERS) +
        some(PROTECTED_CONTENDERS) +
        PEERS.reduce((sum, { contender }) => sum + some(peerContenders(contender)), 0))
    );
  },

  async run(bench) {
    const { laboratory, scale } = bench;
    const { rows, rounds, capMs, laterContenders } = scale;
    const some = (contenders: readonly Contender[]) => bench.chosen(contenders.slice(0, laterContenders));
    const heats: Heat[] = [];
    for (const indexed of [false, true]) {
      const group = indexed
        ? 'with indexes on expires_at and on revoked rows'
        : 'without an index that finds dead rows';
      for (const deadShare of scale.deadShares) {
        const title = `${percent(deadShare)} dead`;
        const prepared = await laboratory.prepare(tokens(`${title}, ${group}`, { rows, deadShare, indexed }));
        const run = (options: Pick<TurnOptions, 'company'> = {}) =>
          race(bench, prepared, heats.length === 0 ? bench.chosen(TOKEN_CONTENDERS) : some(TOKEN_CONTENDERS), {
            rounds,
            capMs,
            ...options,
          });
        heats.push({ title, group, rows, standings: await run() });
        for (const company of indexed && deadShare === 0.5 ? COMPANIES : []) {
          heats.push({ title: `${title}, ${company}`, group, rows, standings: await run({ company }) });
        }
        await laboratory.discard(prepared);
      }
    }
    const courses = [
      {
        course: protectedCourse(rows * PROTECTED_SHARE),
        rows: rows * PROTECTED_SHARE,
        contenders: PROTECTED_CONTENDERS,
      },
      ...PEERS.map(({ contender, course }) => ({
        course: course(rows, PEER_SHARE),
        rows,
        contenders: peerContenders(contender),
      })),
    ];
    for (const { course, rows, contenders } of courses) {
      const prepared = await laboratory.prepare(course);
      const standings = await race(bench, prepared, some(contenders), { rounds, capMs });
      heats.push({ title: `${percent(PEER_SHARE)} dead`, group: course.title, rows, standings });
      await laboratory.discard(prepared);
    }
    return heats;
  },

  show(heats, { capMs }) {
    const groups = [...new Set(heats.map(({ group }) => group))];
    return groups.map((group): Figures => {
      const its = heats.filter((heat) => heat.group === group);
      return {
        title: `Throughput, ${count(its[0]?.rows ?? 0)} rows ${group}`,
        head: ['rows a second, as a multiple of one DELETE', ...its.map(({ title }) => title)],
        rows: (its[0]?.standings ?? []).map(({ contender }, index) => [
          contender,
          ...its.map(({ standings }) => cell(standings[index], index === 0, capMs)),
        ]),
        notes: ['Without settings, this project sees a writer and works 5 % of the time beside it.'],
      };
    });
  },
};

function cell(standing: Standing | undefined, isBaseline: boolean, capMs: number): string {
  if (!standing) {
    return '';
  }
  const { turns, ratio, ratios, rowsPerSecond } = standing;
  const wrong = turns.find((turn) => turn.wrong);
  if (wrong) {
    return `wrong: ${wrong.wrong}`;
  }
  const capped = turns.find((turn) => turn.capped);
  if (capped) {
    const least = `> ${digits(capMs / 1_000)} s (${percent(capped.done)} done)`;
    return Number.isFinite(ratio) ? `${least}, < ${times(ratio)}` : least;
  }
  return isBaseline ? `${times(ratio)} (${count(rowsPerSecond)}/s)` : timesOf(ratio, ratios);
}
