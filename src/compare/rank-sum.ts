// Statistics of two groups whose values are no pairs: one value of each pod, and so no model of the noise between pods.

import { type Interval, ranks, sum, twoSided } from './statistics.js';

/** Up to this many values in both groups together, the probabilities are counted. Above, they are those of a normal distribution. */
const COUNTED = 60;

/** The quantile of the normal distribution for 2.5 % on a side. */
const Z = 1.959963984540054;

/**
 * Of every choice of `chosen` from these whole numbers, the probability of each sum, index by index.
 */
function sumsOfChoices(numbers: readonly number[], chosen: number): Float64Array {
  const most = sum(numbers);
  const ways = Array.from({ length: chosen + 1 }, () => new Float64Array(most + 1));
  ways[0]![0] = 1;
  let reach = 0;
  for (const [at, number] of numbers.entries()) {
    reach += number;
    for (let taken = Math.min(at + 1, chosen); taken > 0; taken--) {
      const [into, from] = [ways[taken]!, ways[taken - 1]!];
      for (let total = reach; total >= number; total--) into[total]! += from[total - number]!;
    }
  }
  const all = sum(ways[chosen]!);
  return ways[chosen]!.map((count) => count / all);
}

/**
 * The rank-sum test of Wilcoxon, Mann and Whitney: the probability, by chance alone, of two groups that differ as much as these,
 * on either side. Up to 60 values it is exact, also with ties.
 */
export function rankSumTest(own: readonly number[], other: readonly number[]): number {
  const [n, m] = [own.length, other.length];
  if (n === 0 || m === 0) return 1;
  const all = ranks([...own, ...other]);
  const total = n + m;
  const found = sum(all.slice(0, n));
  const expected = (n * (total + 1)) / 2;
  if (total <= COUNTED) {
    // Halves of a rank are avoided by counting in halves.
    const distribution = sumsOfChoices(
      all.map((rank) => rank * 2),
      n,
    );
    const distance = Math.abs(found - expected) * 2;
    let extreme = 0;
    for (const [at, probability] of distribution.entries())
      if (Math.abs(at - expected * 2) >= distance) extreme += probability;
    return Math.min(1, extreme);
  }
  const counts = new Map<number, number>();
  for (const rank of all) counts.set(rank, (counts.get(rank) ?? 0) + 1);
  const ties = sum([...counts.values()].map((count) => count ** 3 - count));
  const variance = ((n * m) / 12) * (total + 1 - ties / (total * (total - 1)));
  const distance = Math.max(0, Math.abs(found - expected) - 0.5);
  return variance === 0 ? 1 : twoSided(distance / Math.sqrt(variance));
}

/** How many differences lie outside of a 95 % interval on each side; undefined where the groups are too small for one. */
function outside(n: number, m: number): number | undefined {
  if (n + m > COUNTED) {
    const edge = (n * m) / 2 - 0.5 - Z * Math.sqrt((n * m * (n + m + 1)) / 12);
    return edge < 0 ? undefined : Math.floor(edge);
  }
  const numbers = Array.from({ length: n + m }, (_, at) => at + 1);
  const distribution = sumsOfChoices(numbers, n);
  const least = (n * (n + 1)) / 2;
  let rejected = 0;
  let tail = 0;
  while ((tail += distribution[least + rejected]!) <= 0.025) rejected += 1;
  return rejected === 0 ? undefined : rejected - 1;
}

/**
 * The difference between two groups that have no pairs, by Hodges and Lehmann: the median of all differences between a value of
 * one and a value of the other. The 95 % interval is of those shifts that {@link rankSumTest} does not reject. There is none
 * where the groups are very small.
 */
export function shiftBetween(
  own: readonly number[],
  other: readonly number[],
): Interval & { isInterval: boolean } {
  const [above, below] = [Float64Array.from(own).sort(), Float64Array.from(other).sort()];
  const count = above.length * below.length;
  const skipped = outside(above.length, below.length);
  const at = (place: number): number => difference(above, below, place);
  const half = Math.floor(count / 2);
  return {
    value: count % 2 === 1 ? at(half) : (at(half - 1) + at(half)) / 2,
    low: at(skipped ?? 0),
    high: at(count - 1 - (skipped ?? 0)),
    isInterval: skipped !== undefined,
  };
}

/** More steps than a double has digits. */
const STEPS = 200;

/**
 * The difference at a place of all sorted differences. Two fleets of 10,000 pods have 100 million of them, so they are
 * never made: the value is halved in, by counting how many are not above it.
 */
function difference(above: Float64Array, below: Float64Array, place: number): number {
  let low = above[0]! - below.at(-1)!;
  let high = above.at(-1)! - below[0]!;
  if (upTo(above, below, low) > place) return low;
  for (let step = 0; step < STEPS; step++) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (upTo(above, below, middle) > place) high = middle;
    else low = middle;
  }
  return high;
}

/** How many differences are not above the value. */
function upTo(above: Float64Array, below: Float64Array, value: number): number {
  let count = 0;
  let first = 0;
  for (const one of above) {
    while (first < below.length && one - below[first]! > value) first += 1;
    count += below.length - first;
  }
  return count;
}

/** The median with its 95 % interval between two of the values: those that the sign test does not reject. */
export function medianOf(values: readonly number[]): Interval {
  const sorted = Float64Array.from(values).sort();
  const count = sorted.length;
  // Below six values the interval is all of them, and holds the median less often.
  const skipped = Math.max(
    0,
    count <= COUNTED ? signs(count) : Math.floor((count - 1 - Z * Math.sqrt(count)) / 2),
  );
  const half = count >> 1;
  const value = count % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
  return { value, low: sorted[skipped]!, high: sorted[count - 1 - skipped]! };
}

/** The largest number of values on one side of the median that has a probability of at most 2.5 %. */
function signs(count: number): number {
  let [most, tail, probability] = [0, 0, 0.5 ** count];
  while ((tail += probability) <= 0.025) {
    most += 1;
    probability *= (count - most + 1) / most;
  }
  return most - 1;
}
