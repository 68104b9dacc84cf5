import { readArguments } from '../../bin/local/arguments';
import { InvalidInputError } from '../../lambda/configuration/validation';

/** How much is measured. */
export interface Scale {
  /** Rows of the tables of the throughput. */
  readonly rows: number;
  readonly deadShares: readonly number[];
  /** How many contenders work on every table but the first, which all of them have. */
  readonly laterContenders: number;
  readonly rounds: number;
  /** A contender that takes longer is stopped, and what it did until then is shown. */
  readonly capMs: number;
  /** More than elsewhere, so that what is fast lasts long enough to be felt. */
  readonly serviceRows: number;
  /** Operations of the token service a second: what it does with ease when it is alone. */
  readonly serviceRate: number;
  readonly serviceWarmUpMs: number;
  /** How long the service is at work beside a contender in a round. */
  readonly serviceCapMs: number;
  readonly serviceRounds: number;
  /** How many contenders work beside the service in the first scene, and in every other one. */
  readonly serviceContenders: number;
  readonly laterServiceContenders: number;
  readonly sparseRows: number;
  /** Dead rows, with as many live ones beside them. */
  readonly growth: readonly number[];
  /** Whether the largest table is swept once more while an old snapshot is open. */
  readonly growthWithOldSnapshot: boolean;
  readonly imports: number;
  /** Dead rows of a backlog, with as many live ones beside them, and the time of a run that is to delete them. */
  readonly backlogRows: number;
  readonly backlogRunMs: number;
  /** Whether the sections that take longer than all others are run, too. */
  readonly longSections: boolean;
  /** Schemas of one database, and databases of one server, each of a customer. */
  readonly schemas: number;
  readonly databases: number;
}

export interface Options {
  readonly scale: Scale;
  /** The sections to run; all when there are none. */
  readonly only: readonly string[];
  /** Parts of the names of the contenders to run, besides what they are compared with; all when there are none. */
  readonly contenders: readonly string[];
  readonly json: boolean;
  readonly svg?: string;
}

const ALL = Number.POSITIVE_INFINITY;

/** Takes some 50 minutes. */
const USUAL: Scale = {
  rows: 1_000_000,
  deadShares: [0.5, 0.05],
  laterContenders: 5,
  rounds: 3,
  capMs: 6_000,
  serviceRows: 2_000_000,
  serviceRate: 300,
  serviceWarmUpMs: 3_000,
  serviceCapMs: 30_000,
  serviceRounds: 1,
  serviceContenders: ALL,
  laterServiceContenders: ALL,
  sparseRows: 2_000_000,
  growth: [100_000, 1_000_000],
  growthWithOldSnapshot: false,
  imports: 7,
  backlogRows: 10_000_000,
  backlogRunMs: 900_000,
  longSections: false,
  schemas: 5_000,
  databases: 200,
};

/** Takes hours. */
const LARGE: Scale = {
  ...USUAL,
  deadShares: [0.05, 0.5, 0.95],
  laterContenders: ALL,
  rounds: 3,
  capMs: 60_000,
  serviceRows: 4_000_000,
  serviceRounds: 2,
  laterServiceContenders: ALL,
  sparseRows: 5_000_000,
  growth: [100_000, 1_000_000, 10_000_000],
  growthWithOldSnapshot: true,
  imports: 15,
  longSections: true,
  databases: 1_000,
};

/** Goes the same ways in two or three minutes. */
const QUICK: Scale = {
  ...USUAL,
  rows: 10_000,
  laterContenders: 2,
  capMs: 1_500,
  serviceRows: 20_000,
  serviceRate: 100,
  serviceWarmUpMs: 200,
  serviceCapMs: 400,
  serviceContenders: 3,
  sparseRows: 50_000,
  growth: [10_000],
  imports: 2,
  backlogRows: 10_000,
  backlogRunMs: 3_000,
  longSections: true,
  schemas: 200,
  databases: 20,
};

export function help(sections: readonly string[]): string {
  return `Usage: npm run bench -- [options]

Compares this project with one DELETE and with what people use today, on an
embedded PostgreSQL that is thrown away afterwards. It takes some 50 minutes
and 5 GB of disk, on a machine of two cores that does nothing else.

All figures, the picture and a file to read by machine in one run:

  npm run --silent bench -- --json --svg test/bench/service.svg > figures.json

  --quick           goes the same ways with little data, in two or three
                    minutes; its figures mean nothing
  --large           has every contender on every table, and up to 10,000,000
                    dead rows; takes hours, and 20 GB of disk. It includes the
                    section backlog, which --only runs alone in about half an
                    hour
  --rows N          rows of the tables of the section throughput
                    [default: ${USUAL.rows}]
  --rounds N        how often each contender has its turn
                    [default: ${USUAL.rounds}, and ${USUAL.serviceRounds} in the section service, or with --large ${LARGE.serviceRounds}]
  --only SECTION    runs one section, may be repeated:
                    ${sections.join(', ')}
  --contender TEXT  runs those whose names hold TEXT, and what they are compared
                    with; may be repeated
  --svg FILE        writes the picture of the section service
  --json            prints one JSON document of all figures on stdout, and all
                    else on stderr; npm adds lines of its own unless run as
                    npm run --silent bench -- --json
  --help            shows this

Exit code: 0 measured; 1 this project left a wrong result, or the benchmark
failed; 2 an option is wrong; 130 interrupted.
`;
}

/**
 * Reads the command line.
 *
 * @throws InvalidInputError with every mistake in the values, or the first one in the syntax
 */
export function parseOptions(args: readonly string[], sections: readonly string[]): Options | 'help' {
  const values = readArguments(args, OPTIONS, 'use --only SECTION for a section');
  if (values.help) {
    return 'help';
  }
  const mistakes: string[] = [];
  const wholeNumber = (name: 'rows' | 'rounds', least: number) => {
    const text = values[name];
    if (text !== undefined && !(/^\d+$/.test(text) && Number(text) >= least)) {
      mistakes.push(`--${name} must be a whole number, at least ${least}, got ${JSON.stringify(text)}`);
    }
    return text === undefined ? undefined : Number(text);
  };
  const base = values.quick ? QUICK : values.large ? LARGE : USUAL;
  const rounds = wholeNumber('rounds', 1);
  const scale = {
    ...base,
    rows: wholeNumber('rows', 1_000) ?? base.rows,
    rounds: rounds ?? base.rounds,
    serviceRounds: rounds ?? base.serviceRounds,
  };
  const { only = [], contender = [], svg, json = false } = values;
  for (const name of only.filter((section) => !sections.includes(section))) {
    mistakes.push(`--only must be one of ${sections.join(', ')}, got ${JSON.stringify(name)}`);
  }
  if (values.quick && values.large) {
    mistakes.push('--quick and --large exclude each other');
  }
  if (svg === '') {
    mistakes.push('--svg needs the name of a file');
  } else if (svg !== undefined && only.length > 0 && !only.includes('service')) {
    mistakes.push('--svg shows the section service, which --only leaves out');
  }
  if (mistakes.length > 0) {
    throw new InvalidInputError(mistakes);
  }
  return { scale, only, contenders: contender, json, ...(svg !== undefined && { svg }) };
}

const OPTIONS = {
  quick: { type: 'boolean' },
  large: { type: 'boolean' },
  rows: { type: 'string' },
  rounds: { type: 'string' },
  only: { type: 'string', multiple: true },
  contender: { type: 'string', multiple: true },
  svg: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;
