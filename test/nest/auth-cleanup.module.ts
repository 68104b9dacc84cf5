import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { Injectable, Logger, Module, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import { DEFAULT_TARGETS, fixedCredentials, parseTargets, TokenCleanupService } from 'token-cleanup/service';

const log = new Logger(TokenCleanupService.name);

const tokenCleanupService = {
  provide: TokenCleanupService,
  inject: [ConfigService],
  useFactory: (config: ConfigService) =>
    new TokenCleanupService({
      connection: {
        credentials: fixedCredentials({
          host: config.getOrThrow('DB_HOST'),
          port: Number(config.get('DB_PORT', 5432)),
          database: config.getOrThrow('DB_NAME'),
          user: config.getOrThrow('DB_USER'),
          password: config.getOrThrow('DB_PASSWORD'),
        }),
        trustedCertificates:
          config.get('DB_SSL_MODE') === 'disable'
            ? false
            : [...rootCertificates, readFileSync(config.getOrThrow('DB_SSL_ROOT_CERT'), 'utf8')],
      },
      targets: parseTargets(DEFAULT_TARGETS),
      logger: {
        debug: () => {}, // progress, four times a second
        info: (message, details) => log.log(message, details),
        warn: (message, details) => log.warn(message, details),
        error: (message, details) => log.error(message, details),
      },
    }),
};

@Injectable()
class TokenCleanupJob implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly shutdown = new AbortController();
  private lastRun?: Promise<unknown>;

  constructor(
    private readonly service: TokenCleanupService,
    private readonly config: ConfigService,
    private readonly scheduler: SchedulerRegistry,
  ) {}

  onApplicationBootstrap() {
    const cronTime = this.config.get('REFRESH_TOKEN_CLEANUP_CRON', '0 3 * * *');
    const onTick = () => this.run();
    const job = CronJob.from({ cronTime, timeZone: 'UTC', onTick, waitForCompletion: true, start: true });
    this.scheduler.addCronJob('token-cleanup', job);
  }

  async onApplicationShutdown() {
    this.shutdown.abort(); // a run ends after the batch that is under way, of milliseconds
    await this.lastRun;
  }

  private async run() {
    this.lastRun = this.service.run({ signal: this.shutdown.signal }); // never throws: what fails is logged as an error
    await this.lastRun;
  }
}

@Module({
  imports: [ConfigModule, ScheduleModule.forRoot()],
  providers: process.env.NODE_ENV === 'test' ? [] : [tokenCleanupService, TokenCleanupJob],
})
export class AuthCleanupModule {}
