import type { Erasure } from '../../lambda/erasure/ladder';

/** The last step that the deleted rows of a table have reached. */
export function stepOf({ unreadable, unlinked }: Erasure): string {
  return unlinked ? 'unlinked' : unreadable ? 'unreadable' : 'deleted';
}

/** The same as a sentence, with the obstacle to the next step. */
export function stepInWords({ unreadable, unlinked, heldBackBy = [], vacuumedAt, hoursUnlinked }: Erasure): string {
  if (unlinked) {
    return 'unlinked: neither the table nor an index leads to one';
  }
  if (!unreadable) {
    const holders = heldBackBy.map(
      ({ kind, name, seconds }) => `${kind} ${name}${seconds ? ` (${age(seconds)})` : ''}`,
    );
    return `still readable for ${holders.join(', ')}`;
  }
  if (hoursUnlinked !== undefined) {
    return `unreadable, and not unlinked for ${age(3_600 * hoursUnlinked)}`;
  }
  const vacuum = vacuumedAt === undefined ? 'no vacuum is recorded' : 'the last vacuum may have skipped the indexes';
  return `unreadable, and not known to be unlinked: ${vacuum}`;
}

function age(seconds: number): string {
  if (seconds < 120) {
    return `${Math.ceil(seconds)} s`;
  }
  const minutes = seconds / 60;
  return minutes < 120 ? `${Math.ceil(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
}
