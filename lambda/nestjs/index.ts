/** Public API of `token-cleanup/nestjs`: the job as a module of a NestJS application. */

import { type DynamicModule, type FactoryProvider, Module, type ModuleMetadata } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { isEnabled } from '../configuration/environment';
import { TokenCleanupService } from '../token-cleanup-service';
import { ApplicationService } from './application-service';
import { TokenCleanupHealthIndicator } from './health-indicator';
import {
  environmentFrom,
  type JobOptions,
  jobOptions,
  type TokenCleanupModuleOptions,
  type VariableSource,
} from './options';

export { type TokenCleanupHealth, TokenCleanupHealthIndicator } from './health-indicator';
export type { TokenCleanupModuleOptions } from './options';
export { TokenCleanupService };

const JOB_OPTIONS = Symbol('TokenCleanupJobOptions');

export interface TokenCleanupModuleAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  /** Providers that the factory receives. */
  readonly inject?: FactoryProvider['inject'];
  // biome-ignore lint/suspicious/noExplicitAny: the factory knows the types of the providers that it receives.
  readonly useFactory: (...injected: any[]) => TokenCleanupModuleOptions | Promise<TokenCleanupModuleOptions>;
}

/**
 * Runs the job on a schedule, and provides `TokenCleanupService` and `TokenCleanupHealthIndicator` everywhere. If `NODE_ENV`
 * is `test`, the module schedules no job and reads no configuration, and a run returns `skipped`.
 */
@Module({})
// biome-ignore lint/complexity/noStaticOnlyClass: a dynamic module of NestJS is one.
export class TokenCleanupModule {
  /** The job with static options. Variables of the environment fill in the others. */
  static forRoot(options: TokenCleanupModuleOptions = {}): DynamicModule {
    return TokenCleanupModule.forRootAsync({ useFactory: () => options });
  }

  /** The job with options from other providers. The factory is not called if `NODE_ENV` is `test`. */
  static forRootAsync({ imports = [], inject = [], useFactory }: TokenCleanupModuleAsyncOptions): DynamicModule {
    const configuration = nestConfiguration();
    const optionsProvider: FactoryProvider<JobOptions | undefined> = {
      provide: JOB_OPTIONS,
      inject: [...(configuration ? [configuration.ConfigService] : []), ...inject],
      useFactory: async (...injected) => {
        const variables: VariableSource = configuration ? injected.shift() : { get: (name) => process.env[name] };
        const environment = { NODE_ENV: process.env.NODE_ENV, ...environmentFrom(variables) };
        return isEnabled(environment) ? jobOptions(await useFactory(...injected), environment) : undefined;
      },
    };
    return {
      module: TokenCleanupModule,
      global: true,
      imports: configuration ? [configuration.ConfigModule, ...imports] : imports,
      providers: [
        optionsProvider,
        {
          provide: TokenCleanupService,
          inject: [JOB_OPTIONS, { token: SchedulerRegistry, optional: true }],
          useFactory: (options?: JobOptions, scheduler?: SchedulerRegistry) =>
            new ApplicationService(options, scheduler),
        },
        {
          provide: TokenCleanupHealthIndicator,
          inject: [TokenCleanupService],
          useFactory: (service: ApplicationService) => new TokenCleanupHealthIndicator(service),
        },
      ],
      exports: [TokenCleanupService, TokenCleanupHealthIndicator],
    };
  }
}

interface NestConfiguration {
  readonly ConfigModule: new () => object;
  readonly ConfigService: new () => VariableSource;
}

/** The configuration package of Nest, if it is installed. */
function nestConfiguration(): NestConfiguration | undefined {
  try {
    return require('@nestjs/config');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') {
      return undefined;
    }
    throw error;
  }
}
