/** The value in the middle, or the mean of the two there; NaN when there are no values. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** The smallest of the values that `percent` of them do not exceed; NaN when there are no values. */
export function percentile(values: readonly number[], percent: number): number {
  return ascending(values)[Math.max(0, Math.ceil((percent / 100) * values.length) - 1)] ?? Number.NaN;
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
