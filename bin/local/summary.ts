import type { NamePattern } from '../../lambda/configuration/name-pattern';
import type { StopReason } from '../../lambda/engine/outcome';
import type { RunReport, TargetReport } from '../../lambda/run/report';
import type { Database } from './database-url';
import { isSocket } from './encryption';
import { stepInWords, stepOf } from './erasure';
import { count, percent, rows, seconds } from './figures';
import { nameOf, showFindings } from './findings';
import type { Job } from './job';
import { ruleSql, tableSql } from './target-sql';
import type { Terminal } from './terminal';

/** Shows the database, the tables and the rules of a run before it begins. A dry run shows the rules later, with their rows. */
export function announce(
  terminal: Terminal,
  database: Database,
  { targets, databases, timeLimitMs }: Job,
  { dryRun, estimates = [] }: { readonly dryRun: boolean; readonly estimates?: readonly (number | undefined)[] },
): void {
  const { bold, dim } = terminal.colors;
  announceDatabase(terminal, dryRun ? 'Dry run: nothing is deleted' : 'Deleting dead rows', database, databases);
  announceLimit(terminal, timeLimitMs);
  for (const [index, target] of (dryRun ? [] : targets).entries()) {
    const estimate = estimates[index];
    const size = estimate === undefined ? '' : ` ${dim(`(about ${rows(estimate)} in all)`)}`;
    terminal.say(`  from ${bold(tableSql(target))}${size}`);
    ruleSql(target).forEach((rule, position) => {
      terminal.say(`    ${position === 0 ? 'where' : '   or'} ${rule}`);
    });
  }
  terminal.gap();
}

/** @param pattern the databases of the server, if it is not only the given one */
export function announceDatabase(terminal: Terminal, title: string, database: Database, pattern?: NamePattern): void {
  const { bold, dim } = terminal.colors;
  const { user, password, name, host, port, sslMode, exposesPassword } = database;
  const place = isSocket(host) ? `socket ${bold(`${host}/.s.PGSQL.${port}`)}` : bold(`${host}:${port}`);
  const security = [
    ...(isSocket(host) ? [] : [sslMode === 'disable' ? 'not encrypted' : 'encrypted, certificate checked']),
    ...(password === undefined ? ['no password'] : []),
  ].join(', ');
  terminal.say(bold(title));
  const databases = pattern ? `the databases ${bold(patternInWords(pattern))}` : `database ${bold(name)}`;
  terminal.say(`  in ${databases} on ${place}, as ${bold(user)}${security && ` ${dim(`(${security})`)}`}`);
  if (exposesPassword) {
    terminal.warn(
      'other users of this machine can see the password in the command line; put it into PGPASSWORD or ~/.pgpass',
    );
  }
}

/** States the timeout of the stage, if there is one. */
export function announceLimit(terminal: Terminal, timeLimitMs: number | undefined): void {
  if (timeLimitMs !== undefined) {
    terminal.say(`  for at most ${count(timeLimitMs / 1_000)} s, the timeout of the stage`);
  }
}

export function patternInWords({ like, except = [] }: NamePattern): string {
  return `${like.join(', ')}${except.length > 0 ? `, not ${except.join(', ')}` : ''}`;
}

/** Shows the result of a run. */
export function summarize(terminal: Terminal, report: RunReport, job: Job): void {
  const { paint } = terminal;
  const { bold, dim } = terminal.colors;
  terminal.gap();
  terminal.say(`${bold(paint[report.status](headline(report)))} ${dim(`(${seconds(report.durationMs)})`)}`);
  if (report.dryRun) {
    showFindings(terminal, report, job);
  } else if (report.targets.some(({ batches, stopReason }) => batches > 0 || stopReason)) {
    const cells = (target: TargetReport) => [
      terminal.shorten(nameOf(target)),
      paint[target.status](target.status),
      ...COLUMNS.map(([, cell]) => cell(target)),
    ];
    terminal.table([HEADINGS.map((name) => dim(name)), ...report.targets.map(cells)], 2);
  }
  for (const target of report.targets.filter(({ durationMs }) => durationMs >= SHORT_RUN_MS)) {
    const { pace } = target;
    if (pace?.reason && !report.dryRun) {
      terminal.say(dim(`  ${nameOf(target)} worked ${percent(pace.share)} of the time: ${pace.reason}`));
    }
  }
  for (const note of report.targets.flatMap((target) => notes(target, report.dryRun))) {
    terminal.warn(note);
  }
  if (report.isCutShort) {
    terminal.warn(`the time was up: ${report.next ? `no database after ${report.next}` : 'no database'} was finished`);
  }
  if (!report.dryRun) {
    terminal.fail(report.error);
  }
  terminal.gap();
}

