import type { CompareResults } from '../../results.js';
import { ticksOf } from './axis.js';
import { type Curve, type Timeline, timeline } from './curves.js';
import { figure, naming, scrollingTable } from './figure.js';
import { TOGETHER, legend, multiples } from './legend.js';
import { mark } from './looks.js';
import { type Markup, breakable, markup } from '../../../html/markup.js';
import { type Unit, amount, unitFor, withUnit } from './numbers.js';
import { type Point, type Tick, areaPath, height, linePath, percent, plot, stretched } from './plot.js';
import type { Row } from './rows.js';
import { type Scale, niceStep, upTo } from './scales.js';

const ID = 'memory';
/** With more curves in one chart the areas between the quartiles hide one another. */
const WITH_AREA = 4;
/** The axis goes so far beyond the highest curve. */
const ROOM = 1.04;
/** Where a curve has its shape, as parts of its length. Each curve begins elsewhere, so that no two shapes lie on one another. */
const MARKS = 6;
/** At most so many steps are between the rows of the table. */
const TABLE = 20;

/** What all charts of memory have in common. */
interface Scales {
  x: Scale;
  y: Scale;
  time: Unit;
  memory: Unit;
}

/** RSS over time. */
export function memoryChart(results: CompareResults, rows: readonly Row[]): Markup | undefined {
  const line = timeline(results, rows);
  if (line === undefined) return undefined;
  const scales = scalesOf(line);
  const { time, memory } = scales;
  return figure({
    id: ID,
    title: 'RSS over time',
    description: describe(line, scales),
    chart: markup`<div class="timed" data-time="${time.name}" data-memory="${memory.name}">${line.curves.length > TOGETHER ? apart(line, scales) : together(line, scales)}</div>`,
    table: { title: `${describeMemory(line)} over time`, content: table(line, scales) },
  });
}

/** All curves of RSS over time, without a legend, and the units of the axes. */
export function memoryPlot(
  results: CompareResults,
  rows: readonly Row[],
): { plot: Markup; memory: string; time: string } | undefined {
  const line = timeline(results, rows);
  if (line === undefined) return undefined;
  const scales = scalesOf(line);
  return { plot: curves(line, scales), memory: scales.memory.name, time: scales.time.name };
}

function scalesOf(line: Timeline): Scales {
  const time = unitFor('seconds', [line.end / 1000]);
  const highest = Math.max(...line.curves.flatMap(({ points }) => points.map(({ middle }) => middle)));
  const memory = unitFor('bytes', [highest]);
  return {
    time,
    memory,
    x: upTo(line.end / 1000 / time.size),
    y: upTo((highest / memory.size) * ROOM, 7),
  };
}

const describeMemory = ({ hasChildren }: Timeline): string =>
  hasChildren ? 'RSS of the program and its children' : 'RSS of the program';

function describe(line: Timeline, { memory, time }: Scales): Markup {
  const atEnd = line.curves
    .map(({ row, points }) => ({ row, middle: points.at(-1)!.middle }))
    .sort((a, b) => a.middle - b.middle);
  const [lowest, highest] = [atEnd[0]!, atEnd.at(-1)!];
  const end = ({ row, middle }: typeof lowest) =>
    markup`${breakable(row.id)} with ${withUnit(middle, memory)}`;
  const ends =
    atEnd.length === 1
      ? markup`${end(lowest)} at the end.`
      : markup`Lowest at the end: ${end(lowest)}. Highest: ${end(highest)}.`;
  const aligned =
    line.phases.length > 0
      ? `The phases: ${line.phases.map(({ name, to }) => `${name} to ${withUnit(to / 1000, time)}`).join(', ')}. Each run is stretched so that its phases lie over those of the others.`
      : 'Each run is stretched to the median time of its subject.';
  return markup`The median over the runs. ${describeMemory(line)}. ${ends} ${aligned}`;
}

/** Every curve in one chart. */
function together(line: Timeline, scales: Scales): Markup {
  const { memory, time } = scales;
  const chart = curves(line, scales);
  return markup`${legend(line.curves.map(({ row }) => row))}
<p class="axis-title" aria-hidden="true">RSS, ${memory.name}</p>
<div class="frame">${chart}</div>
<p class="axis-title below" aria-hidden="true">Time, ${time.name}</p>
${CURSOR}`;
}

function curves(line: Timeline, scales: Scales): Markup {
  const withArea = line.curves.length <= WITH_AREA;
  return plot({
    ...naming(ID),
    height: 340,
    x: ticksOf(scales.x),
    y: ticksOf(scales.y),
    ground: ground(line, scales, true),
    content: markup`${stretched(line.curves.map((curve) => path(curve, scales, withArea)))}${line.curves.map((curve, at) => marks(curve, scales, at / line.curves.length))}${CROSS}`,
  });
}

/** Shows the values of all curves at a time. It is there where the script is. */
const CURSOR = markup`<label class="cursor" hidden><span>Values at <output>a time</output></span> <input type="range" min="0" value="0" step="1"></label>`;
/** The time of the cursor. */
const CROSS = markup`<line class="cross" y1="0" y2="100%" visibility="hidden"/>`;

