// Statistics without a model of the noise: the times of a program are neither normally distributed nor independent.

import type { Random } from './random.js';

/** A value between two others, with the level of a confidence interval around it. */
export interface Interval {
  value: number;
  low: number;
  high: number;
}

const ascending = (a: number, b: number): number => a - b;

export const sum = (values: Iterable<number>): number => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};

export const mean = (values: readonly number[]): number => sum(values) / values.length;

export function median(values: readonly number[]): number {
  return middle(Float64Array.from(values).sort());
}

/** Of sorted values. */
function middle(sorted: Float64Array): number {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The quantile of sorted values, between two of them by interpolation (Hyndman and Fan's type 7). */
export function quantile(sorted: ArrayLike<number>, part: number): number {
  const at = (sorted.length - 1) * part;
  const below = Math.floor(at);
  const lower = sorted[below]!;
  return lower + ((sorted[Math.min(below + 1, sorted.length - 1)] ?? lower) - lower) * (at - below);
}

const RESAMPLES = 1000;

/** The median with its 95 % interval: the percentiles of the medians of 1,000 resamples. */
export function bootstrapMedian(values: readonly number[], next: Random): Interval {
  const all = Float64Array.from(values);
  const resample = new Float64Array(all.length);
  const medians = new Float64Array(RESAMPLES);
  for (let round = 0; round < RESAMPLES; round++) {
    for (let at = 0; at < all.length; at++) resample[at] = all[Math.floor(next() * all.length)]!;
    medians[round] = middle(resample.sort());
  }
  medians.sort();
  return { value: median(values), low: quantile(medians, 0.025), high: quantile(medians, 0.975) };
}

/** The ranks of the values, from 1; equal values share the mean of their ranks. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, at) => at).sort((a, b) => values[a]! - values[b]!);
  const result = values.map(() => 0);
  for (let from = 0; from < order.length;) {
    let to = from;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let at = from; at < to; at++) result[order[at]!] = (from + 1 + to) / 2;
    from = to;
  }
  return result;
}

/**
 * Under chance alone each of the ranks counts or does not. The probability of each of their sums, index by index; halves of
 * a rank are avoided by counting in halves.
 */
function sumDistribution(halves: readonly number[]): Float64Array {
  const distribution = new Float64Array(sum(halves) + 1);
  distribution[0] = 1;
  let reach = 0;
  for (const rank of halves) {
    reach += rank;
    for (let total = reach; total >= 0; total--) {
      const without = total <= reach - rank ? distribution[total]! : 0;
      const including = total >= rank ? distribution[total - rank]! : 0;
      distribution[total] = (without + including) / 2;
    }
  }
  return distribution;
}

/**
 * Wilcoxon's signed-rank test: the probability, by chance alone, of differences that are as one-sided as these, on either
 * side. It is exact, also with ties: the random order within a round decides every sign. A difference of zero keeps its rank
 * and counts for neither side (Pratt).
 */
export function signedRankTest(differences: readonly number[]): number {
  const halves = ranks(differences.map(Math.abs)).map((rank) => rank * 2);
  const counted = halves.filter((_, at) => differences[at] !== 0);
  const positive = sum(halves.filter((_, at) => differences[at]! > 0));
  const smaller = Math.min(positive, sum(counted) - positive);
  const tail = sumDistribution(counted).subarray(0, smaller + 1);
  return Math.min(1, 2 * sum(tail));
}

/** How many Walsh averages lie outside of a 95 % interval on each side; undefined below six differences. */
function outside(count: number): number | undefined {
  const distribution = sumDistribution(Array.from({ length: count }, (_, at) => at + 1));
  let rejected = 0;
  let tail = 0;
  while ((tail += distribution[rejected]!) <= 0.025) rejected += 1;
  // The sums from 0 on are rejected; a value with so many averages below it as the last of them has is the edge.
  return rejected === 0 ? undefined : rejected - 1;
}

const outsideOf = new Map<number, number | undefined>();

/**
 * The Hodges–Lehmann estimate of what the differences have in common: the median of all means of two of them. The 95 %
 * interval is of those values that {@link signedRankTest} does not reject. There is none below six differences.
 */
export function hodgesLehmann(differences: readonly number[]): Interval & { isInterval: boolean } {
  const count = differences.length;
  const averages = new Float64Array((count * (count + 1)) / 2);
  let at = 0;
  for (let one = 0; one < count; one++)
    for (let other = one; other < count; other++)
      averages[at++] = (differences[one]! + differences[other]!) / 2;
  averages.sort();
  if (!outsideOf.has(count)) outsideOf.set(count, outside(count));
  const skipped = outsideOf.get(count);
  const low = averages[skipped ?? 0]!;
  const high = averages[averages.length - 1 - (skipped ?? 0)]!;
  return { value: middle(averages), low, high, isInterval: skipped !== undefined };
}

/** Holm's correction: the probabilities of several tests, so that one of them all is wrong as rarely as a single one. */
export function holm(probabilities: readonly number[]): number[] {
  const order = probabilities.map((_, at) => at).sort((a, b) => probabilities[a]! - probabilities[b]!);
  const corrected = probabilities.map(() => 1);
  let highest = 0;
  for (const [place, at] of order.entries()) {
    highest = Math.max(highest, Math.min(1, probabilities[at]! * (order.length - place)));
    corrected[at] = highest;
  }
  return corrected;
}

/** The probability that a normal variable lies further from zero than this, on either side (Abramowitz and Stegun, 7.1.26). */
export function twoSided(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const polynomial =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return polynomial * Math.exp(-x * x);
}

/** A trend. */
export interface Trend {
  /** The probability of such a trend by chance (Mann and Kendall). */
  p: number;
  /** The change from one value to the next: the median of all slopes (Theil and Sen). */
  slope: number;
}

/** Whether the values rise or fall, in their order. */
export function trend(values: readonly number[]): Trend {
  const slopes: number[] = [];
  let rising = 0;
  for (let later = 1; later < values.length; later++)
    for (let earlier = 0; earlier < later; earlier++) {
      const difference = values[later]! - values[earlier]!;
      rising += Math.sign(difference);
      slopes.push(difference / (later - earlier));
    }
  const n = values.length;
  const deviation = Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
  const z = rising === 0 ? 0 : (rising - Math.sign(rising)) / deviation;
  return { p: rising === 0 ? 1 : twoSided(z), slope: slopes.length === 0 ? 0 : median(slopes) };
}

/** The places of values that are far from the others: by more than ten times the median distance from the median, and by 5 %. */
export function outliers(values: readonly number[]): number[] {
  const center = median(values);
  const distances = values.map((value) => Math.abs(value - center));
  const limit = Math.max(10 * median(distances), 0.05 * Math.abs(center));
  return distances.flatMap((distance, at) => (distance > limit ? [at] : []));
}

/** The extremes, for a scale. */
export const extent = (values: readonly number[]): [low: number, high: number] => {
  const sorted = [...values].sort(ascending);
  return [sorted[0] ?? 0, sorted.at(-1) ?? 0];
};
