import type { Target } from '../../lambda/configuration/targets';
import { printable } from '../../lambda/database/database-error';
import type { Diagnosis } from '../../lambda/dry-run/diagnosis';
import { GREATEST_DEAD_SHARE, type IndexAdvice } from '../../lambda/dry-run/index-advice';
import { statementsOf } from '../../lambda/engine/preflight/finding';
import type { RunReport, TargetReport } from '../../lambda/run/report';
import type { Replica, ServerReport } from '../../lambda/run/server';
import { stepInWords } from './erasure';
import { bytes, count, percent, rows, seconds } from './figures';
import { LAMBDA_TIME_LIMIT_MS } from './invocation';
import type { Job } from './job';
import { ruleSql } from './target-sql';
import type { Terminal } from './terminal';

/** Shows the findings of a dry run, on one screen. */
export function showFindings(terminal: Terminal, report: RunReport, { targets, timeLimitMs }: Job): void {
  const { bold } = terminal.colors;
  if (report.server) {
    terminal.gap();
    terminal.say(`  ${bold(`PostgreSQL ${report.server.version}`)}`);
    showServer(terminal, report.server);
  }
  for (const target of targets) {
    for (const found of report.targets.filter(({ pattern, table }) => (pattern ?? table) === target.name)) {
      if (found.diagnosis?.tableBytes !== undefined) {
        terminal.gap();
        terminal.say(`  ${bold(nameOf(found))}`);
        showTable(terminal, target, found, found.diagnosis, timeLimitMs);
        if (found.erasure) {
          terminal.field('Erasure', `rows deleted before are ${stepInWords(found.erasure)}`);
        }
      }
    }
  }
  terminal.gap();
  for (const warning of report.warnings ?? []) {
    terminal.warn(warning);
  }
  terminal.fail(report.error);
  if (report.server && report.targets.some(isUnfit)) {
    terminal.gap();
    terminal.say(`  ${bold('--discover')} in place of --dry-run looks for tables, and prints targets that fit them.`);
  }
  const remedies = report.targets.flatMap(({ diagnosis }) => statementsOf(diagnosis?.findings ?? []));
  showStatements(terminal, '  Before the first run, by the owner of the tables:', remedies);
  showStatements(terminal, '  Indexes that help, all of a table together:', indexesOf(report, 'helps'));
  const settings = report.targets.flatMap(({ erasure }) => erasure?.autovacuumAdvice ?? []);
  showStatements(terminal, '  To unlink deleted rows sooner, by the owner of the tables:', settings);
  showStatements(terminal, '  Indexes for later, all of a table together:', indexesOf(report, 'helps-later'));
}

/** The table, with its database if the run is on several. */
export function nameOf({ database, table }: TargetReport): string {
  return database === undefined ? table : `${database}: ${table}`;
}

/** Whether the table does not exist, or does not fit the target. */
function isUnfit({ status, diagnosis }: TargetReport): boolean {
  return (
    status === 'failed' && diagnosis?.tableBytes === undefined && statementsOf(diagnosis?.findings ?? []).length === 0
  );
}

function showServer(terminal: Terminal, { isReplica, clockDifferenceMs, replicas }: ServerReport): void {
  if (isReplica) {
    terminal.field('Role', 'a replica, from which nothing can be deleted: a run needs the primary');
  }
  const ahead = `${seconds(Math.abs(clockDifferenceMs))} ${clockDifferenceMs > 0 ? 'ahead of' : 'behind'} this machine's`;
  terminal.field('Clock', clockDifferenceMs === 0 ? "agrees with this machine's" : ahead);
  terminal.field(
    'Replicas',
    replicas ? replicas.map(standing).join('; ') || 'none that stream' : 'hidden from this role',
  );
}

