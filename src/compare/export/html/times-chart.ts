import type { CompareResults } from '../../results.js';
import { median, quantile } from '../../statistics.js';
import { ticksOf } from './axis.js';
import { figure, MISSING, naming, scrollingTable } from './figure.js';
import { mark } from './looks.js';
import { type Markup, breakable, markup } from '../../../html/markup.js';
import { type Metric, valueOf } from './metrics.js';
import { type Unit, amount, isNumber, unitFor, withUnit } from './numbers.js';
import { percent } from './plot.js';
import type { Row } from './rows.js';
import { type Scale, around } from './scales.js';

/** The height of a row, and the space between two dots that would lie on one another. */
const ROW = 34;
const DOT = 5;
/** The lines through all rows go so far beyond a row: it may be higher, for a long name. */
const BEYOND = 8;
/** Two dots lie on one another where they are closer than this part of the width. */
const CLOSE = 0.012;
/** The values of more runs than these are in the JSON alone. */
const LISTED = 60;

/** A row of dots for each subject: one for each run. */
export function timesChart(
  metric: Metric,
  { baseline }: CompareResults,
  rows: readonly Row[],
): Markup | undefined {
  const series = rows.map((row) => ({
    row,
    values: row.runs.map((run) => valueOf(run, metric.name)).filter(isNumber),
  }));
  const all = series.flatMap(({ values }) => values);
  if (all.length === 0) return undefined;
  const unit = unitFor(metric.kind, all);
  const scale = around(all.map((value) => value / unit.size));
  const place = (value: number) => Math.min(1, Math.max(0, scale.place(value / unit.size)));
  const id = `times-${metric.name}`;
  const reference = series.find(({ row }) => row.id === baseline)?.values ?? [];
  const at = reference.length > 0 ? place(median(reference)) : undefined;
  const { labelledBy, describedBy } = naming(id);
  return figure({
    id,
    title: `${metric.label} of each run`,
    description: markup`One dot is one run. The tall line is the median, the bar its 95\u00a0% interval, and the thin line through all rows the median of ${breakable(baseline)}. ${extremes(series, unit)}${scale.low > 0 && ' The axis does not begin at 0.'}`,
    chart: markup`<div class="strips" role="img" aria-labelledby="${labelledBy}" aria-describedby="${describedBy}">
${series.map(({ row, values }) => strip(row, values, { metric, unit, scale, place, at }))}
<div class="strip-axis"><svg width="100%" height="22">${ticksOf(scale).map(({ place: x, label }) => markup`<text x="${percent(x)}" y="15" text-anchor="middle">${label}</text>`)}</svg></div>
<p class="axis-title below">${metric.label}, ${unit.name}</p></div>`,
    table: { title: `${metric.label} of each run`, content: table(metric, unit, series) },
  });
}

interface Series {
  row: Row;
  values: readonly number[];
}

function extremes(series: readonly Series[], unit: Unit): Markup {
  const medians = series
    .filter(({ values }) => values.length > 0)
    .map(({ row, values }) => ({ row, value: median(values) }))
    .sort((a, b) => a.value - b.value);
  const [low, high] = [medians[0]!, medians.at(-1)!];
  const named = ({ row, value }: typeof low) => markup`${breakable(row.id)} with ${withUnit(value, unit)}`;
  return medians.length === 1
    ? markup`The median of ${named(low)}.`
    : markup`The lowest median: ${named(low)}. The highest: ${named(high)}.`;
}

interface Drawing {
  metric: Metric;
  unit: Unit;
  scale: Scale;
  place(value: number): number;
  /** Where the baseline's median is. */
  at: number | undefined;
}

function strip(row: Row, values: readonly number[], { metric, unit, scale, place, at }: Drawing): Markup {
  const estimate = row.summary?.metrics[metric.name];
  const middle = values.length > 0 ? median(values) : undefined;
  const bar =
    isNumber(estimate?.low) &&
    isNumber(estimate.high) &&
    markup`<rect class="interval" x="${percent(place(estimate.low))}" width="${percent(Math.max(0, place(estimate.high) - place(estimate.low)))}" y="${ROW / 2 - 7}" height="14" rx="2"/>`;
  const dots = spread(values.map(place)).map(([x, level]) =>
    mark(row.look, percent(x).text, String(ROW / 2 + level * DOT), 'dot'),
  );
  const line =
    middle !== undefined &&
    markup`<line class="median" x1="${percent(place(middle))}" x2="${percent(place(middle))}" y1="3" y2="${ROW - 3}"/>`;
  const reference =
    at !== undefined &&
    markup`<line class="reference" x1="${percent(at)}" x2="${percent(at)}" y1="${-BEYOND}" y2="${ROW + BEYOND}"/>`;
  return markup`<div class="strip"><span class="name">${breakable(row.id)}</span><svg class="${row.look.colour}" width="100%" height="${ROW}">${ticksOf(scale).map(({ place: x }) => markup`<line class="grid" x1="${percent(x)}" x2="${percent(x)}" y1="${-BEYOND}" y2="${ROW + BEYOND}"/>`)}${reference}<g data-s="${row.number}">${bar}${dots}${line}</g></svg><span class="value">${middle === undefined ? MISSING : withUnit(middle, unit)}</span></div>
`;
}

/** The dots with their levels: 0 on the line, then by turns above and below it where there are dots already. */
function spread(places: readonly number[]): [x: number, level: number][] {
  const levels = [0, -1, 1, -2, 2];
  const last = levels.map(() => -Infinity);
  return [...places]
    .sort((a, b) => a - b)
    .map((x) => {
      const free = last.findIndex((before) => x - before >= CLOSE);
      // Where all levels are taken, on the one that was taken first.
      const at = free >= 0 ? free : last.indexOf(Math.min(...last));
      last[at] = x;
      return [x, levels[at]!];
    });
}

function table(metric: Metric, unit: Unit, series: readonly Series[]): Markup {
  const title = `${metric.label} in ${unit.name}`;
  return scrollingTable({
    caption: title,
    head: [
      'Subject',
      'Runs',
      'Lowest',
      'Lower quartile',
      'Median',
      'Upper quartile',
      'Highest',
      'Each run, in order',
    ],
    long: [7],
    body: series.map(({ row, values }) => {
      const sorted = [...values].sort((a, b) => a - b);
      const figures = [0, 0.25, 0.5, 0.75, 1].map((part) =>
        sorted.length === 0 ? MISSING : amount(quantile(sorted, part), unit),
      );
      const listed = values.slice(0, LISTED).map((value) => amount(value, unit));
      const rest = values.length > LISTED ? ` and ${values.length - LISTED} more` : '';
      return { cells: [breakable(row.id), values.length, ...figures, listed.join('  ') + rest] };
    }),
  });
}
