import type { RunReport } from '../../lambda/run/report';
import { type Census, KINDS } from './demo-tables';
import { count, rows } from './figures';
import type { Terminal } from './terminal';

/** A claim about a run, and whether it holds. */
export interface Finding {
  readonly holds: boolean;
  readonly text: string;
}

/** Compares the report of a run with counts in the database. */
export function prove(census: readonly Census[], report: RunReport): Finding[] {
  const sum = (part: 'gone' | 'toStay' | 'missing' | 'dead') => census.reduce((total, table) => total + table[part], 0);
  const [gone, toStay, missing, dead] = [sum('gone'), sum('toStay'), sum('missing'), sum('dead')];
  const findings: Finding[] = [
    {
      holds: missing === 0,
      text:
        missing === 0
          ? `no live row is missing: all ${rows(toStay)} to keep are there, unchanged`
          : `${rows(missing)} of the ${count(toStay)} to keep are missing or changed`,
    },
    {
      holds: gone === report.rowsDeleted,
      text: `${rows(gone)} are gone, the run reported ${count(report.rowsDeleted)}`,
    },
  ];
  const swept = report.targets.filter(({ stopReason }) => stopReason);
  if (swept.length > 0) {
    const known = swept.every(({ rowsRemaining }) => rowsRemaining !== undefined);
    const remaining = swept.reduce((total, { rowsRemaining = 0 }) => total + rowsRemaining, 0);
    findings.push({
      holds: !known || dead === remaining,
      text: `${count(dead)} dead ${dead === 1 ? 'row is' : 'rows are'} left, the run ${known ? `reported ${count(remaining)}` : 'did not count them'}`,
    });
  }
  return findings;
}

/** Shows the rows by kind before and after the run, and the claims that they prove. */
export function showProof(terminal: Terminal, census: readonly Census[], findings: readonly Finding[]): void {
  const { bold, dim } = terminal.colors;
  terminal.say(bold('Proof, counted in the database'));
  terminal.table(
    [
      ['', ...census.map(({ table }) => ({ content: dim(table), colSpan: 2, hAlign: 'right' as const }))],
      [dim('Rows'), ...census.flatMap(() => [dim('before'), dim('after')])],
      ...KINDS.map((kind) => [
        kind,
        ...census.flatMap(({ before, after }) => [count(before[kind]), count(after[kind])]),
      ]),
    ],
    1,
  );
  for (const { holds, text } of findings) {
    if (holds) {
      terminal.succeed(text);
    } else {
      terminal.fail(text);
    }
  }
  terminal.gap();
}
