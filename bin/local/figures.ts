/** Formats numbers for people. */

export function count(number: number): string {
  return number.toLocaleString('en');
}

export function rows(number: number): string {
  return `${count(number)} ${number === 1 ? 'row' : 'rows'}`;
}

/** In PostgreSQL's units, each 1024 times the one before. */
export function bytes(number: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), units.length - 1);
  const amount = number / 1024 ** power;
  return `${amount < 10 && power > 1 ? amount.toFixed(1) : Math.round(amount)} ${units[power]}`;
}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** A share of a whole, never rounded to 0 or to all of it. */
export function percent(share: number): string {
  if (share > 0 && share < 0.001) {
    return 'less than 0.1 %';
  }
  return share < 1 && share > 0.999 ? 'more than 99.9 %' : `${(100 * share).toFixed(1)} %`;
}
