/** Formats the numbers of the benchmark. */

export function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Three digits that matter, or all of a large number. */
export function digits(value: number): string {
  return value >= 100 ? count(value) : String(Number(value.toPrecision(value < 1 ? 2 : 3)));
}

/** A multiple, and the range of the values that it is the median of. */
export function timesOf(ratio: number, [least, most]: readonly [number, number]): string {
  return least === most ? times(ratio) : `${times(ratio)} (${times(least)} – ${times(most)})`;
}

export function times(ratio: number): string {
  return `${ratio >= 0.1 && ratio < 100 ? ratio.toFixed(ratio < 10 ? 2 : 1) : digits(ratio)}x`;
}

export function duration(ms: number): string {
  return ms >= 1_000 ? `${digits(ms / 1_000)} s` : `${digits(ms)} ms`;
}

export function percent(share: number): string {
  return `${digits(share * 100)} %`;
}

export function megabytes(bytes: number): string {
  return `${digits(bytes / 1e6)} MB`;
}
