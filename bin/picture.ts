import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** `npm run picture`: runs the demo, and draws its output for the README in `.github/start.svg`. */

const PROJECT = dirname(__dirname);
const FILE = join(PROJECT, '.github', 'start.svg');

const FONT_SIZE = 13;
const CHARACTER_WIDTH = 7.8;
const LINE_HEIGHT = 18;
const PADDING = 18;
const TITLE_HEIGHT = 30;
const COLUMNS = 80;

const BACKGROUND = '#0d1117';
const FOREGROUND = '#e6edf3';
const DIM = '#8b949e';
/** By the number of the ANSI colour. */
const COLORS: Readonly<Record<string, string>> = { 31: '#ff7b72', 32: '#7ee787', 33: '#e3b341', 36: '#79c0ff' };

interface Span {
  readonly text: string;
  readonly column: number;
  readonly style: Style;
}

interface Style {
  readonly bold: boolean;
  readonly dim: boolean;
  readonly color?: string | undefined;
}

const PLAIN: Style = { bold: false, dim: false };

function main(): void {
  const output = execFileSync(process.execPath, ['--import', 'tsx', join('bin', 'local.ts')], {
    cwd: PROJECT,
    env: { ...process.env, FORCE_COLOR: '1' },
    encoding: 'utf8',
  });
  // A terminal shows bars in place of these lines, and clears them.
  const lines = output.split('\n').filter((line) => !/^ {2}\S+: \d+ %, /.test(line));
  while (lines.at(-1) === '') {
    lines.pop();
  }
  writeFileSync(FILE, draw(['\x1b[2m$\x1b[22m npm start', '', ...withoutDoubleGaps(lines)]));
}

function withoutDoubleGaps(lines: readonly string[]): string[] {
  return lines.filter((line, index) => line !== '' || lines[index - 1] !== '');
}

function draw(lines: readonly string[]): string {
  const width = Math.ceil(2 * PADDING + COLUMNS * CHARACTER_WIDTH);
  const height = TITLE_HEIGHT + lines.length * LINE_HEIGHT + PADDING;
  const buttons = ['#ff5f57', '#febc2e', '#28c840'].map(
    (fill, index) => `<circle cx="${PADDING + 4 + 18 * index}" cy="${TITLE_HEIGHT / 2 + 2}" r="5.5" fill="${fill}"/>`,
  );
  const texts = lines.map((line, index) => {
    const y = TITLE_HEIGHT + (index + 1) * LINE_HEIGHT - 3;
    return spansOf(line)
      .map((span) => textOf(span, y))
      .join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="Output of npm start">`,
    `<rect width="${width}" height="${height}" rx="8" fill="${BACKGROUND}"/>`,
    ...buttons,
    `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace" font-size="${FONT_SIZE}" fill="${FOREGROUND}" xml:space="preserve">`,
    ...texts.filter(Boolean),
    '</g>',
    '</svg>\n',
  ].join('\n');
}

/** Splits a line where its style changes. */
function spansOf(line: string): Span[] {
  const spans: Span[] = [];
  let style = PLAIN;
  let column = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins a change of style
  for (const part of line.split(/(\x1b\[\d+m)/)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: likewise
    const [, code] = /^\x1b\[(\d+)m$/.exec(part) ?? [];
    if (code) {
      style = restyled(style, code);
    } else if (part) {
      spans.push({ text: part, column, style });
      column += part.length;
    }
  }
  return spans;
}

function restyled(style: Style, code: string): Style {
  switch (code) {
    case '0':
      return PLAIN;
    case '1':
      return { ...style, bold: true };
    case '2':
      return { ...style, dim: true };
    case '22':
      return { ...style, bold: false, dim: false };
    default:
      return { ...style, color: COLORS[code] };
  }
}

/** A length of its own keeps columns aligned in any font. */
function textOf({ text, column, style: { bold, dim, color } }: Span, y: number): string {
  const indent = text.length - text.trimStart().length;
  const shown = text.trim();
  if (shown === '') {
    return '';
  }
  const x = (PADDING + (column + indent) * CHARACTER_WIDTH).toFixed(1);
  const fill = color ?? (dim ? DIM : undefined);
  const length = (shown.length * CHARACTER_WIDTH).toFixed(1);
  return `<text x="${x}" y="${y}" textLength="${length}"${fill ? ` fill="${fill}"` : ''}${bold ? ' font-weight="bold"' : ''}>${escaped(shown)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

main();
