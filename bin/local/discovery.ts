import type { Discovery, Found, FoundTable } from '../../lambda/dry-run/discovery';
import type { IndexAdvice } from '../../lambda/dry-run/index-advice';
import { count, rows } from './figures';
import { showStatements } from './findings';
import { printableJson, printableValue } from './printable';
import type { Terminal } from './terminal';

/** The targets that are certain or likely. */
export function targetsOf({ found }: Discovery): Found['target'][] {
  return found.flatMap(({ sureness, target }) => (sureness === 'possible' ? [] : target));
}

/** Shows the tables that a run could clean, and the targets to copy. */
export function showDiscovery(terminal: Terminal, discovery: Discovery): void {
  const { bold, cyan, dim } = terminal.colors;
  if (discovery.found.length === 0) {
    terminal.gap();
    terminal.say('  No table looks like tokens, codes or sessions, as far as this role may see.');
  }
  for (const found of discovery.found) {
    showFound(terminal, printableValue(found), oneLine(found.target));
  }
  const all = discovery.found.flatMap(({ tables }) => tables);
  const indexes = (verdict: IndexAdvice['verdict']) =>
    all.flatMap(({ indexAdvice }) => (indexAdvice?.verdict === verdict ? indexAdvice.statements : []));
  const show = (purpose: string, statements: readonly string[]) =>
    showStatements(terminal, `${bold(purpose)}, by the owner of the tables`, statements);
  const missing = all.flatMap((table) => table.missing);
  show('Before the first run', missing);
  show('Indexes that help', indexes('helps'));
  show('Indexes for later, once few rows are dead', indexes('helps-later'));
  const targets = targetsOf(discovery);
  if (targets.length > 0) {
    terminal.gap();
    terminal.say(`${bold('Next')}, with these targets in a file ${bold('targets.json')}`);
    terminal.say(cyan(`  [\n${targets.map((target) => `    ${oneLine(target)}`).join(',\n')}\n  ]`));
    terminal.say('  npm start -- --database-url URL --targets targets.json --dry-run');
    if (targets.length < discovery.found.length) {
      terminal.say(dim('  The possible targets are not among them. Look at the rows of their tables first.'));
    }
  }
  terminal.gap();
}

function showFound(terminal: Terminal, { sureness, system, remarks, tables }: Found, target: string): void {
  const { bold, dim, green, yellow } = terminal.colors;
  const paint = { certain: green, likely: green, possible: yellow }[sureness];
  const [first] = tables;
  terminal.gap();
  if (system || !first) {
    terminal.say(`  ${bold(system ?? 'Tables')}  ${paint(sureness)}${dim(', a known system')}`);
    const width = Math.max(0, ...tables.map((table) => terminal.shorten(nameOf(table)).length));
    for (const table of tables) {
      terminal.say(`    ${terminal.shorten(nameOf(table)).padEnd(width)}  ${sizeOf(table)}`);
    }
  } else {
    terminal.say(`  ${bold(nameOf(first))}  ${paint(sureness)}`);
    terminal.field('Rows', sizeOf(first));
  }
  for (const remark of remarks) {
    terminal.field('Note', remark);
  }
  if (sureness === 'possible') {
    terminal.field('Target', target);
  }
  for (const table of tables.filter(({ problem }) => problem)) {
    terminal.warn(`${nameOf(table)}: ${table.problem}`);
  }
}

function nameOf({ schema, table }: FoundTable): string {
  return `${schema}.${table}`;
}

function sizeOf({ rows: all, rowsToDelete, isEstimate }: FoundTable): string {
  const about = isEstimate ? 'about ' : '';
  const size = all === undefined ? 'size unknown' : `${about}${rows(all)}`;
  return rowsToDelete === undefined ? size : `${size}, ${about}${count(rowsToDelete)} to delete`;
}

/** JSON to copy, in one line with spaces. */
function oneLine(value: unknown): string {
  return printableJson(value, 1).replace(/\n */g, ' ');
}
