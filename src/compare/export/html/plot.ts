import { type Content, type Markup, markup } from '../../../html/markup.js';

// A plot is an SVG without a view box: its places are percentages, its text and its lines keep their size, and it is as wide
// as the page. What only a path can draw is in an SVG within it that is stretched.

export interface Tick {
  /** From 0 to 1. */
  place: number;
  label: string;
  /** A phone has no room for the label. */
  isExtra?: boolean;
}

export interface Plot {
  /** The id of the element that names it, and that of the one that describes it. */
  labelledBy?: string;
  describedBy?: string;
  /** The name, where no element has it. */
  label?: string;
  /** In pixels. */
  height: number;
  x: readonly Tick[];
  y: readonly Tick[];
  /** Behind the grid. */
  ground?: Content;
  content: Content;
}

export type Point = readonly [x: number, y: number];

export const percent = (part: number): Markup => markup`${part * 100}%`;
/** The vertical place: an SVG counts from above. */
export const height = (part: number): Markup => percent(1 - part);

export function plot({
  labelledBy,
  describedBy,
  label,
  height: pixels,
  x,
  y,
  ground,
  content,
}: Plot): Markup {
  const names = [
    labelledBy !== undefined && markup` aria-labelledby="${labelledBy}"`,
    describedBy !== undefined && markup` aria-describedby="${describedBy}"`,
    label !== undefined && markup` aria-label="${label}"`,
  ];
  return markup`<svg class="plot" role="img"${names} width="100%" height="${pixels}">
${ground}
${x.map(vertical)}
${y.map(horizontal)}
<line class="axis" x1="0" x2="100%" y1="100%" y2="100%"/>
${content}
</svg>`;
}

function vertical({ place, label, isExtra = false }: Tick): Markup {
  const x = percent(place);
  return markup`<line class="grid" x1="${x}" x2="${x}" y1="0" y2="100%"/><text${isExtra && markup` class="wide"`} x="${x}" y="100%" dy="18" text-anchor="middle">${label}</text>`;
}

function horizontal({ place, label }: Tick): Markup {
  const y = height(place);
  return markup`<line class="grid" x1="0" x2="100%" y1="${y}" y2="${y}"/><text x="-8" y="${y}" dy="4" text-anchor="end">${label}</text>`;
}

/** The side of the stretched drawing. */
const SIDE = 1000;

/** Paths whose points lie between 0 and 1. */
export function stretched(content: Content): Markup {
  return markup`<svg class="stretched" viewBox="0 0 ${SIDE} ${SIDE}" preserveAspectRatio="none" width="100%" height="100%">${content}</svg>`;
}

/** The path of a line through the points, without those that it passes anyway. */
export function linePath(points: readonly Point[]): string {
  const places = simplified(points).map(([x, y]) => `${Math.round(x * SIDE)},${Math.round((1 - y) * SIDE)}`);
  return places.length === 0 ? '' : `M${places.join('L')}`;
}

/** The path around the area between two lines from left to right. */
export function areaPath(upper: readonly Point[], lower: readonly Point[]): string {
  const back = linePath(simplified(lower).reverse()).replace('M', 'L');
  return `${linePath(upper)}${back}Z`;
}

/** How far a point may be beside the line, where all of the plot is 1. */
const TOLERANCE = 0.002;

/** Ramer, Douglas and Peucker's: the ends, and what is farther from the line between them than can be seen. */
function simplified(points: readonly Point[]): Point[] {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || points.length < 3) return [...points];
  let [farthest, distance] = [0, TOLERANCE];
  for (const [at, [x, y]] of points.entries()) {
    const part = (x - first[0]) / (last[0] - first[0] || 1);
    const off = Math.abs(y - (first[1] + part * (last[1] - first[1])));
    if (off > distance) [farthest, distance] = [at, off];
  }
  if (farthest === 0) return [first, last];
  return [...simplified(points.slice(0, farthest + 1)), ...simplified(points.slice(farthest)).slice(1)];
}
