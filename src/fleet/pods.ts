// One value of each pod. Prometheus makes it of all scrapes of the time: scrapes of one pod are alike, and prove nothing about others.

import { MallocBackendError } from '../errors.js';
import { duration } from '../compare/export/format.js';
import { median } from '../compare/statistics.js';
import { type Query, SELECTOR } from './options.js';
import type { Labels, Prometheus, Value } from './prometheus.js';
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

/** About so many steps of time are looked at. Each has all of its scrapes in it. */
const STEPS = 300;

const HOUR_MS = 3_600_000;

/** The values of labels as one name. */
const nameOf = (labels: Labels, names: readonly string[]): string =>
  names.map((name) => labels[name] ?? '(none)').join('/');

/** A metric of a service in PromQL. */
export function selector(name: string, { prefix, workload }: Query): string {
  const matchers = workload === '' ? '' : `{${workload}}`;
  return `${prefix}malloc_backend_${name}${matchers}`;
}

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
  const { by, pod, until, sinceMs } = query;
  const time = `${sinceMs}ms`;
  const rss = selector('rss_bytes', query);
  const ask = (expression: string): Promise<Value[]> => prometheus.values(expression, until);
  const requests = query.requests === undefined ? undefined : await requestsByPod(prometheus, query);
  const scrapeSeconds = await interval(prometheus, query, series);
  // A step has two scrapes or more, so that none of them is empty because of one that was late.
  const stepMs = Math.max(Math.ceil(2000 * scrapeSeconds), Math.ceil(sinceMs / STEPS));
  const all = [...pod, ...by].join(', ');
  /** Over all steps, of what the processes of a pod have together in a step. */
  const steps = (ofAll: string, ofStep: string, argument = ''): Promise<Value[]> =>
    ask(`${ofAll}(${argument}(sum by (${all}) (${ofStep}(${rss}[${stepMs}ms])))[${time}:${stepMs}ms])`);
  const sum = (expression: string): Promise<Value[]> => ask(`sum by (${all}) (${expression})`);
  const start = selector('start_time_seconds', query);

  const [meanRss, medianRss, peakRss] = [
    await steps('avg_over_time', 'avg_over_time'),
    await steps('quantile_over_time', 'avg_over_time', '0.5, '),
    await steps('max_over_time', 'max_over_time'),
  ];
  const processes = await ask(`avg_over_time((count by (${all}) (${rss}))[${time}:${stepMs}ms])`);
  const cpu = await sum(`increase(${selector('cpu_seconds_total', query)}[${time}])`);
  const restarts = await sum(`changes(${start}[${time}])`);
  const age = await ask(
    `avg_over_time((max by (${all}) (timestamp(${start}) - ${start}))[${time}:${stepMs}ms])`,
  );

  const key = (labels: Labels): string => JSON.stringify([nameOf(labels, pod), nameOf(labels, by)]);
  const table = (values: Value[]): Map<string, number> =>
    new Map(
      values.filter(({ value }) => Number.isFinite(value)).map(({ labels, value }) => [key(labels), value]),
    );
  const of = {
    medianRss: table(medianRss),
    peakRss: table(peakRss),
    processes: table(processes),
    cpu: table(cpu),
    restarts: table(restarts),
    age: table(age),
  };
  const scrapes = new Map<string, number>();
  const variantsOfPod = new Map<string, Set<string>>();
  for (const { labels, value } of series) {
    scrapes.set(key(labels), (scrapes.get(key(labels)) ?? 0) + value);
    const [name, variant] = [nameOf(labels, pod), nameOf(labels, by)];
    variantsOfPod.set(name, (variantsOfPod.get(name) ?? new Set()).add(variant));
  }
  const pods = meanRss.map(({ labels, value }): FleetPod => {
    const [name, variant, id] = [nameOf(labels, pod), nameOf(labels, by), key(labels)];
    const count = (scrapes.get(id) ?? 0) / Math.max(1, of.processes.get(id) ?? 1);
    const observedSeconds = count * scrapeSeconds;
    const [cpuSeconds, ageSeconds] = [of.cpu.get(id), of.age.get(id)];
    // The counter of requests does not say which variant of a pod counted.
    const isAlone = variantsOfPod.get(name)?.size === 1;
    const answered = isAlone ? requests?.get(name) : undefined;
    return {
      pod: name,
      variant,
      scrapes: Math.round(count),
      observedSeconds,
      restarts: of.restarts.get(id) ?? 0,
      ...(ageSeconds === undefined ? {} : { ageSeconds }),
      meanRss: value,
      medianRss: of.medianRss.get(id) ?? value,
      peakRss: of.peakRss.get(id) ?? value,
      ...(cpuSeconds === undefined ? {} : { cpu: cpuSeconds / observedSeconds }),
      ...(answered === undefined ? {} : { requests: answered / observedSeconds }),
      ...(answered === undefined || answered === 0 || cpuSeconds === undefined
        ? {}
        : { cpuPerRequest: cpuSeconds / answered }),
    };
  });
  return { pods, series, variants, scrapeSeconds };
}

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
