// From the runs to the figures of each subject.

import { DECIDING, METRIC } from './metrics.js';
import { random } from './random.js';
import { type CompareResults, METRICS, type MetricName, type Run, type Summary } from './results.js';
import { bootstrapMedian } from './statistics.js';
import { comparisons, shareOf } from './verdict.js';

type Measured = Pick<CompareResults, 'runs' | 'subjects' | 'baseline' | 'options'>;

/** The rounds in which every subject ran. */
export function completeRounds({ runs, subjects }: Pick<Measured, 'runs' | 'subjects'>): number {
  const counts = new Map<number, number>();
  for (const { round } of runs) counts.set(round, (counts.get(round) ?? 0) + 1);
  return [...counts.values()].filter((count) => count === subjects.length).length;
}

/** The figures of each subject that has a run. */
export function summarize(results: Measured): Summary[] {
  const { subjects, baseline, options } = results;
  const runsOf = new Map<string, Run[]>();
  for (const run of results.runs) runsOf.set(run.subject, [...(runsOf.get(run.subject) ?? []), run]);
  const share = shareOf(completeRounds(results), options.runs);
  const others = subjects.filter(({ id }) => id !== baseline && runsOf.has(id));
  const summaries = subjects
    .filter(({ id }) => runsOf.has(id))
    .map(({ id: subject }): Summary => {
      const metrics = estimates(runsOf.get(subject)!, options.seed);
      return subject === baseline ? { subject, metrics } : { subject, metrics, against: {} };
    });
  for (const name of METRICS) {
    const base = byRound(runsOf.get(baseline) ?? [], name);
    const pairs = others.map(({ id }) =>
      [...byRound(runsOf.get(id)!, name)].flatMap(([round, value]) => {
        const other = base.get(round);
        return other === undefined ? [] : [[value, other] as const];
      }),
    );
    for (const [at, comparison] of comparisons(pairs, share).entries())
      if (comparison !== undefined)
        summaries.find(({ subject }) => subject === others[at]!.id)!.against![name] = comparison;
  }
  return summaries;
}

function byRound(runs: readonly Run[], name: MetricName): Map<number, number> {
  const values = runs.map((run) => [run.round, METRIC[name].of(run)] as const);
  return new Map(values.filter((pair): pair is readonly [number, number] => pair[1] !== undefined));
}

function estimates(runs: readonly Run[], seed: number): Summary['metrics'] {
  const found: Summary['metrics'] = {};
  for (const [at, name] of METRICS.entries()) {
    const values = runs.flatMap((run) => METRIC[name].of(run) ?? []);
    if (values.length === 0) continue;
    const { value, low, high } = bootstrapMedian(values, random(seed, at));
    found[name] = { median: value, low, high, n: values.length };
  }
  return found;
}

/** Whether every verdict that decides is there. With the baseline alone there is nothing to decide. */
export function isDecided({ mode, summaries }: Pick<CompareResults, 'mode' | 'summaries'>): boolean {
  return summaries.every(
    ({ against }) =>
      against === undefined || DECIDING[mode].every((name) => against[name]?.verdict !== 'undecided'),
  );
}
