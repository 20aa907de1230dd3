import { median, quantile } from '../../statistics.js';
import type { CompareResults, Run } from '../../results.js';
import { WITH_CHILDREN } from './metrics.js';
import { isNumber } from './numbers.js';
import type { Row } from './rows.js';

/** The memory of a subject over time, in the middle of its runs. */
export interface Curve {
  row: Row;
  /** Milliseconds since the start. */
  end: number;
  points: readonly Moment[];
  /** The middle at any time up to the end. */
  at(time: number): Moment;
}

export interface Moment {
  time: number;
  middle: number;
  /** The quartiles of the runs. */
  low: number;
  high: number;
}

export interface Phase {
  name: string;
  from: number;
  to: number;
}

export interface Timeline {
  end: number;
  curves: readonly Curve[];
  /** Of a service. */
  phases: readonly Phase[];
  /** Whether the children's memory is a part that can be seen. */
  hasChildren: boolean;
}

/** How many moments of a curve are looked at. */
const MOMENTS = 200;

/**
 * The curves of all subjects. Two runs do not take equally long: each is stretched to the median, and of a service each phase
 * by itself, so that the same parts of the program stand above one another.
 */
export function timeline({ mode }: CompareResults, rows: readonly Row[]): Timeline | undefined {
  const tracks = rows.map((row) => ({
    row,
    tracks: row.runs.map((run) => track(run, mode)).filter((each) => each !== undefined),
  }));
  const all = tracks.flatMap((each) => each.tracks);
  if (all.length === 0) return undefined;
  const shared = mode === 'service' ? middleKnots(all) : undefined;
  const curves = tracks
    .filter((each) => each.tracks.length > 0)
    .map((each) => curve(each.row, each.tracks, shared ?? middleKnots(each.tracks)));
  return {
    end: Math.max(...curves.map(({ end }) => end)),
    curves,
    phases: shared === undefined ? [] : phases(shared),
    hasChildren: rows.some(({ runs }) =>
      runs.some(({ samples }) => samples.some(({ rss, treeRss }) => treeRss > WITH_CHILDREN * rss)),
    ),
  };
}

/** One run: its samples in the order of time, and the times that the runs have in common. */
interface Track {
  times: readonly number[];
  values: readonly number[];
  knots: readonly number[];
}

function track(run: Run, mode: CompareResults['mode']): Track | undefined {
  const samples = run.samples
    .filter(({ at, treeRss }) => isNumber(at) && isNumber(treeRss))
    .sort((a, b) => a.at - b.at);
  const last = samples.at(-1)?.at;
  if (last === undefined) return undefined;
  const end = Math.max(last, isNumber(run.wall) ? run.wall * 1000 : 0);
  const knots = [0, end];
  if (mode === 'service') {
    const { ready, loadStart, loadEnd, idleEnd } = run.service?.phases ?? {};
    if (![ready, loadStart, loadEnd, idleEnd].every(isNumber)) return undefined;
    knots.splice(1, 1, ready!, loadStart!, loadEnd!, idleEnd!);
  }
  const times = samples.map(({ at }) => at);
  return { times, values: samples.map(({ treeRss }) => treeRss), knots: ascending(knots) };
}

/** No later knot comes before an earlier one. */
function ascending(knots: readonly number[]): number[] {
  let highest = 0;
  return knots.map((knot) => (highest = Math.max(highest, knot)));
}

const middleKnots = (tracks: readonly Track[]): number[] =>
  ascending(tracks[0]!.knots.map((_, at) => median(tracks.map(({ knots }) => knots[at]!))));

function curve(row: Row, tracks: readonly Track[], knots: readonly number[]): Curve {
  const end = knots.at(-1)!;
  const at = (time: number): Moment => {
    const values = tracks.map((each) =>
      interpolate(interpolate(time, knots, each.knots), each.times, each.values),
    );
    const sorted = values.sort((a, b) => a - b);
    return { time, middle: median(sorted), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
  };
  const points = Array.from({ length: MOMENTS }, (_, step) => at((end * step) / (MOMENTS - 1)));
  return { row, end, points, at };
}

/** The value at a place, on the straight line between the two places around it. */
function interpolate(place: number, places: readonly number[], values: readonly number[]): number {
  let [low, high] = [0, places.length - 1];
  if (place <= places[low]!) return values[low]!;
  if (place >= places[high]!) return values[high]!;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (places[middle]! <= place) low = middle;
    else high = middle;
  }
  const part = (place - places[low]!) / (places[high]! - places[low]!);
  return values[low]! + (values[high]! - values[low]!) * part;
}

function phases(knots: readonly number[]): Phase[] {
  return ['start', 'warm-up', 'load', 'idle']
    .map((name, at) => ({ name, from: knots[at]!, to: knots[at + 1]! }))
    .filter(({ from, to }) => to > from);
}
