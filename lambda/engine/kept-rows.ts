import { type Blockage, sumsByKey } from './outcome';
import type { Piece } from './pieces';
import { keptBy, type Protection } from './protection';

/** The rows of a piece that stayed. */
interface Kept {
  readonly piece: Piece;
  /** How many rows each protection keeps. */
  readonly rows: readonly number[];
  /** How many rows were tried in vain, by the reason. */
  readonly refused: ReadonlyMap<string, number>;
}

/** Remembers the pieces with rows that a foreign key kept, so that they are tried again once referring rows are deleted. */
export class KeptRows {
  readonly #protections: readonly Protection[];
  readonly #refusedMayWait: boolean;
  #kept: Kept[] = [];

  /** @param refusedMayWait whether dead rows of the table itself may be the reason why others are refused */
  constructor(protections: readonly Protection[], refusedMayWait: boolean) {
    this.#protections = protections;
    this.#refusedMayWait = refusedMayWait;
  }

  /**
   * @param rows how many rows each protection keeps
   * @param refused the reason of each row that was tried in vain
   */
  add(piece: Piece, rows: readonly number[], refused: readonly string[] = []): void {
    if (refused.length > 0 || rows.some((count) => count > 0)) {
      this.#kept.push({ piece, rows, refused: sumsByKey(refused.map((reason) => [reason, 1])) });
    }
  }

  /** How many there are. */
  get rows(): number {
    return [...this.#sums, ...this.#refused.values()].reduce((sum, rows) => sum + rows, 0);
  }

  get blockages(): Blockage[] {
    const known = keptBy(
      this.#protections.map(({ path }) => path),
      this.#sums,
    );
    return [...known, ...[...this.#refused].map(([reason, rows]) => ({ reason, rows }))];
  }

  /** Whether rows of one of these tables keep some. */
  isKeptBy(oids: ReadonlySet<number>): boolean {
    return this.#kept.some((kept) => this.#has(kept, by(oids)));
  }

  /** Forgets the pieces in which rows of these tables keep some, to be visited again. */
  takeKeptBy(oids: ReadonlySet<number>): Piece[] {
    return this.#take(by(oids));
  }

  /** Forgets the pieces in which dead rows of the table itself keep some, to be visited again. */
  takeWaiting(): Piece[] {
    return this.#take(({ waits }) => waits, this.#refusedMayWait);
  }

  #take(matches: (protection: Protection) => boolean, orRefused = false): Piece[] {
    const taken = this.#kept.filter((kept) => this.#has(kept, matches) || (orRefused && kept.refused.size > 0));
    this.#kept = this.#kept.filter((kept) => !taken.includes(kept));
    return taken.map(({ piece }) => piece);
  }

  #has({ rows }: Kept, matches: (protection: Protection) => boolean): boolean {
    return this.#protections.some((protection, index) => (rows[index] ?? 0) > 0 && matches(protection));
  }

  /** For each protection. */
  get #sums(): number[] {
    return this.#protections.map((_, index) => this.#kept.reduce((sum, { rows }) => sum + (rows[index] ?? 0), 0));
  }

  get #refused(): ReadonlyMap<string, number> {
    return sumsByKey(this.#kept.flatMap(({ refused }) => [...refused]));
  }
}

function by(oids: ReadonlySet<number>) {
  return ({ path }: Protection) => path.some(({ oid }) => oids.has(oid));
}
