import type { RunRequest } from '../../lambda/configuration/event';
import type { TargetsInput } from '../../lambda/configuration/targets';
import type { CredentialSource } from '../../lambda/database/session';
import type { RunReport } from '../../lambda/run/report';
import type { TokenCleanupOptions } from '../../lambda/token-cleanup-service';
import { type TestDatabase, useDatabase } from './database';
import { TcpProxy } from './tcp-proxy';

/** The number of rows to delete. As many are alive. */
export const DEAD = 10_000;
export const PURGER = { user: 'purger', password: 'right' };
export const TARGETS: TargetsInput = [{ table: 'refresh_tokens', deleteWhen: [{ revoked: true }, { used: true }] }];
/** Covers each column of the rules by name, so that a run notices a missing one. */
export const GRANTS = `
  grant delete, select (ctid, revoked, used) on refresh_tokens to purger`;

interface Circumstances extends Partial<Omit<TokenCleanupOptions, 'targets'>> {
  readonly request?: RunRequest;
  readonly credentials?: CredentialSource;
  readonly reconnectTimeoutMs?: number;
  /** Begins once the run has deleted something and has more to do. */
  readonly strike?: () => Promise<unknown>;
}

/** A fault that a run does not survive. */
export interface Trouble {
  /** Comes before the run. */
  readonly before?: () => Promise<unknown>;
  /** Comes once the run has deleted something and has more to do. */
  readonly strike?: () => Promise<unknown>;
  /** Repairs what the next run needs. */
  readonly after?: () => Promise<unknown>;
}

/** A server, a proxy before it and a table that is half dead, for each test of a file. */
export function useFaultyRuns(): FaultyRuns {
  const faults = new FaultyRuns(useDatabase());
  beforeEach(() => faults.prepare());
  afterEach(() => faults.proxy.stop());
  return faults;
}

class FaultyRuns {
  /** Stands between the run and the server. */
  proxy!: TcpProxy;

  constructor(readonly database: TestDatabase) {}

  async prepare(): Promise<void> {
    this.proxy = await TcpProxy.start(this.database.server.host, this.database.server.port);
    await this.database.sql(`
      do $$ begin
        if to_regrole('purger') is null then create role purger; end if;
      end $$;
      alter role purger login password 'right' connection limit -1;
      create table refresh_tokens (id int, token_hash text, revoked boolean, used boolean);
      insert into refresh_tokens
      select id, repeat('x', 150), id % 2 = 0, false from generate_series(1, ${2 * DEAD}) as id;
      create table alive as select * from refresh_tokens where not revoked;
      ${GRANTS}`);
  }

  /** A run through the proxy that rests most of the time, so that a fault finds it half done. */
  async run({ request, credentials, reconnectTimeoutMs = 10_000, strike, ...options }: Circumstances = {}) {
    const { logger, happened } = this.database.atProgress(async ({ blocksVisited, blocksTotal }) => {
      expect(blocksVisited).toBeLessThan(blocksTotal);
      await strike?.();
    });
    const connection = this.database.connection({ ...PURGER, port: this.proxy.port });
    const report = await this.database
      .service({
        targets: TARGETS,
        connection: { ...connection, ...(credentials && { credentials }), reconnectTimeoutMs },
        logger: strike ? logger : this.database.logger,
        concurrency: 2,
        maxLoad: 0.2,
        ...options,
      })
      .run(request);
    await (strike && happened());
    return report;
  }

  /** Checks a run that overcame a fault. */
  async expectGoodEnd(report: RunReport, dead = DEAD): Promise<void> {
    expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
    expect(report).not.toHaveProperty('error');
    await this.expectNoHarm(report, dead);
  }

  /**
   * Checks the promises that hold after each run, for any fault.
   *
   * @param dead the number of rows to delete
   */
  async expectNoHarm(report: RunReport, dead = DEAD): Promise<void> {
    const { database } = this;
    expect(await database.sql('table alive except table refresh_tokens')).toEqual([]);
    const left = await this.countDead();
    expect(report.rowsDeleted).toBeLessThanOrEqual(dead - left);
    expect(report.targets.map(({ rowsRemaining = left }) => rowsRemaining)).toEqual(report.targets.map(() => left));
    await database.untilGone();

    const next = await database.service({ targets: TARGETS, connection: database.connection(PURGER) }).run();
    expect(next).toMatchObject({
      status: 'succeeded',
      rowsDeleted: left,
      targets: [{ stopReason: 'drained', rowsRemaining: 0 }],
    });
    expect(await database.sql('table refresh_tokens except table alive')).toEqual([]);
    expect(await database.sql('table alive except table refresh_tokens')).toEqual([]);
    await database.untilGone();
  }

  async countDead(): Promise<number> {
    const [{ dead = 0 } = {}] = await this.database.sql<{ dead: number }>(
      'select count(*)::int as dead from refresh_tokens where revoked',
    );
    return dead;
  }

  async terminateSweep(): Promise<void> {
    await this.database.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'token-cleanup'`,
    );
  }

  async restart(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    await this.database.server.stop(signal);
    await this.database.server.start();
    await this.database.disconnect();
  }

  /** Creates a trigger that runs on each row that is deleted. */
  async trigger(body: string): Promise<void> {
    await this.database.sql(`
      create function trouble() returns trigger language plpgsql as $$ begin ${body}; return old; end $$;
      create trigger trouble before delete on refresh_tokens for each row execute function trouble()`);
  }

  async dropTrigger(): Promise<void> {
    await this.database.sql('drop trigger trouble on refresh_tokens');
  }

  /** Makes a run take some seconds. */
  async slowDown(): Promise<void> {
    await this.trigger('if old.id % 10 = 0 then perform pg_sleep(0.001); end if');
  }
}
