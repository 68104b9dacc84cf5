/** The service: a run on one database, or on the databases of a server. */

import { type Clock, deadlinesOf, systemClock } from './clock';
import type { RunRequest } from './configuration/event';
import { runOnDatabases } from './run/databases';
import { runOptions, type TokenCleanupOptions } from './run/options';
import { logReport, type RunReport, runReport } from './run/report';
import { Run } from './run/run';

export type { TokenCleanupOptions } from './run/options';

/** Deletes the dead rows of token tables. One run at a time works on a database. */
export class TokenCleanupService {
  readonly #options: TokenCleanupOptions;
  readonly #clock: Clock;

  constructor(options: TokenCleanupOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Sweeps every table once. Never throws: a failure is logged and reported. */
  async run(request: RunRequest = {}): Promise<RunReport> {
    const startedAt = this.#clock.now();
    const deadlines = deadlinesOf(this.#clock, request.timeLeftMs, request.signal);
    const options = runOptions(this.#options, request);
    for (const warning of options.warnings ?? []) {
      options.logger.warn(warning, {});
    }
    const result = options.databases
      ? await runOnDatabases(options, options.databases, this.#clock, deadlines)
      : await new Run(options, this.#clock, deadlines).execute();
    deadlines.clear();
    const warnings = [...(options.warnings ?? []), ...(result.warnings ?? [])];
    const report = runReport(
      { ...result, ...(warnings.length > 0 && { warnings }) },
      { ...options, durationMs: Math.round(this.#clock.now() - startedAt) },
    );
    logReport(options.logger, report);
    return report;
  }
}
