import type { QueryResult, Statement } from '../database/queryable';
import type { DeathCondition, Recheck } from './conditions/condition';
import type { ReferringKey } from './conditions/referring-key';
import { type Deleted, type Doomed, deletedIn, deletion } from './deletion';
import { KeptRows } from './kept-rows';
import type { Obstacle, WalkEnd } from './outcome';
import type { Turns } from './pace/turns';
import { blocksOf, type Piece } from './pieces';
import type { ReplicaLagBrake } from './replica-lag';
import { Sifter } from './sifter';
import { siftedIn, sumOf } from './sifting';
import type { Tally } from './tally';
import { Walk } from './walk';
import type { TableOptions } from './whole-table';

export interface PassOptions extends TableOptions {
  readonly condition: DeathCondition;
  /** The foreign keys that point at the table. */
  readonly keys: readonly ReferringKey[];
  readonly turns: Turns;
  readonly brake?: ReplicaLagBrake | undefined;
  /** How many rows may be deleted, and one batch more. */
  readonly maxRows?: number | undefined;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
}

export interface SweepProgress {
  readonly rowsDeleted: number;
  readonly blocksVisited: number;
  readonly blocksTotal: number;
}

/** Before rows that were locked are tried again: most transactions of a service are over by then. */
const LOCK_GRACE_MS = 250;

/** Deletes the dead rows of pieces of a table, and keeps a record of the rows that it could not delete. */
export class Pass {
  readonly #options: PassOptions;
  readonly #doomed: Doomed;
  readonly #tally: Tally;
  readonly #until: AbortSignal;
  readonly kept: KeptRows;
  obstacles: readonly Obstacle[] = [];
  unvisited: readonly Piece[] = [];
  /** Whether it ended while the table was locked as a whole. */
  isTableLocked = false;

  /** @param until ends the deleting */
  constructor(options: PassOptions, doomed: Doomed, tally: Tally, until: AbortSignal) {
    this.#options = options;
    this.#doomed = doomed;
    this.#tally = tally;
    this.#until = until;
    const refersToItself = options.keys.some(({ isSelf }) => isSelf);
    this.kept = new KeptRows(doomed.protections, refersToItself);
  }

  /**
   * Visits pieces, then those that are worth another attempt, in the opposite order: if the rows of a table refer to older
   * ones, a chain of dead rows is deleted from its newest end.
   */
  async visit(pieces: readonly Piece[]): Promise<WalkEnd> {
    let walk = this.#walk(pieces);
    let end = await this.#run(walk);
    const locked = walk.obstacles.filter(({ passing }) => passing).map(({ piece }) => piece);
    this.obstacles = [...this.obstacles, ...walk.obstacles.filter(({ passing }) => !passing)];
    if (locked.length > 0 && end === 'finished') {
      await this.#options.clock.sleep(LOCK_GRACE_MS, this.#until);
    }
    let again = [...locked, ...this.kept.takeWaiting()];
    for (let backwards = true; end === 'finished' && again.length > 0; backwards = !backwards) {
      const deletedBefore = this.#tally.deleted.rows;
      walk = this.#walk(backwards ? again : again.reverse(), backwards);
      end = await this.#run(walk);
      this.obstacles = [...this.obstacles, ...walk.obstacles];
      again = this.#tally.deleted.rows > deletedBefore && end === 'finished' ? this.kept.takeWaiting() : [];
    }
    this.unvisited = [...walk.unvisited, ...(end === 'finished' ? [] : again)];
    return end;
  }

  #walk(pieces: readonly Piece[], backwards = false): Walk<Deleted> {
    const { sessions, condition, turns, brake, maxRows, onProgress } = this.#options;
    const { isolation, recheck } = condition;
    const { deleted } = this.#tally;
    const blocksTotal = blocksOf(pieces);
    const walk = new Walk<Deleted>(
      {
        ...this.#options,
        backwards,
        // Several would exceed the limit by a batch each.
        sessions: maxRows === undefined ? sessions : [sessions[0]],
        statement: (piece) => deletion(this.#doomed, piece),
        sifter: new Sifter(this.#doomed, backwards),
        rowsIn: (result) => doneBy(result).rows,
        isolation,
        check: recheck && ((rows) => recheckOf(recheck, doneBy({ rows: [...rows], rowCount: null }))),
        until: this.#until,
        pause: async (session) => {
          await turns.commit(() => deleted.confirmSometimes(session));
          await brake?.release(session, this.#until);
        },
        flush: (session) => deleted.confirm(session),
        onStatement: (durationMs, done) => {
          this.#tally.addBatch(durationMs);
          if (done) {
            const result = doneBy(done.result);
            this.#tally.addRows(result);
            this.kept.add(done.piece, result.kept, result.refused);
            onProgress?.({ rowsDeleted: deleted.rows, blocksVisited: blocksTotal - walk.blocksPending, blocksTotal });
          }
        },
      },
      pieces,
    );
    return walk;
  }

  async #run(walk: Walk<Deleted>): Promise<WalkEnd> {
    const { sessions, turns } = this.#options;
    const end = await walk.run().finally(() => turns.commit(() => this.#tally.deleted.confirm(sessions[0])));
    this.isTableLocked = walk.isTableLocked;
    return end;
  }
}

function doneBy(result: QueryResult<unknown>): Deleted {
  const sifted = siftedIn(result);
  return sifted ? sumOf(sifted) : deletedIn(result);
}

function recheckOf(recheck: Recheck, { rechecked }: Deleted): Statement | undefined {
  return rechecked ? recheck.statement(rechecked) : undefined;
}
