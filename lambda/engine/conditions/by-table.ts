/** Things by the oids of their tables, so that finding them takes no search through thousands of tables. */
export class ByTable<Thing> {
  readonly #things: readonly Thing[];
  readonly #positions = new Map<number, number[]>();

  constructor(things: readonly Thing[], oidsOf: (thing: Thing) => Iterable<number>) {
    this.#things = things;
    for (const [position, thing] of things.entries()) {
      for (const oid of oidsOf(thing)) {
        const positions = this.#positions.get(oid);
        if (positions) {
          positions.push(position);
        } else {
          this.#positions.set(oid, [position]);
        }
      }
    }
  }

  /** Those that belong to one of these tables, in their original order. */
  at(oids: Iterable<number>): Thing[] {
    const positions = new Set([...oids].flatMap((oid) => this.#positions.get(oid) ?? []));
    return [...positions].sort((a, b) => a - b).flatMap((position) => this.#things[position] ?? []);
  }
}
