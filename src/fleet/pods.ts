// One value of each pod over the whole time: scrapes of one pod are alike, and prove nothing about others.

import { MallocBackendError } from '../errors.js';
import { duration } from '../compare/export/format.js';
import { median } from '../compare/statistics.js';
import { type Query, SELECTOR } from './options.js';
import type { Prometheus, Value } from './prometheus.js';
import { Questions, nameOf, selector } from './questions.js';
import type { FleetPod } from './results.js';

/** What is there, before it is looked at. */
export interface Series {
  /** Every series of RSS, with the number of its scrapes. */
  series: Value[];
  /** The labels of each variant, by its id. */
  variants: Map<string, Record<string, string>>;
}

/** What was found. */
export interface Found extends Series {
  pods: FleetPod[];
  scrapeSeconds: number;
}

const HOUR_MS = 3_600_000;

/** The counter of requests, of the pods of the service. */
function requestsOf({ requests, workload }: Query): string {
  const [, name = '', own = ''] = SELECTOR.exec(requests!) ?? [];
  const matchers = [own, workload].filter((text) => text !== '').join(',');
  return matchers === '' ? name : `${name}{${matchers}}`;
}

function nothing(message: string): MallocBackendError {
  return new MallocBackendError('ERR_NOTHING_TO_COMPARE', message);
}

/** The series of the service, and the variants among them. */
export async function seriesOf(prometheus: Prometheus, query: Query): Promise<Series> {
  const { by, pod, until, sinceMs } = query;
  const series = await prometheus.values(
    `count_over_time(${selector('rss_bytes', query)}[${sinceMs}ms])`,
    until,
  );
  if (series.length === 0) throw await noSeries(prometheus, query);
  requireLabels(series, [...by, ...pod]);
  const variants: Series['variants'] = new Map();
  for (const { labels } of series)
    variants.set(nameOf(labels, by), Object.fromEntries(by.map((label) => [label, labels[label] ?? ''])));
  return { series, variants };
}

/** Every pod with its values. */
export async function podsOf(
  prometheus: Prometheus,
  query: Query,
  { series, variants }: Series,
): Promise<Found> {
  const requests = query.requests === undefined ? undefined : await requestsByPod(prometheus, query);
  const scrapeSeconds = await interval(prometheus, query, series);
  const questions = new Questions(prometheus, query, { series, scrapeSeconds });
  const counted = countsOf(series, questions);
  const meanRss = await questions.meanRss();
  const medianRss = await questions.medianRss();
  const { first, last, peakRss } = await questions.moments(counted.scrapes.size);
  const processes = await questions.processes();
  const cpu = await questions.cpuSeconds();
  const restarts = await questions.restarts();
  const ages = await questions.ageSeconds();
  const [from, to] = [(query.until.getTime() - query.sinceMs) / 1000, query.until.getTime() / 1000];

  const pods = [...meanRss].map(([id, { labels, value }]): FleetPod => {
    const pod = questions.podOf(labels);
    const ofAll = counted.scrapes.get(id) ?? 0;
    const scrapes = ofAll / Math.max(1, processes.get(id) ?? counted.processes.get(id) ?? 1);
    const [begin, end] = [first.get(id) ?? from, last.get(id) ?? from];
    const gap = scrapes > 1 && end > begin ? (end - begin) / (scrapes - 1) : scrapeSeconds;
    const observedSeconds = end - begin + beyond(begin - from, gap) + beyond(to - end, gap);
    const [cpuSeconds, ageSeconds] = [cpu.get(id), ages.get(id)];
    // The counter of requests does not say which variant of a pod counted.
    const isAlone = counted.variants.get(pod)?.size === 1;
    const answered = isAlone ? requests?.get(pod) : undefined;
    return {
      pod,
      variant: questions.variantOf(labels),
      scrapes: Math.round(scrapes),
      observedSeconds,
      restarts: restarts.get(id) ?? 0,
      ...(ageSeconds === undefined ? {} : { ageSeconds }),
      meanRss: value,
      medianRss: medianRss.get(id) ?? value,
      peakRss: peakRss.get(id) ?? value,
      ...(cpuSeconds === undefined ? {} : { cpu: cpuSeconds / observedSeconds }),
      ...(answered === undefined ? {} : { requests: answered / observedSeconds }),
      ...(answered === undefined || answered === 0 || cpuSeconds === undefined
        ? {}
        : { cpuPerRequest: cpuSeconds / answered }),
    };
  });
  return { pods, series, variants, scrapeSeconds };
}