/** A chart for each curve, with the baseline's in each. */
function apart(line: Timeline, scales: Scales): Markup {
  const baseline = line.curves.find(({ row }) => row.isBaseline);
  const { time, memory } = scales;
  const [last] = ticksOf(scales.x).slice(-1);
  const x: Tick[] = [
    { place: 0, label: '0' },
    { place: last!.place, label: `${last!.label} ${time.name}` },
  ];
  const y = ticksOf(upTo(scales.y.high, 3));
  const panels = line.curves.map((curve) => {
    const { row, points } = curve;
    const highest = Math.max(...points.map(({ middle }) => middle));
    const figures = `highest ${amount(highest, memory)}, end ${withUnit(points.at(-1)!.middle, memory)}`;
    const behind =
      baseline !== undefined &&
      curve !== baseline &&
      markup`<path class="line baseline" d="${linePath(places(baseline, scales, 'middle'))}"/>`;
    const chart = plot({
      label: `${row.id}: ${figures}`,
      describedBy: naming(ID).describedBy,
      height: 96,
      x,
      y,
      ground: ground(line, scales, false),
      content: markup`${stretched(markup`${behind}${path(curve, scales, true)}`)}${CROSS}`,
    });
    return { row, figures, chart: markup`<div class="frame small">${chart}</div>` };
  });
  const grey = baseline !== undefined && markup` The thin grey line is ${breakable(baseline.row.id)}.`;
  return markup`<p class="description">All charts have the same scales: RSS in ${memory.name}, time in ${time.name}.${grey} The area lies between the quartiles of the runs.</p>
${CURSOR}
${multiples(panels)}`;
}

/** A phase that takes a smaller part of the chart than this has no room for its name, on a screen and on a phone. */
const NAMED = { wide: 0.07, narrow: 0.2 };

/** The phases of a service, behind everything. */
function ground({ phases }: Timeline, scales: Scales, withNames: boolean): Markup[] {
  const place = (time: number) => scales.x.place(time / 1000 / scales.time.size);
  return phases.map(({ name, from, to }, at) => {
    const [left, width] = [place(from), place(to) - place(from)];
    const text =
      withNames &&
      width > NAMED.wide &&
      markup`<text class="${width < NAMED.narrow && 'wide'}" x="${percent(left + width / 2)}" y="0" dy="-6" text-anchor="middle">${name}</text>`;
    return markup`<rect class="phase ${at % 2 === 1 && 'odd'}" x="${percent(left)}" width="${percent(width)}" y="0" height="100%"/>${text}`;
  });
}

function places(
  { points }: Curve,
  { x, y, time, memory }: Scales,
  which: 'low' | 'middle' | 'high',
): Point[] {
  return points.map((point) => [
    x.place(point.time / 1000 / time.size),
    Math.min(1, y.place(point[which] / memory.size)),
  ]);
}

function path(curve: Curve, scales: Scales, withArea: boolean): Markup {
  const { look, number } = curve.row;
  const area =
    withArea &&
    curve.row.runs.length > 1 &&
    markup`<path class="area" d="${areaPath(places(curve, scales, 'high'), places(curve, scales, 'low'))}"/>`;
  return markup`<g class="${look.colour}" data-s="${number}">${area}<path class="line dash-${look.shape}" d="${linePath(places(curve, scales, 'middle'))}"/></g>`;
}

function marks(curve: Curve, { x, y, time, memory }: Scales, shift: number): Markup {
  const { look, number } = curve.row;
  const shapes = Array.from({ length: MARKS }, (_, at) => {
    const moment = curve.at((curve.end * (at + 0.1 + 0.8 * shift)) / MARKS);
    const left = percent(x.place(moment.time / 1000 / time.size));
    return mark(look, left.text, height(y.place(moment.middle / memory.size)).text);
  });
  return markup`<g class="${look.colour}" data-s="${number}">${shapes}</g>`;
}

function table({ curves, end, phases }: Timeline, { time, memory, x }: Scales): Markup {
  const step = niceStep(end, TABLE);
  const times = Array.from({ length: Math.floor(end / step) + 1 }, (_, at) => at * step);
  if (end - times.at(-1)! > step / 1000) times.push(end);
  const decimals = Math.max(0, -Math.floor(Math.log10(step / 1000 / time.size) + 1e-9));
  const phaseAt = (at: number) => phases.find(({ from, to }) => at >= from && at <= to)?.name ?? '';
  return scrollingTable({
    caption: `RSS in ${memory.name} over time`,
    head: [
      `Time, ${time.name}`,
      ...(phases.length > 0 ? ['Phase'] : []),
      ...curves.map(({ row }) => breakable(row.id)),
    ],
    text: phases.length > 0 ? [1] : [],
    body: times.map((at) => ({
      attributes: markup` data-at="${x.place(at / 1000 / time.size) * 100}"`,
      cells: [
        amount(at / 1000, { ...time, decimals }),
        ...(phases.length > 0 ? [phaseAt(at)] : []),
        ...curves.map((curve) =>
          at > curve.end * (1 + 1e-9)
            ? ENDED
            : markup`<span data-c="${curve.row.number}">${amount(curve.at(at).middle, memory)}</span>`,
        ),
      ],
    })),
  });
}

const ENDED = markup`<span class="missing"><span aria-hidden="true">–</span><span class="hidden">ended</span></span>`;
