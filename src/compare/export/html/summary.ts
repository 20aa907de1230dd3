import type { Comparison, CompareResults, Estimate, Verdict } from '../../results.js';
import { count } from '../format.js';
import { MISSING, disclosure, scrollingTable } from './figure.js';
import { mark } from './looks.js';
import { type Markup, breakable, markup } from '../../../html/markup.js';
import { type Metric, inSentence, memoryMetric, metricsOf } from './metrics.js';
import { type Unit, amount, change, grouped, isNumber, unitFor } from './numbers.js';
import { percent } from './plot.js';
import type { Row } from './rows.js';

/** A column: a metric with the unit and the scale that all its cells share. */
interface Column {
  metric: Metric;
  unit: Unit;
  /** The place of a ratio between 0 and 1; the baseline is in the middle. */
  place(ratio: number): number;
}

/** The bars have a little room at both ends. */
const BOTH_SIDES = 2.1;

/** The median of each metric with its interval, and how it differs from the baseline. */
export function summary(results: CompareResults, rows: readonly Row[]): Markup | undefined {
  const columns = metricsOf(results).map((metric) => column(metric, rows));
  if (columns.length === 0) return undefined;
  const sortedBy = memoryMetric(results);
  const unit = ({ metric, unit }: Column) => `${metric.label}, ${unit.name}`;
  // The roles stay where a phone shows each row as a block of its own.
  return markup`<section id="summary" aria-labelledby="summary-title">
<h2 id="summary-title">Summary</h2>
<p class="description">Medians with 95\u00a0% intervals, and the change against ${breakable(results.baseline)}, compared round by round.${sortedBy !== undefined && ` Sorted by ${inSentence(sortedBy.label)}.`}</p>
<div class="scroll" role="region" tabindex="0" aria-label="The median of each metric">
<table class="summary" role="table"><caption class="hidden">The median of each metric, by subject</caption>
<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Subject</th>${columns.map((each) => markup`<th scope="col" role="columnheader">${unit(each)}<small>${each.metric.better} is better</small></th>`)}</tr></thead>
<tbody role="rowgroup">
${rows.map(
  (
    row,
  ) => markup`<tr role="row" data-s="${row.number}"${row.isAdvised && markup` class="advised"`}><th scope="row" role="rowheader">${subject(row)}</th>${columns.map((each) => markup`<td role="cell"><span class="label" aria-hidden="true">${unit(each)}</span>${cell(row, each)}</td>`)}</tr>
`,
)}</tbody></table></div>
${disclosure('Data: every figure with its test', everything(columns, rows))}
</section>
`;
}

function subject(row: Row): Markup {
  const tags = [row.isBaseline && 'baseline', row.isAdvised && 'advised'].filter((tag) => tag !== false);
  return markup`<div class="subject"><span class="number">${row.number}</span> <svg class="shape ${row.look.colour}" width="14" height="14" aria-hidden="true" focusable="false">${mark(row.look, '7', '7')}</svg> <span class="name">${breakable(row.id)}</span> <span class="tags">${tags.map((tag) => markup`<span class="tag">${tag}</span> `)}<span class="runs">${count(row.runs.length, 'run')}</span></span></div>`;
}

function column(metric: Metric, rows: readonly Row[]): Column {
  const estimates = rows.map(({ summary }) => summary?.metrics[metric.name]?.median).filter(isNumber);
  const ratios = rows
    .map(({ summary }) => summary?.against?.[metric.name])
    .filter(isComparison)
    .flatMap(({ ratio, low, high }) => [ratio, low, high])
    .filter((ratio) => ratio > 0)
    .map((ratio) => Math.abs(Math.log(ratio)));
  const widest = Math.max(Math.log(1.05), ...ratios);
  return {
    metric,
    unit: unitFor(metric.kind, estimates),
    place: (ratio) => (ratio > 0 ? Math.max(0, 0.5 + Math.log(ratio) / widest / BOTH_SIDES) : 0),
  };
}

const isEstimate = (estimate: Estimate | undefined): estimate is Estimate => isNumber(estimate?.median);

const isComparison = (comparison: Comparison | undefined): comparison is Comparison =>
  [comparison?.ratio, comparison?.low, comparison?.high].every(isNumber);

function cell({ summary, isBaseline }: Row, { metric, unit, place }: Column): Markup {
  const estimate = summary?.metrics[metric.name];
  if (!isEstimate(estimate)) return MISSING;
  const against = summary?.against?.[metric.name];
  const value = markup`<span class="median">${amount(estimate.median, unit)}</span> ${interval(estimate, unit)}`;
  if (isBaseline) return markup`${value} <span class="change none">baseline</span>`;
  if (!isComparison(against)) return value;
  const { value: changed, interval: from } = change(against);
  return markup`${value} <span class="change ${effect(against.verdict, metric)}"><b>${changed}</b> <span class="interval">${from}</span> <span class="verdict">${against.verdict}</span></span>${bar(against, place)}`;
}

/** A single run has no interval. */
const interval = ({ low, high, n }: Estimate, unit: Unit): Markup | undefined =>
  n > 1 && isNumber(low) && isNumber(high)
    ? markup`<span class="interval">[${amount(low, unit)}, ${amount(high, unit)}]</span>`
    : undefined;

/** Whether the difference is to the reader's good: it sets the colour, beside the verdict's word. */
export function effect(verdict: Verdict, { better }: Metric): 'good' | 'bad' | 'none' {
  if (verdict === better) return 'good';
  return verdict === 'lower' || verdict === 'higher' ? 'bad' : 'none';
}

/** The interval of the ratio as a bar, around the baseline in the middle. */
function bar({ ratio, low, high }: Comparison, place: (ratio: number) => number): Markup {
  const [from, to] = [place(low), place(high)];
  return markup`<svg class="bar" width="100%" height="11" aria-hidden="true" focusable="false"><line class="reference" x1="50%" x2="50%" y1="0" y2="100%"/><rect x="${percent(from)}" width="${percent(Math.max(0, to - from))}" y="4" height="3"/><circle cx="${percent(place(ratio))}" cy="5.5" r="3.5"/></svg>`;
}

/** Each figure of each subject in a row. */
function everything(columns: readonly Column[], rows: readonly Row[]): Markup {
  const body = rows.flatMap((row) =>
    columns.map(({ metric, unit }) => {
      const estimate = row.summary?.metrics[metric.name];
      const against = row.summary?.against?.[metric.name];
      const figures = isEstimate(estimate)
        ? [amount(estimate.median, unit), interval(estimate, unit) ?? MISSING, grouped(estimate.n)]
        : [MISSING, MISSING, '0'];
      const test = isComparison(against)
        ? [
            against.ratio.toFixed(3),
            `[${against.low.toFixed(3)}, ${against.high.toFixed(3)}]`,
            probability(against.p),
            against.verdict,
          ]
        : [row.isBaseline ? '1' : MISSING, MISSING, MISSING, row.isBaseline ? 'baseline' : MISSING];
      return { cells: [breakable(row.id), `${metric.label}, ${unit.name}`, ...figures, ...test] };
    }),
  );
  return scrollingTable({
    caption: 'Every figure with its test',
    head: [
      'Subject',
      'Metric',
      'Median',
      '95\u00a0% interval',
      'Runs',
      'Ratio to the baseline',
      '95\u00a0% interval of the ratio',
      'p, corrected',
      'Verdict',
    ],
    text: [1, 8],
    body,
  });
}

function probability(p: number): string | Markup {
  if (!isNumber(p)) return MISSING;
  return p < 0.001 ? '< 0.001' : p.toFixed(3);
}
