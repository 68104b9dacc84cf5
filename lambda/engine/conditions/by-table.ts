/**
 * Indexes things by the oids of their tables, so that finding them takes no search through thousands of tables.
 *
 * @returns finds those that belong to one of some tables, in their original order
 */
export function byTable<Thing>(
  things: readonly Thing[],
  oidsOf: (thing: Thing) => Iterable<number>,
): (oids: Iterable<number>) => Thing[] {
  const positionsOf = new Map<number, number[]>();
  for (const [position, thing] of things.entries()) {
    for (const oid of oidsOf(thing)) {
      const positions = positionsOf.get(oid) ?? [];
      positionsOf.set(oid, positions);
      positions.push(position);
    }
  }
  return (oids) => {
    const positions = new Set([...oids].flatMap((oid) => positionsOf.get(oid) ?? []));
    return [...positions].sort((a, b) => a - b).flatMap((position) => things[position] ?? []);
  };
}
