import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import pc from 'picocolors';

export interface Figures {
  readonly title: string;
  readonly head: readonly string[];
  /** The first cell of each row names it. */
  readonly rows: readonly (readonly string[])[];
  readonly notes?: readonly string[];
}

// Where nothing can be written over, there is a line now and then.
const PLAIN_INTERVAL_MS = 5_000;

const NO_LINES_BETWEEN_ROWS = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' };

/** Where a person reads along. */
export class Terminal {
  readonly #stream: NodeJS.WriteStream;
  #bar: SingleBar | undefined;
  #section = '';
  #steps = 0;
  #total = 0;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  say(text = ''): void {
    this.#stream.write(`${text}\n`);
  }

  /** Begins a section of so many steps. */
  start(section: string, total: number): void {
    this.#section = section;
    this.#steps = 0;
    this.#total = total;
    if (this.#stream.isTTY) {
      this.#bar = new SingleBar({
        stream: this.#stream,
        format: `${section}  [{bar}] {value}/{total}  {what}`,
        barsize: 24,
        clearOnComplete: true,
      });
      this.#bar.start(total, 0, { what: '' });
    }
  }

  /** Says what is done next. */
  step(what: string): void {
    this.#steps += 1;
    this.#bar?.update(Math.min(this.#steps - 1, this.#total), { what });
    if (!this.#bar && performance.now() - this.#saidAt >= PLAIN_INTERVAL_MS) {
      this.#saidAt = performance.now();
      this.say(`${this.#section}: ${this.#steps} of ${this.#total}, ${what}`);
    }
  }

  /** Ends a section, so that something else can be written. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  show({ title, head, rows, notes = [] }: Figures): void {
    const table = new Table({
      head: [...head],
      chars: NO_LINES_BETWEEN_ROWS,
      style: { head: this.#stream.isTTY ? ['bold'] : [], border: this.#stream.isTTY ? ['gray'] : [] },
      colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    });
    table.push(...rows.map((row) => [...row]));
    this.say();
    this.say(pc.createColors(this.#stream.isTTY).bold(title));
    this.say(table.toString());
    for (const note of notes) {
      this.say(note);
    }
  }
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Three digits that matter, or all of a large number. */
export function digits(value: number): string {
  return value >= 100 ? count(value) : String(Number(value.toPrecision(value < 1 ? 2 : 3)));
}

/** A multiple, and the range of the values that it is the median of. */
export function timesOf(ratio: number, [least, most]: readonly [number, number]): string {
  return least === most ? times(ratio) : `${times(ratio)} (${times(least)} – ${times(most)})`;
}

export function times(ratio: number): string {
  return `${ratio >= 0.1 && ratio < 100 ? ratio.toFixed(ratio < 10 ? 2 : 1) : digits(ratio)}x`;
}

export function duration(ms: number): string {
  return ms >= 1_000 ? `${digits(ms / 1_000)} s` : `${digits(ms)} ms`;
}

export function percent(share: number): string {
  return `${digits(share * 100)} %`;
}

export function megabytes(bytes: number): string {
  return `${digits(bytes / 1e6)} MB`;
}
