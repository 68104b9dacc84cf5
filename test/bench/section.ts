import type { Bundle } from './bundle';
import type { Contender } from './contenders';
import type { Laboratory } from './laboratory';
import type { Scale } from './options';

/** One of the questions that the benchmark answers. */
export interface Section<Result> {
  readonly name: string;
  /** Whether it runs only with --large, with --quick or if it is named. */
  readonly isLong?: boolean;
  /** How many steps it takes. */
  readonly steps: (bench: Pick<Bench, 'scale' | 'chosen'>) => number;
  /** The results, as JSON. */
  readonly run: (bench: Bench) => Promise<Result>;
  readonly show: (result: Result, scale: Scale) => readonly Figures[];
}

/** The tools of a section. */
export interface Bench {
  readonly laboratory: Laboratory;
  readonly scale: Scale;
  /** The function as it is deployed, bundled once. */
  readonly bundle: () => Promise<Bundle>;
  /** Leaves out who is not to run. */
  readonly chosen: (contenders: readonly Contender[]) => readonly Contender[];
  /** Says what is done next. */
  readonly step: (what: string) => void;
  /** Notes a wrong result, so that the benchmark fails. */
  readonly blame: (fault: string) => void;
}

/** A table of results. */
export interface Figures {
  readonly title: string;
  readonly head: readonly string[];
  /** The first cell of each row names it. */
  readonly rows: readonly (readonly string[])[];
  readonly notes?: readonly string[];
}
