import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Answer, Command, Load, LoadResult } from './service-process';

/** A token service at work on the arena, in a process of its own so that nothing else keeps it waiting. */
export class ServiceLoad {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  /** Returns when the service is warm. */
  static async start(load: Load): Promise<ServiceLoad> {
    const service = new ServiceLoad(fork(join(__dirname, 'service-process.ts')));
    service.#tell(load);
    await service.#answer();
    return service;
  }

  /** Counts the requests that are due from now on. */
  begin(): void {
    this.#tell('begin');
  }

  /** Nothing is due any more; returns when everything that was is done. */
  async end(): Promise<LoadResult> {
    this.#tell('end');
    return (await this.#answer()) as LoadResult;
  }

  stop(): void {
    this.#process.kill();
  }

  #tell(command: Command): void {
    this.#process.send(command);
  }

  async #answer(): Promise<Answer> {
    const ended = once(this.#process, 'exit').then(() => {
      throw new Error('the token service ended by itself');
    });
    ended.catch(() => {}); // it does end, once it is asked to
    const [message] = await Promise.race([once(this.#process, 'message'), ended]);
    return message as Answer;
  }
}
