import { type Bar, MultiBar } from 'cli-progress';
import Table, { type Cell } from 'cli-table3';
import pc from 'picocolors';
import type { SweepProgress } from '../../lambda/engine/sweep';

/** How far the function is with a table. */
export interface TableProgress extends SweepProgress {
  readonly table: string;
}

// One that is no terminal gets a line a second, not a line a batch.
const PLAIN_INTERVAL_MS = 1_000;
/** Clears the line. */
const CLEAR = '\x1b[2K';
const BAR_WIDTH = 24;
const WIDEST_NAME = 21;
const LABEL_WIDTH = 12;

const NO_FRAME = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
  ...{ left: '  ', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' },
};

/** Where a person reads along: lines that stay, and below them what is under way. */
export class Terminal {
  readonly colors: ReturnType<typeof pc.createColors>;
  readonly #stream: NodeJS.WriteStream;
  /** Whether what was written can be written over. */
  readonly #live: boolean;
  #gapAbove = true;
  /** The line that is to be written over. */
  #underWay = '';
  #bars: MultiBar | undefined;
  /** What is said of the rows of a table so far. */
  #deleted: (rowsDeleted: number) => string = () => '';
  readonly #barByTable = new Map<string, Bar>();
  readonly #saidAt = new Map<string, number>();

  /** @param live whether something may move; it does so only on a terminal */
  constructor(stream: NodeJS.WriteStream, live: boolean) {
    this.#stream = stream;
    this.#live = live && stream.isTTY && process.env.TERM !== 'dumb';
    this.colors = pc.createColors(pc.isColorSupported && (stream.isTTY || Boolean(process.env.FORCE_COLOR)));
  }

  say(text: string): void {
    this.#gapAbove = text === '';
    if (this.#bars) {
      this.#bars.log(`${text}\n`.replaceAll('\n', `\n${CLEAR}`)); // over the bars, which move down
      this.#bars.update();
    } else {
      // What is under way stays below.
      this.#stream.write(`${this.#underWay && `\r${CLEAR}`}${text}\n${this.#underWay}`);
    }
  }

  /** An empty line, unless there is one. */
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

  fail(text: string): void {
    this.#item(this.colors.red('✗'), text);
  }

  /** A line with a label in front, or one that goes on below it. */
  field(label: string, text: string): void {
    const indent = ' '.repeat(LABEL_WIDTH + 4);
    this.say(`    ${this.colors.dim(label.padEnd(LABEL_WIDTH))}${this.#wrap(text, indent.length).join(`\n${indent}`)}`);
  }

  #item(mark: string, text: string): void {
    this.say(`  ${mark} ${this.#wrap(text, 4).join('\n    ')}`);
  }

  /** Breaks text between words, so that it stays behind its mark. Elsewhere than on a terminal a line is a line. */
  #wrap(text: string, indent: number): string[] {
    const width = this.#stream.isTTY ? (this.#stream.columns || 80) - indent : Number.POSITIVE_INFINITY;
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

  /** A table without a frame: names on the left, numbers on the right of their columns. */
  table(lines: readonly (readonly Cell[])[], nameColumns: number): void {
    const columns = lines.at(-1)?.length ?? 0;
    const table = new Table({
      chars: NO_FRAME,
      style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
      colAligns: Array.from({ length: columns }, (_, column) => (column < nameColumns ? 'left' : 'right')),
    });
    table.push(...lines.map((line) => [...line]));
    this.say(table.toString());
  }

  /** Says what is being done, and what came of it once it is done. */
  async step<T>(doing: string, work: () => Promise<T>, done: (result: T) => string): Promise<T> {
    const startedAt = performance.now();
    const result = await this.during(doing, work);
    this.succeed(`${done(result)} (${seconds(performance.now() - startedAt)})`);
    return result;
  }

  /** Says what is being done as long as it is. */
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

  /** Begins to show progress: a bar for each table, or lines where nothing can move. */
  startProgress(tables: readonly string[], dryRun: boolean): void {
    this.#deleted = dryRun ? () => '' : (rowsDeleted) => `${rows(rowsDeleted)} deleted`;
    if (!this.#live) {
      return;
    }
    const { dim, cyan } = this.colors;
    const nameWidth = Math.min(WIDEST_NAME, Math.max(...tables.map((table) => table.length)));
    this.#bars = new MultiBar({
      stream: this.#stream,
      format: (_, { progress }, { table, rowsDeleted }) => {
        const filled = Math.round(progress * BAR_WIDTH);
        const bar = cyan('█'.repeat(filled)) + dim('░'.repeat(BAR_WIDTH - filled));
        const percent = `${Math.floor(progress * 100)} %`.padStart(5);
        return `  ${shorten(table).padEnd(nameWidth)}  ${bar} ${percent}  ${this.#deleted(rowsDeleted)}`;
      },
      clearOnComplete: true,
      forceRedraw: true, // the lines that are said above push the bars down
      hideCursor: true,
    });
    for (const table of tables) {
      this.#barByTable.set(table, this.#bars.create(1, 0, { table, rowsDeleted: 0 }));
    }
  }

  showProgress({ table, rowsDeleted, blocksVisited, blocksTotal }: TableProgress): void {
    const bar = this.#barByTable.get(table);
    if (bar) {
      bar.setTotal(blocksTotal);
      bar.update(blocksVisited, { rowsDeleted });
    } else if (performance.now() - (this.#saidAt.get(table) ?? Number.NEGATIVE_INFINITY) >= PLAIN_INTERVAL_MS) {
      this.#saidAt.set(table, performance.now());
      const percent = Math.floor((100 * blocksVisited) / blocksTotal);
      const soFar = [this.#deleted(rowsDeleted), `${percent} % of the table visited`].filter(Boolean).join(', ');
      this.say(`  ${table}: ${soFar}`);
    }
  }

  /** Takes the bars away. Has to be called before the process ends, or the terminal stays without a cursor. */
  endProgress(): void {
    this.#bars?.stop();
    this.#bars = undefined;
    this.#barByTable.clear();
  }
}

export function count(number: number): string {
  return number.toLocaleString('en');
}

export function rows(number: number): string {
  return `${count(number)} ${number === 1 ? 'row' : 'rows'}`;
}

/** In the units of PostgreSQL, of which each is 1024 times the one before. */
export function bytes(number: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), units.length - 1);
  const amount = number / 1024 ** power;
  return `${amount < 10 && power > 1 ? amount.toFixed(1) : Math.round(amount)} ${units[power]}`;
}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** A name in the width of a column. */
export function shorten(name: string): string {
  return name.length > WIDEST_NAME ? `${name.slice(0, WIDEST_NAME - 1)}…` : name;
}
