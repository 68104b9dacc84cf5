/** The state of the cluster at one moment. */
export interface Look {
  /** The session that read it. */
  readonly pid: number;
  /** The next transaction id, which all databases of the cluster share. */
  readonly nextId: number;
  /** Log that is not on disk yet, in bytes; 0 if that cannot be read, as on Aurora. */
  readonly unflushedBytes: number;
  /** Whether autovacuum does not keep up with the dead tuples of the table. */
  readonly deadTuplesPileUp: boolean;
  readonly walSenders: readonly number[];
  /** The sessions that hold a transaction id or a snapshot, the reading one among them. */
  readonly sessions: readonly { readonly pid: number; readonly xid: string | null; readonly xmin: string | null }[];
  /** The time that the server spent on the look. */
  readonly workedMs: number;
}

/**
 * Recognizes the work of other sessions, of all roles and databases.
 *
 * A writing transaction takes a transaction id: the ids used since the last look, less our own, belong to others. A reading
 * transaction shows in `pg_stat_activity` if it is active during a look. A session with the same id and snapshot as at the
 * last look is idle in its transaction.
 */
export class Others {
  readonly #ownPids = new Set<number>();
  #firstId: number | undefined;
  /** The number of ids that our statements took, and of those that they may have taken. */
  #ownIds = 0;
  #underWay = 0;
  #otherIds = 0;
  #sessions: ReadonlySet<string> | undefined;

  /** Call this before a statement that may take a transaction id. */
  began(): void {
    this.#underWay += 1;
  }

  /** Call this after it. @param ids how many it took, or may have taken if it failed */
  ended(ids: number): void {
    this.#underWay -= 1;
    this.#ownIds += ids;
  }

  /** Whether others worked since the previous look. The first look has none to compare with, and shows no others. */
  compare(look: Pick<Look, 'pid' | 'nextId' | 'walSenders' | 'sessions'>): boolean {
    this.#ownPids.add(look.pid);
    const [idsWent, sessionsMoved] = [this.#otherIdsWent(look.nextId), this.#sessionsMoved(look)];
    return idsWent || sessionsMoved;
  }

  #otherIdsWent(nextId: number): boolean {
    if (this.#firstId === undefined || nextId < this.#firstId) {
      // After a crash the server hands out the same ids again.
      this.#firstId = nextId;
      this.#ownIds = 0;
      this.#otherIds = 0;
      return false;
    }
    // Our statements in flight may or may not have taken their ids.
    const leastOtherIds = nextId - this.#firstId - this.#ownIds - this.#underWay;
    const went = leastOtherIds > this.#otherIds;
    this.#otherIds = Math.max(this.#otherIds, leastOtherIds);
    return went;
  }

  #sessionsMoved({ sessions, walSenders }: Pick<Look, 'sessions' | 'walSenders'>): boolean {
    const before = this.#sessions;
    const others = sessions.filter(({ pid }) => !this.#ownPids.has(pid) && !walSenders.includes(pid));
    this.#sessions = new Set(others.map(({ pid, xid, xmin }) => `${pid} ${xid} ${xmin}`));
    return before !== undefined && [...this.#sessions].some((session) => !before.has(session));
  }
}
