import type { Target } from '../../lambda/configuration/targets';
import type { StopReason } from '../../lambda/engine/outcome';
import type { RunReport, TargetReport } from '../../lambda/report';
import type { Database } from './database-url';
import { count, rows, seconds } from './figures';
import { showFindings } from './findings';
import type { Options } from './options';
import { ruleSql, tableSql } from './target-sql';
import type { Terminal } from './terminal';

/** Says what will be deleted and where, before it is. A dry run tells the rules with what they match, once it is done. */
export function announce(terminal: Terminal, database: Database, { targets, dryRun }: Options): void {
  const { bold, dim } = terminal.colors;
  const { user, name, host, port, sslMode } = database;
  const connection = sslMode === 'disable' ? 'not encrypted' : 'encrypted, certificate checked';
  terminal.say(bold(dryRun ? 'Counts, and deletes nothing' : 'Deletes'));
  terminal.say(`  in database ${bold(name)} on ${bold(`${host}:${port}`)}, as ${bold(user)} ${dim(`(${connection})`)}`);
  for (const target of dryRun ? [] : targets) {
    terminal.say(`  from ${bold(tableSql(target))}`);
    ruleSql(target).forEach((rule, index) => {
      terminal.say(`    ${index === 0 ? 'where' : '   or'} ${rule}`);
    });
  }
  terminal.gap();
}

/** Shows what the function reported. */
export function summarize(terminal: Terminal, report: RunReport, targets: readonly Target[]): void {
  const { bold, green, yellow, red, dim } = terminal.colors;
  const paint = { succeeded: green, partial: yellow, skipped: yellow, failed: red };
  terminal.gap();
  terminal.say(`${bold(paint[report.status](headline(report)))} ${dim(`(${seconds(report.durationMs)})`)}`);
  if (report.dryRun) {
    showFindings(terminal, report, targets);
  } else if (report.targets.some(({ batches, stopReason }) => batches > 0 || stopReason)) {
    const cells = (target: TargetReport) => [
      terminal.shorten(target.table),
      paint[target.status](target.status),
      ...COLUMNS.map(([, cell]) => cell(target)),
    ];
    const head = ['Table', 'Result', ...COLUMNS.map(([name]) => name)].map((name) => dim(name));
    terminal.table([head, ...report.targets.map(cells)], 2);
  }
  for (const note of report.targets.flatMap((target) => notes(target, report.dryRun))) {
    terminal.warn(note);
  }
  for (const line of (report.dryRun ? undefined : report.error)?.split('\n') ?? []) {
    terminal.fail(line);
  }
  terminal.gap();
}

function headline({ status, dryRun, rowsDeleted, targets }: RunReport): string {
  if (status === 'skipped') {
    // Where it is switched off, the function does not even read what its targets are.
    return targets.length === 0
      ? 'Skipped: the job does not run where NODE_ENV is test'
      : 'Skipped: another run is at work on this database';
  }
  const result = { succeeded: 'Succeeded', partial: 'Partly done', failed: 'Failed' }[status];
  return `${result}: ${dryRun ? 'a dry run, nothing was deleted' : `${rows(rowsDeleted)} deleted`}`;
}

type Column = readonly [name: string, cell: (target: TargetReport) => string];

const COLUMNS: readonly Column[] = [
  ['Deleted', ({ rowsDeleted }) => count(rowsDeleted)],
  ['Remaining', ({ rowsRemaining }) => (rowsRemaining === undefined ? 'unknown' : count(rowsRemaining))],
  ['Batches', ({ batches }) => count(batches)],
  ['Longest', ({ longestBatchMs }) => `${count(longestBatchMs)} ms`],
  ['Took', ({ durationMs }) => seconds(durationMs)],
];

const NEXT = 'the next run goes on';
const REASONS: Readonly<Record<StopReason, readonly string[]>> = {
  drained: [],
  deadline: ['the time was up', NEXT],
  interrupted: ['interrupted', NEXT],
  blocked: [], // what by is said
  'replica-lag': ['the time was up while a replica was too far behind', NEXT],
  'max-rows': ['as many rows went as one run may delete', NEXT],
};

/** Why rows remain. */
function notes({ table, status, stopReason = 'drained', blockedBy = [] }: TargetReport, dryRun: boolean): string[] {
  const [why = '', outlook] = status === 'partial' ? REASONS[stopReason] : [];
  const reason = outlook && !dryRun ? `${why}; ${outlook}` : why;
  const blockages = blockedBy.map(({ reason, rows: held }) => `held back by ${reason}${held ? `: ${rows(held)}` : ''}`);
  return [reason, ...blockages].filter(Boolean).map((note) => `${table}: ${note}`);
}
