import { takeTurn } from './beside-service';
import { ours } from './contenders';
import { count, digits, duration, percent, times } from './figures';
import { tokens } from './laboratory';
import type { Section } from './section';
import { NOBODY } from './service';
import { percentile } from './statistics';

interface Backlog {
  readonly durationMs: number;
  readonly rowsDeleted: number;
  /** Of the dead rows. */
  readonly done: number;
  readonly aloneP99Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** What the service feels of one run on Lambda over a table with years of dead rows, at the automatic pace. */
export const backlog: Section<Backlog> = {
  name: 'backlog',
  isLong: true,

  steps: () => 2,

  async run({ laboratory, scale, step, blame }) {
    const { backlogRows, backlogRunMs, serviceRate: rate } = scale;
    const bench = { laboratory, scale: { ...scale, serviceRows: 2 * backlogRows } };
    const prepared = await laboratory.prepare(tokens('a backlog', { rows: 2 * backlogRows }));
    step('the service alone');
    const alone = await takeTurn(bench, prepared, NOBODY, { rate }, scale.serviceCapMs);
    step('a run beside it');
    const contender = ours('this project', {}, undefined, backlogRunMs);
    const turn = await takeTurn(bench, prepared, contender, { rate }, 2 * backlogRunMs);
    if (turn.wrong && !turn.wrong.endsWith('dead rows are left')) {
      blame(`a backlog: ${turn.wrong}`);
    }
    await laboratory.discard(prepared);
    return {
      durationMs: turn.durationMs,
      rowsDeleted: turn.rowsDeleted,
      done: Math.min(1, turn.rowsDeleted / prepared.before.dead),
      aloneP99Ms: percentile(alone.latenciesMs, 99),
      p99Ms: percentile(turn.latenciesMs, 99),
      maxMs: percentile(turn.latenciesMs, 100),
    };
  },

  show: ({ durationMs, rowsDeleted, done, aloneP99Ms, p99Ms, maxMs }, { backlogRows, backlogRunMs, serviceRate }) => [
    {
      title:
        `A backlog of ${count(backlogRows)} dead rows, in one run of at most ${digits(backlogRunMs / 60_000)} minutes ` +
        `beside a token service: ${count(serviceRate)} operations a second`,
      head: ['', 'took', 'rows deleted', 'p99', 'p99, of alone', 'max'],
      rows: [
        [
          'this project',
          duration(durationMs),
          `${count(rowsDeleted)} (${percent(done)})`,
          duration(p99Ms),
          times(p99Ms / aloneP99Ms),
          duration(maxMs),
        ],
      ],
    },
  ],
};
