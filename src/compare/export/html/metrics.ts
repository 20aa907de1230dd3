import { METRIC } from '../../metrics.js';
import type { CompareResults, MetricName, Run } from '../../results.js';
import { type Kind, isNumber } from './numbers.js';

export interface Metric {
  name: MetricName;
  label: string;
  kind: Kind;
  better: 'lower' | 'higher';
}

/** In the order of the columns: what the reader decides by comes first. */
const ORDER: Record<CompareResults['mode'], readonly MetricName[]> = {
  batch: ['treePeakRss', 'peakRss', 'meanRss', 'cpu', 'wall'],
  service: ['rssAfterIdle', 'rssAfterLoad', 'rssAtPeak', 'cpu', 'throughput', 'p50', 'p99', 'p999'],
};

/** Where the title of a narrow column says too little. */
const LABELS: Partial<Record<MetricName, string>> = {
  wall: 'Wall time',
  cpu: 'CPU time',
  p50: 'Latency p50',
  p99: 'Latency p99',
  p999: 'Latency p99.9',
};

function metric(name: MetricName): Metric {
  const { title, unit } = METRIC[name];
  const label = LABELS[name] ?? `${title.charAt(0).toUpperCase()}${title.slice(1)}`;
  return { name, label, kind: unit, better: name === 'throughput' ? 'higher' : 'lower' };
}

/** From this ratio on, the children's memory is a part that can be seen. */
export const WITH_CHILDREN = 1.02;

/** The metrics that at least one subject has. */
export function metricsOf({ mode, summaries }: CompareResults): Metric[] {
  const hasChildren = summaries.some(
    ({ metrics: { peakRss, treePeakRss } }) =>
      (treePeakRss?.median ?? 0) > WITH_CHILDREN * (peakRss?.median ?? Infinity),
  );
  return ORDER[mode]
    .filter((name) => name !== 'peakRss' || hasChildren)
    .filter((name) => summaries.some(({ metrics }) => isNumber(metrics[name]?.median)))
    .map(metric);
}

/** The metric of memory that the subjects are sorted by. */
export const memoryMetric = (results: CompareResults): Metric | undefined =>
  metricsOf(results).find(({ kind }) => kind === 'bytes');

/** The metrics of which each single run is shown. */
export const timesOf = ({ mode }: CompareResults): Metric[] =>
  (mode === 'batch' ? (['wall', 'cpu'] as const) : (['p99', 'cpu'] as const)).map(metric);

/** The metric of one run. */
export function valueOf(run: Run, name: MetricName): number | undefined {
  const value = METRIC[name].of(run);
  return isNumber(value) ? value : undefined;
}

/** `Peak RSS` becomes `peak RSS`, and `RSS after idle` stays. */
export const inSentence = (label: string): string =>
  label.replace(/^[A-Z](?=[a-z])/, (first) => first.toLowerCase());
