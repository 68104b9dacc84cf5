import type { Mark, Spec } from 'vega';
import type { Scene } from './service';

// Wide enough for the names beside the points; a README shows it at about this size.
const WIDTH = 820;
const HEIGHT = 440;

// Of middle lightness, so that each can be read on white and on black.
const TEXT = '#77818c';
const GRID = '#77818c33';
const COLORS = { ours: '#1f9e77', baseline: '#77818c', others: '#d0742a' };

/** Draws how fast each contender is against what the service feels of it, as SVG. */
export async function drawService([scene]: readonly Scene[]): Promise<string> {
  // A module that waits for others while it loads, which require cannot.
  const { parse, View } = await import('vega');
  const felt = scene?.felt ?? [];
  const [, baseline] = felt;
  const points = felt.slice(1).map((its) => ({
    name: its.wrong ? `${its.name} (wrong)` : its.name,
    x: its.rowsPerSecond,
    y: its.p99Ratio,
    kind: its === baseline ? 'baseline' : its.ours ? 'ours' : 'others',
    finished: its.finished,
  }));
  const svg = await new View(parse(specOf(points)), { renderer: 'none' }).toSVG();
  return described(svg);
}

/** One title for people who cannot see the picture, instead of a role for each line. */
function described(svg: string): string {
  return svg
    .replaceAll(/ (role|aria-\w+)="[^"]*"/g, '')
    .replace(/<svg [^>]*>/, (start) => `${start}<title>${HEADING[0][0]}: how fast, and how gentle</title>`);
}

interface Point {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  readonly kind: string;
  readonly finished: boolean;
}

function specOf(points: readonly Point[]): Spec {
  const place = { x: { scale: 'x', field: 'x' }, y: { scale: 'y', field: 'y' } } as const;
  const color = { scale: 'color', field: 'kind' } as const;
  const axis = { grid: true, gridColor: GRID, domainColor: TEXT, tickColor: TEXT, labelColor: TEXT, titleColor: TEXT };
  return {
    $schema: 'https://vega.github.io/schema/vega/v6.json',
    width: WIDTH,
    height: HEIGHT,
    // Left to itself, it would reserve room by a guess of how wide text is.
    autosize: 'none',
    padding: { top: 48, right: 12, bottom: 56, left: 64 },
    config: { axis: { labelFontSize: 12, titleFontSize: 13, titleFontWeight: 'normal', titlePadding: 10 } },
    data: [
      { name: 'points', values: [...points] },
      {
        name: 'names',
        values: points.flatMap((point) => [
          { ...point, dx: 0, dy: 0 },
          ...RIM.map((rim) => ({ ...point, ...rim, name: '' })),
        ]),
      },
    ],
    scales: [
      { name: 'x', type: 'log', domain: spread(points.map(({ x }) => x)), range: 'width' },
      { name: 'y', type: 'log', domain: spread([1, ...points.map(({ y }) => y)]), range: 'height' },
      { name: 'color', type: 'ordinal', domain: Object.keys(COLORS), range: Object.values(COLORS) },
    ],
    axes: [
      {
        ...axis,
        scale: 'x',
        orient: 'bottom',
        title: 'rows deleted a second → faster',
        format: '~s',
      },
      {
        ...axis,
        scale: 'y',
        orient: 'left',
        title: 'gentler ← p99 of a token service, as a multiple of what it is alone',
        format: '~r',
      },
    ],
    marks: [
      ...HEADING.map(
        ([text, y, fontWeight]): Mark => ({
          type: 'text',
          encode: {
            enter: {
              x: { value: 0 },
              y: { value: y },
              text: { value: text },
              fill: { value: TEXT },
              fontSize: { value: 13 },
              fontWeight: { value: fontWeight },
            },
          },
        }),
      ),
      {
        type: 'symbol',
        from: { data: 'points' },
        encode: {
          enter: {
            ...place,
            size: { value: 90 },
            stroke: color,
            strokeWidth: { value: 2 },
            fill: [{ test: '!datum.finished', value: 'transparent' }, color],
          },
        },
      },
      {
        type: 'text',
        from: { data: 'names' },
        encode: {
          enter: {
            x: { ...place.x, offset: { field: 'dx' } },
            y: { ...place.y, offset: { field: 'dy' } },
            text: { field: 'name' },
            fontSize: [{ test: "datum.name === ''", value: 0 }, { value: 12 }],
            fill: color,
          },
        },
        // Tried in this order, until the name covers nothing.
        transform: [
          {
            type: 'label',
            size: [WIDTH, HEIGHT],
            anchor: DISTANCES.flatMap(() => ANCHORS),
            offset: DISTANCES.flatMap((distance) => ANCHORS.map(() => distance)),
          },
        ],
      },
    ],
  };
}

/** Lines above the plot: how far up, and how heavy. */
const HEADING = [
  ['Deleting dead rows beside a token service', -28, 'bold'],
  ['hollow: stopped before it was done', -10, 'normal'],
] as const;

/** The layout keeps names off the middle of points. Empty names in the corners of each keep them off the rest of it. */
const RIM = [-6, 6].flatMap((dx) => [-6, 6].map((dy) => ({ dx, dy })));

const ANCHORS = ['right', 'left', 'top', 'bottom', 'top-right', 'bottom-right', 'top-left', 'bottom-left'] as const;
const DISTANCES = [9, 16, 24, 34];

/** A range with some room around the values. */
function spread(values: readonly number[]): [number, number] {
  return [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
}
