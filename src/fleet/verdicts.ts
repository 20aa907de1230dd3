// The variants of a fleet against their baseline.

import type { Comparison, Summary } from '../compare/results.js';
import { medianOf, rankSumTest, shiftBetween } from '../compare/rank-sum.js';
import { holm } from '../compare/statistics.js';
import { LEVEL, verdictOf } from '../compare/verdict.js';
import { FLEET_METRICS, type FleetMetric, type FleetPod } from './results.js';

/** With fewer pods of a variant, what one of them does by chance looks like the variant. */
const LEAST = 5;

/** The ways to choose as many of twice as many. */
function ways(count: number): number {
  let product = 1;
  for (let at = 1; at <= count; at++) product *= (count + at) / at;
  return product;
}

/** How many pods each variant needs for a verdict, with so many variants besides the baseline: enough that chance can be told from a difference. */
export function podsNeeded(others: number): number {
  let count = LEAST;
  while ((2 * others) / ways(count) > LEVEL) count += 1;
  return count;
}

/** Compares groups of values with the baseline's. Pods with a value of 0 have no ratio and are left out. */
export function groupComparisons(
  groups: readonly (readonly number[])[],
  baseline: readonly number[],
): (Comparison | undefined)[] {
  const needed = podsNeeded(groups.length);
  const logs = (values: readonly number[]): number[] => values.filter((value) => value > 0).map(Math.log);
  const [base, others] = [logs(baseline), groups.map(logs)];
  const corrected = holm(others.map((values) => rankSumTest(values, base)));
  return others.map((values, at) => {
    if (values.length === 0 || base.length === 0) return undefined;
    const { value, low, high, isInterval } = shiftBetween(values, base);
    const isEnough = isInterval && Math.min(values.length, base.length) >= needed;
    const p = corrected[at]!;
    return {
      ratio: Math.exp(value),
      low: Math.exp(low),
      high: Math.exp(high),
      p,
      verdict: isEnough ? verdictOf(low, high, p) : 'undecided',
    };
  });
}

/** The figures of each variant. The first is the baseline. */
export function summariesOf(
  pods: readonly FleetPod[],
  [baseline, ...others]: readonly string[],
): Summary<FleetMetric>[] {
  const of = (variant: string, name: FleetMetric): number[] =>
    pods.filter((pod) => pod.variant === variant).flatMap((pod) => pod[name] ?? []);
  const summaries = [baseline!, ...others].map((subject): Summary<FleetMetric> => {
    const metrics: Summary<FleetMetric>['metrics'] = {};
    for (const name of FLEET_METRICS) {
      const values = of(subject, name);
      if (values.length === 0) continue;
      const { value, low, high } = medianOf(values);
      metrics[name] = { median: value, low, high, n: values.length };
    }
    return subject === baseline ? { subject, metrics } : { subject, metrics, against: {} };
  });
  for (const name of FLEET_METRICS) {
    const found = groupComparisons(
      others.map((variant) => of(variant, name)),
      of(baseline!, name),
    );
    for (const [at, comparison] of found.entries())
      if (comparison !== undefined) summaries[at + 1]!.against![name] = comparison;
  }
  return summaries;
}