function headline({ status, dryRun, rowsDeleted, targets }: RunReport): string {
  if (status === 'skipped') {
    // A run that is switched off does not read its targets.
    return targets.length === 0
      ? 'Skipped: the job does not run if NODE_ENV is test'
      : 'Skipped: another run is active on this database';
  }
  const result = { succeeded: 'Succeeded', partial: 'Partly done', failed: 'Failed' }[status];
  return `${result}: ${dryRun ? 'a dry run, nothing was deleted' : `${rows(rowsDeleted)} deleted`}`;
}

type Column = readonly [name: string, cell: (target: TargetReport) => string];

const COLUMNS: readonly Column[] = [
  ['Deleted', ({ rowsDeleted }) => count(rowsDeleted)],
  ['Remaining', ({ rowsRemaining }) => (rowsRemaining === undefined ? 'unknown' : count(rowsRemaining))],
  ['Batches', ({ batches }) => count(batches)],
  ['Worked', ({ pace }) => (pace ? `${Math.round(100 * pace.share)} %` : '')],
  ['Longest', ({ longestBatchMs }) => `${count(longestBatchMs)} ms`],
  ['Took', ({ durationMs }) => seconds(durationMs)],
  ['Deleted rows are', ({ erasure }) => (erasure ? stepOf(erasure) : 'unknown')],
];

export const HEADINGS: readonly string[] = ['Table', 'Result', ...COLUMNS.map(([name]) => name)];

/** Runs shorter than this need no explanation of their pace. */
const SHORT_RUN_MS = 2_000;

const NEXT = 'the next run continues';
const REASONS: Readonly<Record<StopReason, readonly string[]>> = {
  drained: [],
  deadline: ['the time was up', NEXT],
  interrupted: ['interrupted', NEXT],
  blocked: [], // the blockages follow
  'replica-lag': ['the time was up while a replica was too far behind', NEXT],
  'max-rows': ['the run reached its limit of rows', NEXT],
};

/** Why rows remain. */
function notes(target: TargetReport, dryRun: boolean): string[] {
  const { status, stopReason = 'drained', blockedBy = [], cascaded = [], partitionsDropped = [], erasure } = target;
  const [why = '', outlook] = status === 'partial' ? REASONS[stopReason] : [];
  const reason = outlook && !dryRun ? `${why}; ${outlook}` : why;
  const blockages = blockedBy.map(
    ({ reason, rows: held }) => `${dryRun ? 'would be ' : ''}held back by ${reason}${held ? `: ${rows(held)}` : ''}`,
  );
  const along = cascaded
    .filter((child) => child.rows !== 0)
    .map(
      (child) =>
        `${child.rows === undefined ? 'rows' : rows(child.rows)} of ${child.table} ${dryRun ? 'would be' : 'were'} deleted, too (on delete cascade)`,
    );
  const dropped = partitionsDropped.map(
    ({ partition, estimatedRows }) =>
      `dropped the partition ${partition}${estimatedRows === undefined ? '' : ` with about ${rows(estimatedRows)}`}`,
  );
  const readable = erasure?.unreadable === false && !dryRun ? [`deleted rows are ${stepInWords(erasure)}`] : [];
  return [reason, ...blockages, ...along, ...dropped, ...readable]
    .filter(Boolean)
    .map((note) => `${nameOf(target)}: ${note}`);
}
