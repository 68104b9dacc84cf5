import type { Condition } from './conditions/condition';
import type { Relation } from './conditions/relation';

/** A part of a relation that one statement can be narrowed to. */
export interface Piece {
  readonly relation: Relation;
  /** How many blocks it reads, or about; below one for a part of a block. */
  readonly blocks: number;
  /** Whether it is a single row, or the place of one. */
  readonly isRow: boolean;
  /** The part up to that many blocks, and the rest. */
  splitAt(blocks: number): [Piece, Piece];
  /** The part up to, but not including, a row, and the rest. */
  splitBefore(tid: string): [Piece, Piece];
  /**
   * Whether a row is in it, as SQL.
   *
   * @param row the prefix of the row's `ctid`, such as the name of a table and a dot
   * @param firstParameter the number of its first parameter
   */
  place(row: string, firstParameter: number): Condition;
}

/** Places for rows in a block; the largest block, of 32 kB, holds 1,169 rows. */
const PLACES_PER_BLOCK = 2_048;

/** All rows from one place of the heap up to, but not including, another. */
export class BlockRange implements Piece {
  readonly relation: Relation;
  readonly #from: number;
  readonly #to: number;

  /**
   * @param from the first block; a fraction stands for a place inside of a block
   * @param to the block after the last
   */
  constructor(relation: Relation, from: number, to: number) {
    this.relation = relation;
    this.#from = from;
    this.#to = to;
  }

  get blocks(): number {
    return this.#to - this.#from;
  }

  get isRow(): boolean {
    return this.blocks <= 1 / PLACES_PER_BLOCK;
  }

  splitAt(blocks: number): [Piece, Piece] {
    const middle = this.#from + blocks;
    return [new BlockRange(this.relation, this.#from, middle), new BlockRange(this.relation, middle, this.#to)];
  }

  splitBefore(tid: string): [Piece, Piece] {
    const [block = 0, place = 0] = tid.slice(1, -1).split(',').map(Number);
    return this.splitAt(block + place / PLACES_PER_BLOCK - this.#from);
  }

  place(row: string, firstParameter: number): Condition {
    const bound = (operator: string, parameter: number) =>
      `${row}ctid operator(pg_catalog.${operator}) $${parameter}::pg_catalog.tid`;
    return {
      text: `${bound('>=', firstParameter)} and ${bound('<', firstParameter + 1)}`,
      values: [tidAt(this.#from), tidAt(this.#to)],
    };
  }
}

function tidAt(position: number): string {
  const block = Math.floor(position);
  return `(${block},${Math.round((position - block) * PLACES_PER_BLOCK)})`;
}

/** Rows whose places are known. Each counts as a block. */
export class RowList implements Piece {
  readonly relation: Relation;
  readonly #tids: readonly string[];

  constructor(relation: Relation, tids: readonly string[]) {
    this.relation = relation;
    this.#tids = tids;
  }

  get blocks(): number {
    return this.#tids.length;
  }

  get isRow(): boolean {
    return this.blocks === 1;
  }

  splitAt(blocks: number): [Piece, Piece] {
    const part = (from: number, to?: number) => new RowList(this.relation, this.#tids.slice(from, to));
    return [part(0, blocks), part(blocks)];
  }

  splitBefore(tid: string): [Piece, Piece] {
    return this.splitAt(this.#tids.indexOf(tid));
  }

  place(row: string, firstParameter: number): Condition {
    return {
      text: `${row}ctid operator(pg_catalog.=) any($${firstParameter}::pg_catalog.tid[])`,
      values: [this.#tids],
    };
  }
}

/** Two parts of about the same size. Not for a single row. */
export function halvesOf(piece: Piece): [Piece, Piece] {
  const half = piece.blocks / 2;
  return piece.splitAt(piece.blocks > 1 ? Math.round(half) : Math.ceil(half * PLACES_PER_BLOCK) / PLACES_PER_BLOCK);
}

export function blocksOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { blocks }) => sum + blocks, 0);
}
