import type { CompareResults, Estimate } from '../../results.js';
import { ticksOf } from './axis.js';
import { figure, naming, scrollingTable } from './figure.js';
import { placeLabels } from './labels.js';
import { mark } from './looks.js';
import { type Content, type Markup, breakable, markup } from '../../../html/markup.js';
import { type Metric, inSentence, memoryMetric } from './metrics.js';
import { amount, isNumber, single, unitFor } from './numbers.js';
import { type Point, height, percent, plot } from './plot.js';
import type { Row } from './rows.js';
import { around } from './scales.js';

const ID = 'plane';
const HEIGHT = 380;
/** The widths of the drawing for which labels are placed: that of a phone, and that of a screen. */
const WIDTHS = { narrow: 230, wide: 590 } as const;
/** A longer name is cut off. The table has all of it. */
const LONGEST = 26;
/** Of more subjects, only the baseline and the advised one have their name beside them. */
const NAMED = 12;

interface Place {
  row: Row;
  cpu: Estimate;
  memory: Estimate;
  isOnFront: boolean;
}

/** A place with where it is drawn, from 0 to 1. */
interface Drawn extends Place {
  x: number;
  y: number;
  /** The intervals, across and up. */
  bars: readonly Segment[];
}

interface Segment {
  from: Point;
  to: Point;
}

/** Each subject by its CPU time and its memory, and the Pareto front: what no other subject beats in both. */
export function planeChart(results: CompareResults, rows: readonly Row[]): Markup | undefined {
  const metric = memoryMetric(results);
  const places = metric === undefined ? [] : placesOf(rows, metric);
  if (metric === undefined || places.length === 0) return undefined;
  const [times, amounts] = [places.map(({ cpu }) => cpu.median), places.map(({ memory }) => memory.median)];
  const [time, memory] = [unitFor('seconds', times), unitFor('bytes', amounts)];
  const x = around(places.flatMap(({ cpu }) => three(cpu).map((value) => value / time.size)));
  const y = around(places.flatMap((place) => three(place.memory).map((value) => value / memory.size)));
  const within = (part: number) => Math.min(1, Math.max(0, part));
  const drawn = places.map((place): Drawn => {
    const [left, from, to] = three(place.cpu).map((value) => within(x.place(value / time.size)));
    const [up, low, high] = three(place.memory).map((value) => within(y.place(value / memory.size)));
    const bars: Segment[] = [
      { from: [from!, up!], to: [to!, up!] },
      { from: [left!, low!], to: [left!, high!] },
    ];
    return { ...place, x: left!, y: up!, bars };
  });
  const front = drawn.filter(({ isOnFront }) => isOnFront).sort((a, b) => a.x - b.x || b.y - a.y);
  const border = steps(front);
  const chart = plot({
    ...naming(ID),
    height: HEIGHT,
    x: ticksOf(x),
    y: ticksOf(y),
    ground: better(drawn),
    content: markup`${border.map((segment) => line('front', segment))}${drawn.map(({ row, bars }) => markup`<g class="whisker ${row.look.colour}" data-s="${row.number}">${bars.map((bar) => line('', bar))}</g>`)}${drawn.map(point)}${labels(drawn, border)}`,
  });
  return figure({
    id: ID,
    title: 'CPU and memory',
    description: describe(places, front, metric, x.low > 0 || y.low > 0),
    chart: markup`<p class="axis-title" aria-hidden="true">${metric.label}, ${memory.name}</p>
<div class="frame">${chart}</div>
<p class="axis-title below" aria-hidden="true">CPU time, ${time.name}</p>`,
    table: {
      title: 'CPU time and memory of each subject',
      content: scrollingTable({
        caption: 'CPU time and memory of each subject',
        head: [
          'Subject',
          'Number',
          `CPU time, ${time.name}`,
          `${metric.label}, ${memory.name}`,
          'On the Pareto front',
        ],
        text: [4],
        body: places.map(({ row, cpu, memory: { median }, isOnFront }) => ({
          cells: [
            breakable(row.id),
            row.number,
            amount(cpu.median, time),
            amount(median, memory),
            isOnFront ? 'yes' : 'no',
          ],
        })),
      }),
    },
  });
}

const three = ({ median, low, high }: Estimate) => [median, low, high] as const;

