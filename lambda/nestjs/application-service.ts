import type { BeforeApplicationShutdown } from '@nestjs/common';
import type { RunRequest } from '../configuration/event';
import { runOptions } from '../run/options';
import { notRunReport, type RunReport, SWITCHED_OFF } from '../run/report';
import { type TokenCleanupOptions, TokenCleanupService } from '../token-cleanup-service';

/** The service inside an application. It remembers its last run, and ends a run that is active at shutdown. */
export class ApplicationService extends TokenCleanupService implements BeforeApplicationShutdown {
  /** The last run that was not a dry run. */
  lastRun: { readonly report: RunReport; readonly endedAt: Date } | undefined;

  readonly #isEnabled: boolean;
  readonly #shutdown = new AbortController();
  readonly #running = new Set<Promise<RunReport>>();

  /** @param options `undefined` if the job does not run */
  constructor(options: TokenCleanupOptions | undefined) {
    super(options ?? ({} as TokenCleanupOptions));
    this.#isEnabled = options !== undefined;
  }

  override async run(request: RunRequest = {}): Promise<RunReport> {
    if (!this.#isEnabled) {
      return notRunReport(SWITCHED_OFF, runOptions({}, request));
    }
    const signals = [this.#shutdown.signal, ...(request.signal ? [request.signal] : [])];
    const run = super.run({ ...request, signal: AbortSignal.any(signals) });
    this.#running.add(run);
    const report = await run.finally(() => this.#running.delete(run));
    if (!report.dryRun) {
      this.lastRun = { report, endedAt: new Date() };
    }
    return report;
  }

  /** A run ends after the current batch, within milliseconds. */
  async beforeApplicationShutdown(): Promise<void> {
    this.#shutdown.abort();
    await Promise.all(this.#running);
  }
}
