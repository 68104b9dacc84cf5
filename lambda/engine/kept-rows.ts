import { quoteIdentifier } from '../conditions/sql';
import type { Blockage } from './outcome';
import type { Piece } from './pieces';
import type { Protection } from './protection';

/** The rows of a piece that protections keep. */
interface Kept {
  readonly piece: Piece;
  /** How many rows each protection keeps. */
  readonly rows: readonly number[];
}

/** Remembers where rows were left out for a foreign key, so that they are tried again once rows that refer are gone. */
export class KeptRows {
  readonly #protections: readonly Protection[];
  #kept: Kept[] = [];

  constructor(protections: readonly Protection[]) {
    this.#protections = protections;
  }

  /** @param rows how many rows each protection keeps */
  add(piece: Piece, rows: readonly number[]): void {
    if (rows.some((count) => count > 0)) {
      this.#kept.push({ piece, rows });
    }
  }

  clear(): void {
    this.#kept = [];
  }

  /** How many there are. */
  get rows(): number {
    return this.#sums.reduce((sum, rows) => sum + rows, 0);
  }

  get blockages(): Blockage[] {
    const sums = this.#sums;
    return this.#protections.flatMap(({ path }, index) => {
      const rows = sums[index] ?? 0;
      const key = path.at(-1) ?? path[0];
      return rows > 0 ? [{ reason: `foreign key ${quoteIdentifier(key.constraint)} of ${key.quotedTable}`, rows }] : [];
    });
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
    return this.#take(({ waits }) => waits);
  }

  #take(matches: (protection: Protection) => boolean): Piece[] {
    const taken = this.#kept.filter((kept) => this.#has(kept, matches));
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
}

function by(oids: ReadonlySet<number>) {
  return ({ path }: Protection) => path.some(({ oid }) => oids.has(oid));
}
