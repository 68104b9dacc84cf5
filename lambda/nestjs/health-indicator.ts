import type { RunStatus } from '../run/report';
import type { ApplicationService } from './application-service';

/** The state of the job as `@nestjs/terminus` expects it. */
export interface TokenCleanupHealth {
  readonly status: 'up' | 'down';
  /** The status of the last run of this instance; absent before the first. */
  readonly lastRun?: RunStatus;
  readonly endedAt?: string;
  readonly rowsDeleted?: number;
  readonly error?: string;
}

/**
 * A health indicator for `HealthCheckService.check()` of `@nestjs/terminus`: down if the last run failed.
 *
 * Not for a liveness probe: a restart of the service repairs no failed run.
 */
export class TokenCleanupHealthIndicator {
  readonly #service: ApplicationService;

  /** @internal */
  constructor(service: ApplicationService) {
    this.#service = service;
  }

  isHealthy<Key extends string = 'token-cleanup'>(key?: Key): Record<Key, TokenCleanupHealth> {
    return { [key ?? 'token-cleanup']: this.#health() } as Record<Key, TokenCleanupHealth>;
  }

  #health(): TokenCleanupHealth {
    const { lastRun } = this.#service;
    if (!lastRun) {
      return { status: 'up' };
    }
    const { status, rowsDeleted, error } = lastRun.report;
    return {
      status: status === 'failed' ? 'down' : 'up',
      lastRun: status,
      endedAt: lastRun.endedAt.toISOString(),
      rowsDeleted,
      ...(error !== undefined && { error }),
    };
  }
}
