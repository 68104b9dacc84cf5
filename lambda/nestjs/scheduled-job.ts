import type { OnApplicationBootstrap } from '@nestjs/common';
import type { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import type { TokenCleanupService } from '../token-cleanup-service';
import type { JobOptions } from './options';

/** Registers the job, under the name `token-cleanup`, once the application is complete. */
export class ScheduledJob implements OnApplicationBootstrap {
  readonly #service: TokenCleanupService;
  readonly #options: JobOptions | undefined;
  readonly #scheduler: SchedulerRegistry | undefined;

  /**
   * @param options `undefined` if the job does not run
   * @param scheduler `undefined` if the application has none
   */
  constructor(service: TokenCleanupService, options: JobOptions | undefined, scheduler: SchedulerRegistry | undefined) {
    this.#service = service;
    this.#options = options;
    this.#scheduler = scheduler;
  }

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
      await this.#service.run(); // never throws: a failure is logged as an error
    };
    const job = CronJob.from({ cronTime, timeZone, onTick, waitForCompletion: true, start: true });
    this.#scheduler.addCronJob('token-cleanup', job);
  }
}
