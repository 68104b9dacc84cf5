import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import type { RunRequest } from '../configuration/event';
import { runOptions } from '../run/options';
import { notRunReport, type RunReport, SWITCHED_OFF } from '../run/report';
import { type TokenCleanupOptions, TokenCleanupService } from '../token-cleanup-service';
import type { JobOptions } from './options';

/** The service inside an application: it runs on a schedule, remembers its last run, and ends an active run at shutdown. */
export class ApplicationService
  extends TokenCleanupService
  implements OnApplicationBootstrap, BeforeApplicationShutdown
{
  /** The last run that was not a dry run. */
  lastRun: { readonly report: RunReport; readonly endedAt: Date } | undefined;

  readonly #options: JobOptions | undefined;
  readonly #scheduler: SchedulerRegistry | undefined;
  readonly #shutdown = new AbortController();
  readonly #running = new Set<Promise<RunReport>>();

  /**
   * @param options `undefined` if the job does not run
   * @param scheduler `undefined` if the application has none
   */
  constructor(options: JobOptions | undefined, scheduler: SchedulerRegistry | undefined) {
    super(options?.service ?? ({} as TokenCleanupOptions));
    this.#options = options;
    this.#scheduler = scheduler;
  }

  /** Registers the job, under the name `token-cleanup`, once the application is complete. */
  onApplicationBootstrap(): void {
    if (!this.#options) {
      return;
    }
    // An import of our own would create a second scheduler, which would run all jobs of the application twice.
    if (!this.#scheduler) {
      throw new Error('TokenCleanupModule needs ScheduleModule.forRoot() among the imports of the application');
    }
    const { crontab: cronTime, timeZone } = this.#options;
    const onTick = async () => {
      await this.run(); // never throws: a failure is logged as an error
    };
    const job = CronJob.from({ cronTime, timeZone, onTick, waitForCompletion: true, start: true });
    this.#scheduler.addCronJob('token-cleanup', job);
  }

  override async run(request: RunRequest = {}): Promise<RunReport> {
    if (!this.#options) {
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
