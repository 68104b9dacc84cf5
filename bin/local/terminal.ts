import { type Bar, MultiBar } from 'cli-progress';
import Table, { type Cell } from 'cli-table3';
import pc from 'picocolors';
import { seconds } from './figures';

export interface TerminalOptions {
  /** Whether bars may move, by default if the stream is a terminal. */
  readonly live?: boolean;
  /** The least time between two lines of progress of the same name if no bar can move. */
  readonly plainIntervalMs?: number;
}

/** The progress of a piece of work. */
export interface Progress {
  /** One of the names that were given to `startProgress`. */
  readonly name: string;
  readonly done: number;
  readonly total: number;
  /** Shown beside the bar. */
  readonly text: string;
}

/** Clears the line. */
const CLEAR = '\x1b[2K';
const DEFAULT_WIDTH = 80;
const BAR_WIDTH = 24;
/** Room for the bar, the percentage and a text beside a name. */
const BESIDE_NAME = 59;
const LABEL_WIDTH = 12;

const NO_FRAME = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
  // With a padding of one, columns are two apart. The table counts one character between the columns of a wide cell.
  ...{ left: ' ', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: ' ' },
};

/** Output for a person: permanent lines, and below them the work in progress. */
export class Terminal {
  readonly colors: ReturnType<typeof pc.createColors>;
  readonly #stream: NodeJS.WriteStream;
  /** Whether output can be overwritten. */
  readonly #live: boolean;
  readonly #plainIntervalMs: number;
  #gapAbove = true;
  /** The line to be overwritten. */
  #underWay = '';
  #bars: MultiBar | undefined;
  readonly #barByName = new Map<string, Bar>();
  readonly #writtenAt = new Map<string, number>();

  constructor(stream: NodeJS.WriteStream, { live = true, plainIntervalMs = 1_000 }: TerminalOptions = {}) {
    const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
    const isAble = stream.isTTY && TERM !== 'dumb';
    this.#stream = stream;
    this.#live = live && isAble;
    this.#plainIntervalMs = plainIntervalMs;
    this.colors = pc.createColors(!NO_COLOR && (Boolean(FORCE_COLOR) || isAble));
  }

  /** The colour of a status. */
  get paint() {
    const { green, yellow, red } = this.colors;
    return { succeeded: green, partial: yellow, skipped: yellow, failed: red };
  }

  say(text: string): void {
    this.#gapAbove = text === '';
    if (this.#bars) {
      this.#bars.log(`${text}\n`.replaceAll('\n', `\n${CLEAR}`)); // over the bars, which move down
      this.#bars.update();
    } else {
      // The work in progress stays below.
      this.#stream.write(`${this.#underWay && `\r${CLEAR}`}${text}\n${this.#underWay}`);
    }
  }

  /** Writes an empty line, unless the last line is empty. */
  gap(): void {
    if (!this.#gapAbove) {
      this.say('');
    }
  }

  succeed(text: string): void {
    this.#item(this.colors.green('✓'), text);
  }

  warn(text: string): void {
    this.#item(this.colors.yellow('!'), text);
  }

  /** Marks each line of an error, if there is one. */
  fail(error: string | undefined): void {
    for (const line of error?.split('\n') ?? []) {
      this.#item(this.colors.red('✗'), line);
    }
  }

  /** Writes a line with a label in front. Without a label it continues the field above. */
  field(label: string, text: string): void {
    const indent = ' '.repeat(LABEL_WIDTH + 4);
    this.say(`    ${this.colors.dim(label.padEnd(LABEL_WIDTH))}${this.#wrap(text, indent.length).join(`\n${indent}`)}`);
  }

