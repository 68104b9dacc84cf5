import { type Action, actionsOf } from './actions';
import type { WidgetCleanup } from './cleanups';
import { type Html, html } from './html';
import type { LoggedRun } from './runs';

/** The runs of a cleanup, past and present. */
export interface State {
  readonly cleanup: WidgetCleanup;
  readonly runs: readonly LoggedRun[];
  /** When the executions that are running were started. */
  readonly runningSince: readonly Date[];
  /** The reason if they could not be read. */
  readonly error?: string;
}

/**
 * The last runs of each cleanup, with its buttons.
 *
 * @param endpoint the ARN of the function that the buttons call
 */
export function page(states: readonly State[], endpoint: string): Html {
  return html`${states.map((state) => section(state, endpoint))}`;
}

function section({ cleanup, runs, runningSince, error }: State, endpoint: string): Html {
  return html`<h3>${cleanup.name}</h3>
<p>${buttons(cleanup, endpoint)}</p>
${runningSince.map((since) => html`<p>Running since ${timeOf(since)}</p>`)}
${error === undefined ? table(runs) : html`<p>${error}</p>`}
`;
}

const LABELS: Record<Action, string> = { 'dry-run': 'Dry run', 'run-now': 'Run now', stop: 'Stop' };

function buttons(cleanup: WidgetCleanup, endpoint: string): Html[] {
  const { name } = cleanup;
  const questions: Record<Action, string> = {
    'dry-run': `Count the dead rows of ${name}, and delete none?`,
    'run-now': `Delete the dead rows of ${name} now?`,
    stop: `Stop all executions of ${name}?`,
  };
  // The answer is a popup: a refresh of the widget must not press the button again.
  return actionsOf(cleanup).map(
    (action) => html`<a class="btn">${LABELS[action]}</a>
<cwdb-action action="call" endpoint="${endpoint}" display="popup" confirmation="${questions[action]}">
${JSON.stringify({ action, cleanup: name })}
</cwdb-action>
`,
  );
}

function table(runs: readonly LoggedRun[]): Html {
  if (runs.length === 0) {
    return html`<p>No run in the last seven days.</p>`;
  }
  return html`<table>
<thead><tr><th>Ended</th><th>Outcome</th><th>Deleted</th><th>Remaining</th><th>Seconds</th><th>Error</th></tr></thead>
<tbody>${runs.map(row)}</tbody>
</table>`;
}

function row({ endedAt, status, dryRun, rowsDeleted, rowsRemaining, durationMs, error }: LoggedRun): Html {
  const outcome = dryRun ? `${status} (dry run)` : status;
  const remaining = rowsRemaining === undefined ? 'not counted' : countOf(rowsRemaining);
  return html`<tr><td>${timeOf(endedAt)}</td><td>${outcome}</td><td>${countOf(rowsDeleted)}</td><td>${remaining}</td>
<td>${(durationMs / 1000).toFixed(1)}</td><td>${error}</td></tr>`;
}

/** The answer to a button. */
export function answer(text: string): Html {
  return html`<p>${text}</p>`;
}

function timeOf(date: Date): string {
  return `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function countOf(rows: number): string {
  return rows.toLocaleString('en');
}
