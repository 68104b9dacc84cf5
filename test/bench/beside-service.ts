import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Arena, Contender } from './contenders';
import { connect, type Prepared } from './laboratory';
import { runCapped } from './race';
import type { Bench } from './section';
import { ServiceLoad } from './service-load';
import { census } from './tables';

/** How the service and a contender are at work beside each other. */
export interface Circumstances {
  /** Operations of the service a second. */
  readonly rate: number;
  readonly rest?: Arena['rest'];
  readonly autovacuum?: boolean;
}

const LOOK_INTERVAL_MS = 50;

/** What the service felt during one turn of a contender, and what the contender did. */
export interface Turn {
  readonly latenciesMs: readonly number[];
  readonly durationMs: number;
  readonly rowsDeleted: number;
  readonly deadlocks: number;
  readonly longestLockWaitMs: number;
  readonly finished: boolean;
  readonly wrong?: string;
}

/** Lets a contender work beside the service on a fresh clone, until it is done or its time is up. */
export async function takeTurn(
  { laboratory, scale }: Pick<Bench, 'laboratory' | 'scale'>,
  prepared: Prepared,
  contender: Contender,
  { rate, rest = 'usual', autovacuum = false }: Circumstances,
  capMs: number,
): Promise<Turn> {
  const { course, before } = prepared;
  const url = await laboratory.clone(prepared);
  await laboratory.setAutovacuum(autovacuum);
  const observer = await connect(url, 'observer');
  const load = await ServiceLoad.start({
    url,
    rows: scale.serviceRows,
    rate,
    warmUpMs: scale.serviceWarmUpMs,
  });
  try {
    const locks = new LockWatch(await connect(url, 'observer'));
    load.begin();
    const { durationMs, stopped, error } = await runCapped(observer, contender, {
      url,
      ...course,
      capMs,
      rest,
    });
    const felt = await load.end();
    const longestLockWaitMs = await locks.stop();
    const after = await census(observer, course.table);
    const { rows } = await observer.query<{ deadlocks: number }>(
      'select deadlocks::float8 from pg_stat_database where datname = current_database()',
    );
    const finished = !stopped || after.dead <= felt.revoked;
    const wrong =
      felt.errors[0] ??
      error ??
      (after.live !== before.live + felt.liveChange
        ? 'live rows are gone'
        : after.dead > felt.revoked && !stopped
          ? `${after.dead - felt.revoked} dead rows are left`
          : undefined);
    return {
      latenciesMs: felt.latenciesMs,
      durationMs,
      rowsDeleted: before.dead + felt.revoked - after.dead,
      deadlocks: Math.max(felt.deadlocks, rows[0]?.deadlocks ?? 0),
      longestLockWaitMs,
      finished,
      ...(wrong !== undefined && { wrong }),
    };
  } finally {
    load.stop();
    await observer.end();
    await laboratory.setAutovacuum(false);
  }
}

/** Watches for how long the service waits for locks. */
class LockWatch {
  readonly #client: Client;
  readonly #watching: Promise<void>;
  #stopped = false;
  #longestMs = 0;

  constructor(client: Client) {
    this.#client = client;
    this.#watching = this.#watch();
  }

  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#watching;
    await this.#client.end();
    return this.#longestMs;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const { rows } = await this.#client.query<{ ms: number | null }>(
        `select max(extract(epoch from clock_timestamp() - waitstart) * 1000)::float8 as ms
         from pg_locks join pg_stat_activity using (pid)
         where not granted and application_name = 'token-service'`,
      );
      this.#longestMs = Math.max(this.#longestMs, rows[0]?.ms ?? 0);
      await delay(LOOK_INTERVAL_MS);
    }
  }
}