/** What the series tell of each pod under each variant. */
function countsOf(
  series: readonly Value[],
  questions: Questions,
): { scrapes: Map<string, number>; processes: Map<string, number>; variants: Map<string, Set<string>> } {
  const [scrapes, processes] = [new Map<string, number>(), new Map<string, number>()];
  const variants = new Map<string, Set<string>>();
  for (const { labels, value } of series) {
    const id = questions.idOf(labels);
    scrapes.set(id, (scrapes.get(id) ?? 0) + value);
    processes.set(id, (processes.get(id) ?? 0) + 1);
    const pod = questions.podOf(labels);
    variants.set(pod, (variants.get(pod) ?? new Set()).add(questions.variantOf(labels)));
  }
  return { scrapes, processes, variants };
}

/**
 * For how many seconds before the first scrape of a pod, or after its last, increase() adds to what it found: up to the edge of
 * the time, if this is about one gap away. The gap is the pod's own, because others may be scraped more often.
 */
const beyond = (toEdge: number, gap: number): number => (toEdge < 1.1 * gap ? toEdge : gap / 2);

/** The requests that each pod answered. */
async function requestsByPod(prometheus: Prometheus, query: Query): Promise<Map<string, number>> {
  const { pod, sinceMs, until } = query;
  const counter = requestsOf(query);
  const expression = `sum by (${pod.join(', ')}) (increase(${counter}[${sinceMs}ms]))`;
  const found = await prometheus.values(expression, until);
  if (found.length === 0)
    throw nothing(
      `Prometheus has no series ${counter} in the last ${duration(sinceMs)}; ` +
        'name a counter of requests that has the labels of --workload, or leave --requests out',
    );
  return new Map(found.map(({ labels, value }) => [nameOf(labels, pod), value]));
}

/** The seconds between two scrapes, of the series that was scraped most in the last hour. */
async function interval(prometheus: Prometheus, query: Query, series: readonly Value[]): Promise<number> {
  const { until, sinceMs } = query;
  const rss = selector('rss_bytes', query);
  const last = Math.min(sinceMs, HOUR_MS);
  const recent =
    last === sinceMs ? series : await prometheus.values(`count_over_time(${rss}[${last}ms])`, until);
  // All have ended before the last hour: then the whole time of one of them is looked at.
  const [from, length] = recent.length > 0 ? [recent, last] : [series, sinceMs];
  const most = from.reduce((best, next) => (next.value > best.value ? next : best));
  const matchers = Object.entries(most.labels)
    .filter(([name]) => name !== '__name__')
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const name = `${query.prefix}malloc_backend_rss_bytes`;
  const times = await prometheus.times(`${name}{${matchers.join(',')}}[${length}ms]`, until);
  const gaps = times.slice(1).map((time, at) => time - times[at]!);
  if (gaps.length === 0)
    throw nothing(
      `Prometheus has scraped each pod only once in the last ${duration(sinceMs)}; wait for more scrapes, or look further back with --since`,
    );
  return median(gaps);
}

/** A label that no series has would make one variant, or one pod, of everything. */
function requireLabels(series: readonly Value[], names: readonly string[]): void {
  const missing = names.find((name) => series.every(({ labels }) => labels[name] === undefined));
  if (missing === undefined) return;
  const known = [...new Set(series.flatMap(({ labels }) => Object.keys(labels)))].filter(
    (name) => name !== '__name__',
  );
  throw nothing(`no series has the label ${missing}; the labels are: ${known.sort().join(', ')}`);
}

/** At most so many values of a label are named. */
const MOST_NAMED = 20;

export function listed(values: readonly string[]): string {
  const rest = values.length - MOST_NAMED;
  return values.slice(0, MOST_NAMED).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

async function noSeries(prometheus: Prometheus, query: Query): Promise<MallocBackendError> {
  const { workload, until, sinceMs } = query;
  const within = `in the last ${duration(sinceMs)}`;
  const all = selector('rss_bytes', { ...query, workload: '' });
  const from = new Date(until.getTime() - sinceMs);
  const valuesOf = (label: string): Promise<string[]> => prometheus.labelValues(label, all, from, until);
  const jobs = await valuesOf('job');
  if (jobs.length === 0)
    return nothing(
      `Prometheus has no series ${all} ${within}; let the service call collectMallocMetrics, let Prometheus scrape it, and ` +
        'give --metric-prefix if the metrics have a prefix',
    );
  const names = [...workload.matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)\s*[=!]/g)].map(([, name = '']) => name);
  const known: string[] = [];
  for (const name of new Set(names)) {
    const values = name === 'job' ? jobs : await valuesOf(name);
    known.push(values.length === 0 ? `${name} is no label of it` : `${name} is one of: ${listed(values)}`);
  }
  return nothing(
    `Prometheus has no series ${selector('rss_bytes', query)} ${within}; ${known.join('; ')}. Correct --workload`,
  );
}
