/** The share of the time in which a run worked on a table, and the reason for it. */
export interface PaceReport {
  /** The share of the time in which the server worked on statements of the run, all connections together. */
  readonly share: number;
  readonly reason: string;
}

export type PaceState = keyof typeof REASONS;

export const REASONS = {
  alone: 'no other session was active',
  beside: 'other sessions were active',
  vacuum: 'other sessions were active, and autovacuum did not keep up with the dead tuples',
  hurried: 'other sessions were active, and the deadline demanded more than 5 % of the time',
};

/** Adds up the time that a run worked, and the time that it spent in each state. */
export class Times {
  readonly #states = new Map<PaceState, number>();
  #startedAt: number | undefined;
  #tickedAt = 0;
  #workedMs = 0;

  /** Notes that the state was this one since the last note. */
  tick(now: number, state: PaceState): void {
    this.#startedAt ??= now;
    const sinceMs = now - Math.max(this.#tickedAt, this.#startedAt);
    this.#states.set(state, (this.#states.get(state) ?? 0) + sinceMs);
    this.#tickedAt = now;
  }

  work(ms: number, now: number, state: PaceState): void {
    this.#workedMs += ms;
    this.tick(now, state);
  }

  report(now: number): PaceReport | undefined {
    const elapsedMs = now - (this.#startedAt ?? now);
    return this.#workedMs > 0 && elapsedMs > 0
      ? { share: Math.round((100 * this.#workedMs) / elapsedMs) / 100, reason: this.#reason(elapsedMs) }
      : undefined;
  }

  #reason(elapsedMs: number): string {
    const parts = [...this.#states]
      .map(([state, ms]) => ({ reason: REASONS[state], percent: Math.round((100 * ms) / elapsedMs) }))
      .filter(({ percent }) => percent > 0)
      .sort((a, b) => b.percent - a.percent);
    return parts.length > 1
      ? parts.map(({ reason, percent }) => `${percent} % of the time: ${reason}`).join('; ')
      : (parts[0]?.reason ?? REASONS.alone);
  }
}