function standing({ name, lagSeconds, lagBytes }: Replica): string {
  if (lagBytes === 0) {
    return `${name} is up to date`;
  }
  const behind = [...(lagSeconds === undefined ? [] : [seconds(1_000 * lagSeconds)]), bytes(lagBytes)];
  return `${name} is ${behind.join(', ')} behind`;
}

function showTable(
  terminal: Terminal,
  target: Target,
  { rowsRemaining }: TargetReport,
  found: Diagnosis,
  timeLimitMs: number | undefined,
): void {
  const { rowsKept, rowsKeptEstimated, estimatedDurationMs, tableBytes = 0, indexBytes = 0, indexAdvice } = found;
  if (rowsRemaining === undefined) {
    terminal.field('To delete', 'unknown, since not every block could be visited');
  } else {
    const share =
      rowsKept === undefined || rowsRemaining === 0 ? '' : ` (${percent(rowsRemaining / (rowsRemaining + rowsKept))})`;
    terminal.field('To delete', `${found.isUpperBound ? 'at most ' : ''}${rows(rowsRemaining)}${share}`);
    const width = Math.max(
      ...[rowsRemaining, ...(found.rules ?? []).map((rule) => rule.rows)].map((n) => count(n).length),
    );
    ruleSql(target).forEach((rule, index) => {
      const { rows: matched = 0, oldest } = found.rules?.[index] ?? {};
      const age = oldest === undefined ? '' : terminal.colors.dim(` (oldest ${oldest})`);
      terminal.field('', `${count(matched).padStart(width)} where ${rule}${age}`);
    });
    const about = rowsKeptEstimated ? 'about ' : '';
    terminal.field('To keep', rowsKept === undefined ? 'unknown' : `${about}${rows(rowsKept)}`);
    terminal.field('Duration', duration(estimatedDurationMs, timeLimitMs));
  }
  terminal.field('Size', `${bytes(tableBytes)}, and ${bytes(indexBytes)} of indexes`);
  if (indexAdvice) {
    terminal.field('New index', ADVICE[indexAdvice.verdict]);
  }
}

const ADVICE: Readonly<Record<IndexAdvice['verdict'], string>> = {
  'not-needed': 'not needed: the table is small',
  exists: 'not needed: every rule has one',
  helps: 'helps: without it each run reads the whole table to find these few rows',
  'helps-later': `does not help with so many dead rows; helps later, if a run deletes at most ${100 * GREATEST_DEAD_SHARE} %`,
  'cannot-help': 'does not help: a rule tests only rows of other tables, so each run reads the whole table',
};

/** A run that needs more than the timeout of the function leaves the rest to the next one. */
function duration(ms: number | undefined, timeLimitMs = LAMBDA_TIME_LIMIT_MS): string {
  if (ms === undefined) {
    return 'unknown, since a foreign key has no index on its own side';
  }
  if (ms < 1_000) {
    return 'less than a second';
  }
  const about = ms < 120_000 ? `about ${seconds(ms)}` : `about ${count(Math.round(ms / 60_000))} min`;
  const runs = `${Math.ceil(ms / timeLimitMs)} runs of ${count(timeLimitMs / 1_000)} s`;
  return ms <= timeLimitMs ? about : `${about}, that is ${runs}`;
}

function indexesOf(report: RunReport, verdict: IndexAdvice['verdict']): string[] {
  return report.targets.flatMap(({ diagnosis }) =>
    diagnosis?.indexAdvice?.verdict === verdict ? diagnosis.indexAdvice.statements : [],
  );
}

/** Shows statements on lines of their own, for copying. */
export function showStatements(terminal: Terminal, title: string, statements: readonly string[]): void {
  const { cyan, dim } = terminal.colors;
  if (statements.length > 0) {
    terminal.gap();
    terminal.say(title);
  }
  for (const statement of new Set(statements)) {
    const warning = statement.startsWith('create index on') ? dim('  -- blocks writes while it is created') : '';
    terminal.say(`  ${cyan(`${printable(statement)};`)}${warning}`);
  }
}