  #item(mark: string, text: string): void {
    this.say(`  ${mark} ${this.#wrap(text, 4).join('\n    ')}`);
  }

  /** Breaks text between words, so that it stays indented. If the stream is not a terminal, a line stays a line. */
  #wrap(text: string, indent: number): string[] {
    const width = this.#stream.isTTY ? this.#width - indent : Number.POSITIVE_INFINITY;
    const [first = '', ...words] = text.split(' ');
    const lines = [first];
    for (const word of words) {
      const longer = `${lines.at(-1)} ${word}`;
      if (longer.length <= width) {
        lines[lines.length - 1] = longer;
      } else {
        lines.push(word);
      }
    }
    return lines;
  }

  get #width(): number {
    return this.#stream.columns || DEFAULT_WIDTH;
  }

  /** Shortens a name so that a line fits on the terminal. In a pipe it stays whole. */
  shorten(name: string): string {
    const widest = this.#stream.isTTY ? Math.max(this.#width - BESIDE_NAME, BAR_WIDTH / 2) : Number.POSITIVE_INFINITY;
    return name.length > widest ? `${name.slice(0, widest - 1)}…` : name;
  }

  /** Writes a table without a frame: names on the left of their columns, numbers on the right. */
  table(lines: readonly (readonly Cell[])[], nameColumns: number): void {
    const columns = lines.at(-1)?.length ?? 0;
    const table = new Table({
      chars: NO_FRAME,
      style: { 'padding-left': 1, 'padding-right': 0, head: [], border: [], compact: true },
      colAligns: Array.from({ length: columns }, (_, column) => (column < nameColumns ? 'left' : 'right')),
    });
    table.push(...lines.map((line) => [...line]));
    this.say(table.toString());
  }

  /** Shows a text during a piece of work, and its result afterwards. */
  async step<T>(doing: string, work: () => Promise<T>, done: (result: T) => string): Promise<T> {
    const startedAt = performance.now();
    const result = await this.during(doing, work);
    this.succeed(`${done(result)} ${this.colors.dim(`(${seconds(performance.now() - startedAt)})`)}`);
    return result;
  }

  /** Shows a text during a piece of work. */
  async during<T>(doing: string, work: () => Promise<T>): Promise<T> {
    this.#show(this.colors.dim(`  … ${doing}`));
    try {
      return await work();
    } finally {
      this.#show('');
    }
  }

  #show(underWay: string): void {
    if (this.#live) {
      this.#stream.write(`\r${CLEAR}${underWay}`);
      this.#underWay = underWay;
    }
  }

  /** Begins to show progress: a bar for each name, or lines if nothing can move. */
  startProgress(names: readonly string[]): void {
    this.#writtenAt.clear();
    if (!this.#live) {
      return;
    }
    const { dim, cyan } = this.colors;
    const nameWidth = Math.max(...names.map((name) => this.shorten(name).length));
    this.#bars = new MultiBar({
      stream: this.#stream,
      format: (_, { progress }, { name, text }) => {
        const filled = Math.round(progress * BAR_WIDTH);
        const bar = cyan('█'.repeat(filled)) + dim('░'.repeat(BAR_WIDTH - filled));
        return `  ${this.shorten(name).padEnd(nameWidth)}  ${bar} ${whole(progress).padStart(5)}  ${text}`;
      },
      clearOnComplete: true,
      forceRedraw: true, // lines that are written above push the bars down
      hideCursor: true,
    });
    for (const name of names) {
      this.#barByName.set(name, this.#bars.create(1, 0, { name, text: '' }));
    }
  }

  showProgress({ name, done, total, text }: Progress): void {
    const bar = this.#barByName.get(name);
    if (bar) {
      bar.setTotal(total);
      bar.update(done, { text });
    } else if (performance.now() - (this.#writtenAt.get(name) ?? Number.NEGATIVE_INFINITY) >= this.#plainIntervalMs) {
      this.#writtenAt.set(name, performance.now());
      this.say(`  ${name}: ${[whole(done / total), text].filter(Boolean).join(', ')}`);
    }
  }

  /** Removes the bars. Without it a process that ends leaves the terminal without a cursor. */
  endProgress(): void {
    this.#bars?.stop();
    this.#bars = undefined;
    this.#barByName.clear();
  }
}

/** A share in whole percent, rounded down: 100 % means that nothing is left. */
function whole(share: number): string {
  return `${Math.floor(100 * share)} %`;
}