function placesOf(rows: readonly Row[], { name }: Metric): Place[] {
  const places = rows.flatMap((row) => {
    const [cpu, memory] = [row.summary?.metrics.cpu, row.summary?.metrics[name]];
    return isEstimate(cpu) && isEstimate(memory) ? [{ row, cpu, memory }] : [];
  });
  type Measured = (typeof places)[number];
  const beats = (a: Measured, b: Measured) =>
    a.cpu.median <= b.cpu.median &&
    a.memory.median <= b.memory.median &&
    (a.cpu.median < b.cpu.median || a.memory.median < b.memory.median);
  return places.map((place) => ({ ...place, isOnFront: !places.some((other) => beats(other, place)) }));
}

const isEstimate = (estimate: Estimate | undefined): estimate is Estimate =>
  isNumber(estimate?.median) && isNumber(estimate.low) && isNumber(estimate.high);

function describe(
  places: readonly Place[],
  front: readonly Place[],
  metric: Metric,
  isCut: boolean,
): Content {
  const [only] = places;
  if (places.length === 1 && only !== undefined)
    return markup`${breakable(only.row.id)}: CPU time ${single(only.cpu.median, 'seconds')}, ${inSentence(metric.label)} ${single(only.memory.median, 'bytes')}.`;
  const names = front.map(
    ({ row }, at) => markup`${at > 0 && (at === front.length - 1 ? ' and ' : ', ')}${breakable(row.id)}`,
  );
  const hasBaseline = places.some(({ row }) => row.isBaseline);
  return markup`On the Pareto front: ${names}. No other subject has less CPU time than these without more memory. Their shapes are filled. Further left is less CPU time, further down is less memory. The thin bars are 95\u00a0% intervals.${hasBaseline && ' The shaded corner is better than the baseline in both.'}${places.length > NAMED && ' A number is the place in the summary.'}${isCut && ' An axis may begin above 0.'}`;
}

const line = (kind: string, { from: [x1, y1], to: [x2, y2] }: Segment): Markup =>
  markup`<line class="${kind}" x1="${percent(x1)}" x2="${percent(x2)}" y1="${height(y1)}" y2="${height(y2)}"/>`;

const point = ({ row, x, y, isOnFront }: Drawn): Markup =>
  markup`<g class="${row.look.colour}" data-s="${row.number}">${mark(row.look, percent(x).text, height(y).text, isOnFront ? '' : 'hollow')}</g>`;

/** The corner with less of both than the baseline. */
function better(drawn: readonly Drawn[]): Markup | undefined {
  const baseline = drawn.find(({ row }) => row.isBaseline);
  if (baseline === undefined || drawn.length === 1) return undefined;
  const { x, y } = baseline;
  return markup`<rect class="better" x="0" y="${height(y)}" width="${percent(x)}" height="${percent(y)}"/>${line('reference', { from: [x, 0], to: [x, 1] })}${line('reference', { from: [0, y], to: [1, y] })}`;
}

/** The border of what the front beats. */
const steps = (front: readonly Drawn[]): Segment[] =>
  front.slice(1).flatMap(({ x, y }, at): Segment[] => {
    const before = front[at]!;
    return [
      { from: [before.x, before.y], to: [x, before.y] },
      { from: [x, before.y], to: [x, y] },
    ];
  });

function labels(drawn: readonly Drawn[], border: readonly Segment[]): Markup[] {
  const isFew = drawn.length <= NAMED;
  // The first find room.
  const order = [...drawn].sort((a, b) => weight(b) - weight(a));
  const lines = [...border, ...drawn.flatMap(({ bars }) => bars)];
  return Object.entries(WIDTHS).map(([name, width]) => {
    const pixels = ([x, y]: Point) => ({ x: x * width, y: (1 - y) * HEIGHT });
    const placed = placeLabels({
      width,
      height: HEIGHT,
      points: order.map(({ row, x, y }) => ({
        ...pixels([x, y]),
        texts: [...(isFew || row.isBaseline || row.isAdvised ? [shortened(row.id)] : []), String(row.number)],
      })),
      lines: lines.map(({ from, to }) => ({ from: pixels(from), to: pixels(to) })),
    });
    const texts = placed.map((label, at) => {
      if (label === undefined) return undefined;
      const { text, dx, dy, anchor } = label;
      const { row, x, y } = order[at]!;
      return markup`<text x="${percent(x)}" y="${height(y)}" dx="${dx}" dy="${dy}" text-anchor="${anchor}" data-s="${row.number}">${text}</text>`;
    });
    return markup`<g class="labels ${name}">${texts}</g>`;
  });
}

const weight = ({ row, isOnFront }: Drawn): number =>
  4 * Number(row.isAdvised) + 2 * Number(row.isBaseline) + Number(isOnFront);

const shortened = (name: string): string => (name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name);
