import { median } from '../../statistics.js';
import { powersOf } from './axis.js';
import { figure, MISSING, naming, scrollingTable } from './figure.js';
import { TOGETHER, legend, multiples } from './legend.js';
import { mark } from './looks.js';
import { type Markup, breakable, markup } from '../../../html/markup.js';
import { type Unit, amount, isNumber, single, unitFor, withUnit } from './numbers.js';
import { type Point, type Tick, height, linePath, percent, plot, stretched } from './plot.js';
import type { Row } from './rows.js';
import { logarithmic } from './scales.js';

const ID = 'latency';
/** The percentiles of the table, and of the shapes on the curves. 100 is the highest latency. */
const SHOWN: readonly number[] = [50, 75, 90, 95, 99, 99.9, 99.99, 99.999, 100];
const TICKS: readonly number[] = [0, 50, 90, 99, 99.9, 99.99, 99.999];

interface Curve {
  row: Row;
  /** Each percentile with the median over the runs, in milliseconds. */
  points: readonly (readonly [percentile: number, latency: number])[];
}

/** The latency of a service by its percentiles. */
export function latencyChart(rows: readonly Row[]): Markup | undefined {
  const curves = rows.map(curveOf).filter((curve) => curve !== undefined);
  if (curves.length === 0) return undefined;
  const values = curves.flatMap(({ points }) => points.map(([, latency]) => latency));
  const unit = unitFor('milliseconds', [median(values)]);
  const y = logarithmic(values.map((value) => value / unit.size));
  const percentiles = curves.flatMap(({ points }) => points.map(([percentile]) => percentile));
  const scales: Scales = { unit, y, x: tailScale(percentiles) };
  return figure({
    id: ID,
    title: 'Latency by percentile',
    description: describe(curves),
    chart: curves.length > TOGETHER ? apart(curves, scales) : together(curves, scales),
    table: { title: 'latency by percentile', content: table(curves, unit) },
  });
}

interface Scales {
  unit: Unit;
  x(percentile: number): number;
  y: ReturnType<typeof logarithmic>;
}

/** The same percentile of every run, and their median. */
function curveOf(row: Row): Curve | undefined {
  const histograms = row.runs
    .map(({ service }) =>
      (service?.histogram ?? []).filter((pair) => pair.every(isNumber)).sort(([a], [b]) => a - b),
    )
    .filter((histogram) => histogram.length > 0);
  const percentiles = new Set(histograms.flatMap((histogram) => histogram.map(([percentile]) => percentile)));
  // Every run has a value for it: a run of fewer requests ends earlier.
  const last = Math.min(...histograms.map((histogram) => below100(histogram)));
  const points = [...percentiles]
    .sort((a, b) => a - b)
    .filter((percentile) => percentile <= last || percentile === 100)
    .map(
      (percentile) =>
        [percentile, median(histograms.map((histogram) => latencyAt(histogram, percentile)))] as const,
    )
    .filter(([, latency]) => latency > 0);
  return points.length === 0 ? undefined : { row, points };
}

type Histogram = readonly (readonly [percentile: number, latency: number])[];

const below100 = (histogram: Histogram): number =>
  histogram.findLast(([percentile]) => percentile < 100)?.[0] ?? 100;

/** The latency that a percentile of the requests did not exceed: that of the next percentile that was recorded. */
const latencyAt = (histogram: Histogram, percentile: number): number =>
  (histogram.find(([each]) => each >= percentile) ?? histogram.at(-1)!)[1];

/** The highest latency has no place on a logarithmic axis. It is at the end, after the other percentiles. */
const BEFORE_HIGHEST = 0.87;

/** The rarer, the farther to the right: each step is a tenth of the requests before it. */
function tailScale(percentiles: readonly number[]): (percentile: number) => number {
  const tail = (percentile: number) => -Math.log10(1 - percentile / 100);
  const inner = percentiles.filter((percentile) => percentile < 100);
  const last = Math.max(1, ...inner.map(tail));
  return (percentile) => (percentile >= 100 ? 1 : (tail(percentile) / last) * BEFORE_HIGHEST);
}

function describe(curves: readonly Curve[]): Markup {
  const at99 = curves
    .map(({ row, points }) => ({ row, latency: points.find(([percentile]) => percentile >= 99)?.[1] }))
    .filter((each): each is { row: Row; latency: number } => each.latency !== undefined)
    .sort((a, b) => a.latency - b.latency);
  const [lowest, highest] = [at99[0], at99.at(-1)];
  const named = ({ row, latency }: { row: Row; latency: number }) =>
    markup`${breakable(row.id)} with ${single(latency, 'milliseconds')}`;
  const extremes =
    lowest !== undefined && highest !== undefined && lowest !== highest
      ? markup` Lowest at p99: ${named(lowest)}. Highest: ${named(highest)}.`
      : lowest !== undefined && markup` At p99: ${named(lowest)}.`;
  return markup`The median over the runs. A request begins when it was due. Both axes are logarithmic: each step to the right leaves a tenth of the requests.${extremes}`;
}

