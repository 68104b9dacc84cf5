import type { Pace } from './pace';
import { type PaceReport, Times } from './pace-report';
import { type Batch, FIRST_WIDTH_WITH_KEYS_BLOCKS, FULL_SPEED_BATCH_MS, Width } from './width';

/** Some 2,000 dead rows of a token table of which half is dead; from there the width adapts. */
const FIRST_WIDTH_BLOCKS = 64;

/** The server ends our sessions after two idle minutes. */
const LONGEST_REST_MS = 60_000;

/** Works a fixed share of the time on each connection, alone or beside others. */
export class FixedPace implements Pace {
  readonly shared = false;
  readonly flushIsDue = false;
  readonly #share: number;
  readonly #nextAt = new Map<object, number>();
  #width = new Width(FIRST_WIDTH_BLOCKS);
  #times = new Times();

  /** @param share above 0 up to 1 */
  constructor(share: number) {
    this.#share = share;
  }

  get width(): number {
    return this.#width.blocks;
  }

  start(now: number, hasKeys: boolean): void {
    this.#width = new Width(hasKeys ? FIRST_WIDTH_WITH_KEYS_BLOCKS : FIRST_WIDTH_BLOCKS);
    this.#times = new Times();
    this.#times.tick(now);
  }

  lookIsDue(): boolean {
    return false;
  }

  see(): void {}

  plan(): void {}

  restMs(lane: object, now: number): number {
    return Math.max(0, (this.#nextAt.get(lane) ?? now) - now);
  }

  begin(): void {}

  end(lane: object, batch: Batch, now: number): void {
    const restFromMs = this.#width.learn(batch, FULL_SPEED_BATCH_MS);
    const restMs = Math.min(restFromMs * (1 / this.#share - 1), LONGEST_REST_MS);
    this.#nextAt.set(lane, now + restMs);
    this.#times.work(batch.workedMs, now);
  }

  load(connections: number): number {
    return this.#share * connections;
  }

  reason(): string {
    return `maxLoad is ${this.#share}`;
  }

  report(now: number): PaceReport | undefined {
    const report = this.#times.report(now);
    return report && { ...report, reason: this.reason() };
  }
}
