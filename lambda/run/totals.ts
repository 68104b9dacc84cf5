/** Puts the results of many tables, databases and servers together. */

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Unknown if any of them is. */
export function sumIfKnown(numbers: readonly (number | undefined)[]): number | undefined {
  return numbers.reduce(
    (total, number) => (total === undefined || number === undefined ? undefined : total + number),
    0,
  );
}

/** Parts of a whole by a key, in the order in which the keys come first. */
export function groupedBy<Key, Part>(parts: Iterable<Part>, keyOf: (part: Part) => Key): Map<Key, [Part, ...Part[]]> {
  const groups = new Map<Key, [Part, ...Part[]]>();
  for (const part of parts) {
    const key = keyOf(part);
    const group = groups.get(key);
    if (group) {
      group.push(part);
    } else {
      groups.set(key, [part]);
    }
  }
  return groups;
}