function together(curves: readonly Curve[], scales: Scales): Markup {
  const chart = plot({
    ...naming(ID),
    height: 320,
    x: percentileTicks(curves, scales),
    y: powersOf(scales.y),
    content: markup`${stretched(curves.map((curve) => path(curve, scales)))}${curves.map((curve, at) => marks(curve, scales, at))}`,
  });
  return markup`${legend(curves.map(({ row }) => row))}
<p class="axis-title" aria-hidden="true">Latency, ${scales.unit.name}</p>
<div class="frame">${chart}</div>
<p class="axis-title below" aria-hidden="true">Percentile</p>`;
}

function apart(curves: readonly Curve[], scales: Scales): Markup {
  const baseline = curves.find(({ row }) => row.isBaseline);
  const behind =
    baseline !== undefined && markup`<path class="line baseline" d="${linePath(places(baseline, scales))}"/>`;
  const y = powersOf(scales.y);
  const panels = curves.map((curve) => {
    const figures = [50, 99]
      .map((percentile) => [percentile, latencyAt(curve.points, percentile)] as const)
      .map(
        ([percentile, latency]) => `p${percentile} ${withUnit(latency, unitFor('milliseconds', [latency]))}`,
      )
      .join(', ');
    const chart = plot({
      label: `${curve.row.id}: ${figures}`,
      describedBy: naming(ID).describedBy,
      height: 96,
      x: percentileTicks(curves, scales).filter(({ label }) => ['50', '99', 'max'].includes(label)),
      y: y.length > 3 ? [y[0]!, y.at(-1)!] : y,
      content: stretched(markup`${curve !== baseline && behind}${path(curve, scales)}`),
    });
    return { row: curve.row, figures, chart: markup`<div class="frame small">${chart}</div>` };
  });
  const grey = baseline !== undefined && markup` The thin grey line is ${breakable(baseline.row.id)}.`;
  return markup`<p class="description">All charts have the same scales: latency in ${scales.unit.name}, and the percentile.${grey}</p>
${multiples(panels)}`;
}

function percentileTicks(curves: readonly Curve[], { x }: Scales): Tick[] {
  const all = curves.flatMap(({ points }) => points.map(([percentile]) => percentile));
  const last = Math.max(90, ...all.filter((each) => each < 100));
  const hasHighest = all.includes(100);
  const shown = TICKS.filter((tick) => tick <= last);
  const ticks = shown.map((tick, at): Tick => {
    const isExtra = tick === 0 || (hasHighest && at === shown.length - 1);
    return { place: x(tick), label: String(tick), isExtra };
  });
  return hasHighest ? [...ticks, { place: 1, label: 'max' }] : ticks;
}

const places = ({ points }: Curve, { x, y, unit }: Scales): Point[] =>
  points.map(([percentile, latency]) => [x(percentile), y.place(latency / unit.size)]);

function path(curve: Curve, scales: Scales): Markup {
  const { look, number } = curve.row;
  return markup`<g class="${look.colour}" data-s="${number}"><path class="line dash-${look.shape}" d="${linePath(places(curve, scales))}"/></g>`;
}

/** Each curve has its shape at every third percentile, not at those of the curve before. */
function marks({ row, points }: Curve, { x, y, unit }: Scales, shift: number): Markup {
  const shapes = points
    .filter(([percentile]) => (SHOWN.indexOf(percentile) + shift) % 3 === 0 && SHOWN.includes(percentile))
    .map(([percentile, latency]) =>
      mark(row.look, percent(x(percentile)).text, height(y.place(latency / unit.size)).text),
    );
  return markup`<g class="${row.look.colour}" data-s="${row.number}">${shapes}</g>`;
}

function table(curves: readonly Curve[], unit: Unit): Markup {
  const last = Math.max(...curves.flatMap(({ points }) => points.map(([percentile]) => percentile)));
  const percentiles = SHOWN.filter((each) => each <= last || each === 100);
  return scrollingTable({
    caption: `Latency in ${unit.name} by percentile`,
    head: ['Subject', ...percentiles.map((each) => (each === 100 ? 'Highest' : `p${each}`))],
    body: curves.map(({ row, points }) => ({
      cells: [
        breakable(row.id),
        ...percentiles.map((percentile) => {
          const point = points.find(([each]) => each >= percentile);
          return point === undefined ? MISSING : amount(point[1], unit);
        }),
      ],
    })),
  });
}
