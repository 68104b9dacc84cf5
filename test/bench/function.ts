import { count, duration, megabytes } from './figures';
import { tokens } from './laboratory';
import type { Section } from './section';
import { median } from './statistics';

interface FunctionFigures {
  readonly bytes: number;
  readonly zippedBytes: number;
  /** The time to import it, less that of importing nothing. */
  readonly importMs: number;
  /** Of processes that delete all dead rows, and of one that finds none. */
  readonly peakBytes: number;
  readonly peakIdleBytes: number;
  readonly rows: number;
}

const MOST_ROWS = 200_000;

/** The size of the function. */
export const lambdaFunction: Section<FunctionFigures> = {
  name: 'function',

  steps: ({ scale }) => scale.imports + 2,

  async run(bench) {
    const { laboratory, scale, step } = bench;
    const rows = Math.min(scale.rows, MOST_ROWS);
    const bundle = await bench.bundle();
    const [imports, nothing]: [number[], number[]] = [[], []];
    for (let i = 0; i < scale.imports; i += 1) {
      step('import');
      imports.push(await bundle.importMs('function'));
      nothing.push(await bundle.importMs('nothing'));
    }
    const prepared = await laboratory.prepare(tokens('memory', { rows }));
    const url = await laboratory.clone(prepared);
    step('memory');
    const busy = await bundle.invoke({ maxLoad: 1 }, url);
    step('memory, nothing to do');
    const idle = await bundle.invoke({}, url);
    await laboratory.discard(prepared);
    for (const { report } of [busy, idle]) {
      if (report.status !== 'succeeded') {
        throw new Error(`the function says ${report.status}: ${report.error}`);
      }
    }
    return {
      bytes: bundle.bytes,
      zippedBytes: bundle.zippedBytes,
      importMs: median(imports) - median(nothing),
      peakBytes: busy.peakBytes,
      peakIdleBytes: idle.peakBytes,
      rows,
    };
  },

  show: ({ bytes, zippedBytes, importMs, peakBytes, peakIdleBytes, rows }) => [
    {
      title: 'The function',
      head: ['', ''],
      rows: [
        ['code', `${count(bytes / 1e3)} kB`],
        ['zipped', `${count(zippedBytes / 1e3)} kB`],
        ['import, over importing nothing', duration(importMs)],
        [`peak memory, ${count(rows)} rows, half of them dead`, megabytes(peakBytes)],
        ['peak memory, nothing to do', megabytes(peakIdleBytes)],
      ],
    },
  ],
};
