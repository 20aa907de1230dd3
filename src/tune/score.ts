// How good a candidate is: what the runs of all races say of it, together.

import { METRIC } from '../compare/metrics.js';
import type { CompareResults, MetricName, Run } from '../compare/results.js';
import { median } from '../compare/statistics.js';

/** What is to be low, and what may not rise by more than a part for it. */
export interface Aim {
  metric: MetricName;
  bounds: readonly { metric: MetricName; within: number }[];
}

/** The differences of one candidate to the baseline, pair by pair, as logarithms of the ratios. */
export class Record {
  readonly #logs = new Map<MetricName, number[]>();

  add(own: Run, baseline: Run, metrics: readonly MetricName[]): void {
    for (const name of metrics) {
      const [value, other] = [METRIC[name].of(own), METRIC[name].of(baseline)];
      if (value === undefined || other === undefined || value <= 0 || other <= 0) continue;
      this.#logs.set(name, [...(this.#logs.get(name) ?? []), Math.log(value / other)]);
    }
  }

  /** The median difference; undefined where no run told. */
  difference(name: MetricName): number | undefined {
    const logs = this.#logs.get(name);
    return logs === undefined ? undefined : median(logs);
  }
}

/** What a broken bound adds: more than any gain. */
const BROKEN = 1000;

/** The lower the better. A candidate without runs is the worst. */
export function score(record: Record | undefined, { metric, bounds }: Aim): number {
  const gain = record?.difference(metric);
  if (gain === undefined) return Infinity;
  const broken = bounds.map(({ metric: name, within }) =>
    Math.max(0, (record!.difference(name) ?? 0) - Math.log(1 + within)),
  );
  const excess = broken.reduce((sum, each) => sum + each, 0);
  return excess > 0 ? BROKEN + excess : gain;
}

/** Adds every pair of runs of one round. */
export function addRuns(
  records: Map<string, Record>,
  { runs, baseline }: Pick<CompareResults, 'runs' | 'baseline'>,
  { metric, bounds }: Aim,
): void {
  const names = [metric, ...bounds.map((bound) => bound.metric)];
  const base = new Map(runs.filter(({ subject }) => subject === baseline).map((run) => [run.round, run]));
  for (const run of runs) {
    const other = base.get(run.round);
    if (run.subject === baseline || other === undefined) continue;
    const record = records.get(run.subject) ?? new Record();
    record.add(run, other, names);
    records.set(run.subject, record);
  }
}
