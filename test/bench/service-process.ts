import { createHash, randomUUID } from 'node:crypto';
import { Pool, type PoolClient } from 'pg';
import { TOKENS_PER_USER } from './tables';

/** A message from the parent process: first the load, then `begin`, then `end`. */
export type Command = Load | 'begin' | 'end';

export interface Load {
  readonly url: string;
  /** How many rows the table has; row `n` holds the hash of the token `n`. */
  readonly rows: number;
  /** Operations a second, whether those before are done or not, or as many as get done. */
  readonly rate: number | 'unlimited';
  readonly warmUpMs: number;
}

/** A message to the parent process: `ready` once it is warm, and the result at the end. */
export type Answer = 'ready' | LoadResult;

export interface LoadResult {
  /** From the moment at which each operation was due to its end, of those due between `begin` and `end`. */
  readonly latenciesMs: readonly number[];
  readonly deadlocks: number;
  /** Other failures, a line each. */
  readonly errors: readonly string[];
  /** By how much there are more live rows. */
  readonly liveChange: number;
  /** How many rows were revoked while they were alive. */
  readonly revoked: number;
}

// The connections of a small service.
const CONNECTIONS = 20;
/** Live tokens that are known by their hash, to be rotated. */
const KNOWN_TOKENS = 5_000;

/** A token service: it looks tokens up, rotates them, issues them, and revokes all of a user. */
class TokenService {
  readonly #pool: Pool;
  readonly #users: number;
  readonly #load: Load;
  readonly #underWay = new Set<Promise<void>>();
  readonly #latenciesMs: number[] = [];
  readonly #errors: string[] = [];
  #known: string[] = [];
  #deadlocks = 0;
  #liveChange = 0;
  #revoked = 0;
  #timer: NodeJS.Timeout | undefined;
  #begunAt = Number.POSITIVE_INFINITY;
  #endedAt = Number.POSITIVE_INFINITY;

  constructor(load: Load) {
    this.#load = load;
    this.#users = Math.max(1, Math.floor(load.rows / TOKENS_PER_USER));
    this.#pool = new Pool({ connectionString: load.url, max: CONNECTIONS, application_name: 'token-service' });
    this.#pool.on('error', () => {});
  }

  async start(): Promise<void> {
    const { rows } = await this.#pool.query<{ token_hash: string }>(
      `select token_hash from refresh_tokens where ${LIVE} order by random() limit ${KNOWN_TOKENS}`,
    );
    this.#known = rows.map(({ token_hash }) => token_hash);
    if (this.#load.rate === 'unlimited') {
      for (let i = 0; i < CONNECTIONS; i += 1) {
        void this.#issueAgainAndAgain();
      }
    } else {
      this.#issueEvery(1_000 / this.#load.rate);
    }
    await new Promise((warm) => setTimeout(warm, this.#load.warmUpMs));
  }

  begin(): void {
    this.#begunAt = performance.now();
  }

  async end(): Promise<LoadResult> {
    this.#endedAt = performance.now();
    clearTimeout(this.#timer);
    await Promise.all(this.#underWay);
    await this.#pool.end();
    return {
      latenciesMs: this.#latenciesMs,
      deadlocks: this.#deadlocks,
      errors: [...new Set(this.#errors)],
      liveChange: this.#liveChange,
      revoked: this.#revoked,
    };
  }

  #issueEvery(intervalMs: number): void {
    let dueAt = performance.now();
    const issue = () => {
      for (; dueAt <= performance.now(); dueAt += intervalMs) {
        this.#issue(dueAt);
      }
      this.#timer = setTimeout(issue, dueAt - performance.now());
    };
    issue();
  }

  async #issueAgainAndAgain(): Promise<void> {
    while (this.#endedAt === Number.POSITIVE_INFINITY) {
      await this.#issue(performance.now());
    }
  }

  #issue(dueAt: number): Promise<void> {
    const operation = this.#operation()
      .catch((error: { code?: string; message: string }) => {
        if (error.code === '40P01') {
          this.#deadlocks += 1;
        } else {
          this.#errors.push(error.message);
        }
      })
      .then(() => {
        // Counted from when it was due: an operation that had to queue has waited as well.
        if (dueAt >= this.#begunAt && dueAt < this.#endedAt) {
          this.#latenciesMs.push(performance.now() - dueAt);
        }
        this.#underWay.delete(operation);
      });
    this.#underWay.add(operation);
    return operation;
  }

  #operation(): Promise<void> {
    const dice = Math.random();
    if (dice < 0.7) {
      return this.#lookUp();
    }
    if (dice < 0.9) {
      return this.#rotate();
    }
    return dice < 0.95 ? this.#logIn() : this.#logOutEverywhere();
  }

  async #lookUp(): Promise<void> {
    const token = 1 + Math.floor(Math.random() * this.#load.rows);
    await this.#pool.query({
      name: 'look up',
      text: 'select user_id, revoked, expires_at from refresh_tokens where token_hash = $1',
      values: [hashOf(String(token))],
    });
  }

  /** A token is used: it is revoked, and another takes its place. */
  async #rotate(): Promise<void> {
    const [used] = this.#known.splice(Math.floor(Math.random() * this.#known.length), 1);
    const hash = hashOf(randomUUID());
    const rotated = await this.#transaction(async (client) => {
      const { rows } = await client.query({
        name: 'find',
        text: `select id, user_id, family_id from refresh_tokens where token_hash = $1 and ${LIVE} for update`,
        values: [used],
      });
      const [token] = rows;
      if (token) {
        await client.query({ name: 'issue', text: ISSUE_SQL, values: [token.user_id, hash, token.family_id] });
        await client.query({
          name: 'revoke',
          text: 'update refresh_tokens set revoked = true where id = $1',
          values: [token.id],
        });
      }
      return token !== undefined;
    });
    if (rotated) {
      this.#known.push(hash);
      this.#revoked += 1;
    }
  }

  async #logIn(): Promise<void> {
    const hash = hashOf(randomUUID());
    await this.#pool.query({ name: 'issue', text: ISSUE_SQL, values: [this.#someUser(), hash, randomUUID()] });
    this.#known.push(hash);
    this.#liveChange += 1;
  }

  /** Touches rows that have expired too, as services do: those are the rows that a cleaner may hold. */
  async #logOutEverywhere(): Promise<void> {
    const { rows } = await this.#pool.query<{ was_live: boolean }>({
      name: 'log out everywhere',
      text: `update refresh_tokens set revoked = true where user_id = $1 and not revoked
             returning expires_at is null or expires_at >= now() as was_live`,
      values: [this.#someUser()],
    });
    const revoked = rows.filter(({ was_live }) => was_live).length;
    this.#revoked += revoked;
    this.#liveChange -= revoked;
  }

  #someUser(): number {
    return 1 + Math.floor(Math.random() * this.#users);
  }

  async #transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    try {
      await client.query('begin');
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  }
}

const LIVE = 'not revoked and (expires_at is null or expires_at >= now())';

const ISSUE_SQL = `
  insert into refresh_tokens (user_id, token_hash, family_id, expires_at)
  values ($1, $2, $3, now() + interval '30 days')`;

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

function answer(message: Answer): void {
  process.send?.(message);
}

let service: TokenService | undefined;
process.on('message', async (command: Command) => {
  if (command === 'begin') {
    service?.begin();
  } else if (command === 'end') {
    const result = await service?.end();
    process.send?.(result, () => process.disconnect());
  } else {
    service = new TokenService(command);
    await service.start();
    answer('ready');
  }
});
// The parent process is gone.
process.on('disconnect', () => process.exit());
