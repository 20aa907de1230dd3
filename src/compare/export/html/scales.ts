/** From values to their place between 0 and 1. */
export interface Scale {
  low: number;
  high: number;
  place(value: number): number;
  ticks: readonly number[];
  /** Between two ticks. */
  step: number;
}

/** The step of 1, 2 or 5 with which at most so many fit. */
export function niceStep(span: number, count: number): number {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5].find((each) => each * power >= rough * (1 - 1e-9));
  return (step ?? 10) * power;
}

/** At most so many steps: then there are two ticks at least, and their labels have room on a phone. */
const GAPS = 6;

/** From 0 to the value itself. */
export const upTo = (highest: number, count = GAPS): Scale => between(0, highest > 0 ? highest : 1, count);

/** The part of the span that is left free beside the values. */
const ROOM = 0.08;

/** Around the values, with room on both sides. From 0 where the values lie far apart. */
export function around(values: readonly number[], count = GAPS): Scale {
  const [lowest, highest] = [Math.min(...values), Math.max(...values)];
  const span = highest - lowest || Math.abs(highest) / 5 || 1;
  const low = lowest < highest * 0.3 ? 0 : lowest - span * ROOM;
  return between(Math.max(0, low), highest + span * ROOM, count);
}

/** Around the values, by their logarithm, with ticks at 1, 2 and 5 of each power of ten, or at the powers alone. */
export function logarithmic(values: readonly number[]): Omit<Scale, 'step'> {
  const positive = values.filter((value) => value > 0);
  const [lowest, highest] = positive.length > 0 ? [Math.min(...positive), Math.max(...positive)] : [1, 10];
  const fine = steps(lowest, highest, [1, 2, 5]);
  const outer = fine.length <= MOST ? fine : steps(lowest, highest, [1]);
  // Without the first and the last tick, the curves have the room for themselves.
  const inner = outer.filter((tick) => tick >= lowest * 0.95 && tick <= highest * 1.05);
  const ticks = inner.length < 2 ? outer : inner;
  const [low, high] = [Math.min(lowest * 0.95, ticks[0]!), Math.max(highest * 1.05, ticks.at(-1)!)];
  const [from, to] = [Math.log10(low), Math.log10(high)];
  return { low, high, ticks, place: (value) => (Math.log10(Math.max(value, low)) - from) / (to - from) };
}

/** More labels have no room on a logarithmic axis. */
const MOST = 9;

/** The ticks from the last one below to the first one above, two at least. */
function steps(lowest: number, highest: number, parts: readonly number[]): number[] {
  const result: number[] = [];
  for (let power = Math.floor(Math.log10(lowest)); result.length < 2 || result.at(-1)! < highest; power++) {
    for (const part of parts) {
      if (result.length >= 2 && result.at(-1)! >= highest) break;
      const tick = part * 10 ** power;
      if (tick <= lowest) result.length = 0;
      result.push(tick);
    }
  }
  return result;
}

function between(low: number, high: number, count: number): Scale {
  const step = niceStep(high - low, count);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return {
    low,
    high,
    step,
    place: (value) => (value - low) / (high - low),
    ticks: Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step),
  };
}
