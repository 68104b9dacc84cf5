import { writeFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { Terminal } from '../../bin/local/terminal';
import { InvalidInputError } from '../../lambda/configuration/validation';
import { describeError } from '../../lambda/database/database-error';
import { backlog } from './backlog';
import { Bundle } from './bundle';
import { type Contender, ONE_DELETE, titleOf } from './contenders';
import { erasure } from './erasure';
import { lambdaFunction } from './function';
import { growth } from './growth';
import { Laboratory, SETTINGS } from './laboratory';
import { help, type Options, parseOptions } from './options';
import { drawService } from './picture';
import type { Bench, Figures, Section } from './section';
import { NOBODY, type Scene, service } from './service';
import { sparse } from './sparse';
import { tenants } from './tenants';
import { throughput } from './throughput';

// biome-ignore lint/suspicious/noExplicitAny: each section shows what it found itself
const SECTIONS: readonly Section<any>[] = [
  throughput,
  service,
  sparse,
  growth,
  erasure,
  tenants,
  lambdaFunction,
  backlog,
];
const SECTION_NAMES = SECTIONS.map(({ name }) => name);

const FAILED = 1;
const WRONG_OPTION = 2;
const INTERRUPTED = 130;

/** The log of a run that takes minutes needs a line now and then. */
const PLAIN_INTERVAL_MS = 5_000;

/** Runs the sections, one after the other. */
async function run({ scale, only, contenders, json, svg }: Options): Promise<number> {
  const terminal = new Terminal(json ? process.stderr : process.stdout, { plainIntervalMs: PLAIN_INTERVAL_MS });
  const faults: string[] = [];
  const results: Record<string, unknown> = {};
  let bundle: Promise<Bundle> | undefined;
  let showStep: Bench['step'] = () => {};
  const laboratory = await Laboratory.start();
  try {
    const machine = await describeMachine(laboratory);
    terminal.say(
      Object.entries(machine)
        .map(([name, value]) => `${name}: ${value}`)
        .join('\n'),
    );
    const bench: Bench = {
      laboratory,
      scale,
      bundle: () => (bundle ??= Bundle.make()),
      chosen: (all) => all.filter((contender) => isChosen(contender, contenders)),
      step: (what) => showStep(what),
      blame: (fault) => faults.push(fault),
    };
    const isDue = ({ name, isLong = false }: Section<unknown>) =>
      only.length > 0 ? only.includes(name) : !isLong || scale.longSections;
    for (const section of SECTIONS.filter(isDue)) {
      const total = section.steps(bench);
      let steps = 0;
      showStep = (text) => {
        terminal.showProgress({ name: section.name, done: Math.min(steps, total), total, text });
        steps += 1;
      };
      terminal.startProgress([section.name]);
      try {
        const result = await section.run(bench);
        terminal.endProgress();
        results[section.name] = result;
        for (const figures of section.show(result, scale)) {
          show(terminal, figures);
        }
      } catch (error) {
        // The results of the other sections are still useful.
        terminal.endProgress();
        faults.push(`the section ${section.name} failed: ${describeError(error)}`);
      }
    }
    if (svg && results.service) {
      writeFileSync(svg, await drawService(results.service as readonly Scene[]));
    }
    if (json) {
      process.stdout.write(`${JSON.stringify({ machine, scale, ...results, faults }, undefined, 2)}\n`);
    }
  } finally {
    terminal.endProgress();
    await laboratory.remove();
  }
  for (const fault of faults) {
    terminal.say(`wrong: ${fault}`);
  }
  return faults.length > 0 ? FAILED : 0;
}

function show(terminal: Terminal, { title, head, rows, notes = [] }: Figures): void {
  const { bold, dim } = terminal.colors;
  terminal.gap();
  terminal.say(bold(title));
  terminal.table([head.map((name) => dim(name)), ...rows], 1);
  for (const note of notes) {
    terminal.say(note);
  }
}

function isChosen(contender: Contender, names: readonly string[]): boolean {
  return (
    names.length === 0 ||
    contender === ONE_DELETE ||
    contender === NOBODY ||
    names.some((name) => titleOf(contender).includes(name))
  );
}

async function describeMachine(laboratory: Laboratory): Promise<Record<string, string>> {
  return {
    processor: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} cores`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${type()} ${release()} ${arch()}, load ${loadavg()[0]?.toFixed(1)} at the start`,
    node: process.version,
    postgres: await laboratory.version(),
    settings: Object.entries(SETTINGS)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
  };
}

async function main(): Promise<number> {
  try {
    const options = parseOptions(process.argv.slice(2), SECTION_NAMES);
    if (options === 'help') {
      process.stdout.write(help(SECTION_NAMES));
      return 0;
    }
    return await run(options);
  } catch (error) {
    console.error(error instanceof InvalidInputError ? error.message : error);
    return error instanceof InvalidInputError ? WRONG_OPTION : FAILED;
  }
}

// The server, and everything else that was started, goes when this process ends.
process.on('SIGINT', () => process.exit(INTERRUPTED));

main().then((code) => {
  process.exitCode = code;
});
