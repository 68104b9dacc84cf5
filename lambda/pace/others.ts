/** The state of the cluster at one moment. */
export interface Reading {
  /** The session that read it. */
  readonly pid: number;
  /** One more than the last transaction id that was used up, whatever the database. */
  readonly nextId: number;
  /** Log that is not on disk yet; absent if that cannot be read. */
  readonly unflushedBytes?: number;
  /** Whether autovacuum does not keep up with the dead tuples of the table. */
  readonly deadTuplesPileUp: boolean;
  readonly walSenders: readonly number[];
  /** The sessions that hold a transaction id or a snapshot, the reading one among them. */
  readonly sessions: readonly { readonly pid: number; readonly xid: string | null; readonly xmin: string | null }[];
}

/**
 * Recognizes the work of other sessions, whatever their role and database.
 *
 * A writing transaction takes a transaction id; the ids that went less our own are those of the others. A reading one
 * shows in `pg_stat_activity` if a look happens to meet it. A session that holds the same id and snapshot as at the last
 * look is idle in its transaction.
 */
export class Others {
  readonly #ownPids = new Set<number>();
  #firstId: number | undefined;
  /** The ids that our statements took, and may have taken. */
  #ownIds = 0;
  #underWay = 0;
  #otherIds = 0;
  #sessions: ReadonlySet<string> | undefined;

  /** To be called before a statement that may take a transaction id. */
  began(): void {
    this.#underWay += 1;
  }

  /** To be called after it. @param tookId also if it failed and may have taken one */
  ended(tookId: boolean): void {
    this.#underWay -= 1;
    this.#ownIds += tookId ? 1 : 0;
  }

  /** Whether others worked since the reading before. The first one compares with nothing, and shows nobody. */
  compare(reading: Reading): boolean {
    this.#ownPids.add(reading.pid);
    const [idsWent, sessionsMoved] = [this.#otherIdsWent(reading.nextId), this.#sessionsMoved(reading)];
    return idsWent || sessionsMoved;
  }

  #otherIdsWent(nextId: number): boolean {
    if (this.#firstId === undefined || nextId < this.#firstId) {
      // A crash hands ids out again.
      this.#firstId = nextId;
      this.#ownIds = 0;
      this.#otherIds = 0;
      return false;
    }
    // The ids of our statements that are under way may be among those that went, or not.
    const leastOtherIds = nextId - this.#firstId - this.#ownIds - this.#underWay;
    const went = leastOtherIds > this.#otherIds;
    this.#otherIds = Math.max(this.#otherIds, leastOtherIds);
    return went;
  }

  #sessionsMoved({ sessions, walSenders }: Reading): boolean {
    const before = this.#sessions;
    const others = sessions.filter(({ pid }) => !this.#ownPids.has(pid) && !walSenders.includes(pid));
    this.#sessions = new Set(others.map(({ pid, xid, xmin }) => `${pid} ${xid} ${xmin}`));
    return before !== undefined && [...this.#sessions].some((session) => !before.has(session));
  }
}
