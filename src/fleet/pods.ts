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

/** A query looks at no more samples than this. Prometheus refuses a query of more than 50 million. */
const MOST_SAMPLES = 5_000_000;

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
  const key = (labels: Labels): string => JSON.stringify([nameOf(labels, pod), nameOf(labels, by)]);
  /** Over all steps, of what the processes of a pod have together in a step. */
  const steps = (ofAll: string, ofStep: string, argument = ''): Promise<Value[]> =>
    ask(`${ofAll}(${argument}(sum by (${all}) (${ofStep}(${rss}[${stepMs}ms])))[${time}:${stepMs}ms])`);
  const sum = (expression: string): Promise<Value[]> => ask(`sum by (${all}) (${expression})`);
  const scrapeMs = Math.max(1, Math.round(1000 * scrapeSeconds));
  const partMs = scrapeMs * Math.max(1, Math.floor(MOST_SAMPLES / series.length));
  // Subqueries look at multiples of the time between two scrapes. The end itself may be none.
  const parts = [{ end: until.getTime(), ms: 0 }];
  for (let left = sinceMs; left > 0; left -= partMs)
    parts.push({ end: until.getTime() - sinceMs + left, ms: Math.min(partMs, left) });
  /** Over all scrapes of the parts, of what the processes of a pod have together at one moment. */
  const moments = async (
    ofAll: 'min' | 'max',
    ofMoment: string,
    ofParts: typeof parts,
    enough = Infinity,
  ): Promise<Map<string, number>> => {
    const best = new Map<string, number>();
    for (const { end, ms } of ofParts) {
      if (best.size >= enough) break;
      const part = ms === 0 ? ofMoment : `${ofAll}_over_time((${ofMoment})[${ms}ms:${scrapeMs}ms])`;
      for (const { labels, value } of await prometheus.values(part, new Date(end)))
        best.set(key(labels), Math[ofAll](value, best.get(key(labels)) ?? value));
    }
    return best;
  };
  const start = selector('start_time_seconds', query);

  const [meanRss, medianRss] = [
    await steps('avg_over_time', 'avg_over_time'),
    await steps('quantile_over_time', 'avg_over_time', '0.5, '),
  ];
  // Prometheus ends the steps at multiples of their length. A pod that began after the last of them is in none.
  const isInSteps = new Set(meanRss.map(({ labels }) => key(labels)));
  const ofNewest = (await sum(`avg_over_time(${rss}[${time}])`)).filter(
    ({ labels }) => !isInSteps.has(key(labels)),
  );
  const [from, to] = [(until.getTime() - sinceMs) / 1000, until.getTime() / 1000];
  const count = new Set(series.map(({ labels }) => key(labels))).size;
  const scraped = `timestamp(${rss}) >= ${from}`;
  // The parts are in the order in which what is found first is what is looked for.
  const first = await moments('min', `min by (${all}) (${scraped})`, parts.toReversed(), count);
  const last = await moments('max', `max by (${all}) (${scraped})`, parts, count);
  const [begin, end] = [[...first.values()].reduce(lower, to), [...last.values()].reduce(higher, from)];
  // Not of the peaks in a step: a series whose label changes is two, and they were never there together.
  const peakRss = await moments(
    'max',
    `sum by (${all}) (${rss})`,
    parts.filter((part) => part.ms === 0 || (part.end >= begin * 1000 && part.end - part.ms <= end * 1000)),
  );
  const processes = await ask(`avg_over_time((count by (${all}) (${rss}))[${time}:${stepMs}ms])`);
  const cpu = await sum(`increase(${selector('cpu_seconds_total', query)}[${time}])`);
  const restarts = await sum(`changes(${start}[${time}])`);
  const age = await ask(
    `avg_over_time((max by (${all}) (timestamp(${start}) - ${start}))[${time}:${stepMs}ms])`,
  );

  const table = (values: Value[]): Map<string, number> =>
    new Map(
      values.filter(({ value }) => Number.isFinite(value)).map(({ labels, value }) => [key(labels), value]),
    );
  const of = {
    medianRss: table(medianRss),
    processes: table(processes),
    cpu: table(cpu),
    restarts: table(restarts),
    age: table(age),
  };
  const [scrapes, processesOf] = [new Map<string, number>(), new Map<string, number>()];
  const variantsOfPod = new Map<string, Set<string>>();
  for (const { labels, value } of series) {
    scrapes.set(key(labels), (scrapes.get(key(labels)) ?? 0) + value);
    processesOf.set(key(labels), (processesOf.get(key(labels)) ?? 0) + 1);
    const [name, variant] = [nameOf(labels, pod), nameOf(labels, by)];
    variantsOfPod.set(name, (variantsOfPod.get(name) ?? new Set()).add(variant));
  }
  const pods = [...meanRss, ...ofNewest].map(({ labels, value }): FleetPod => {
    const [name, variant, id] = [nameOf(labels, pod), nameOf(labels, by), key(labels)];
    const count = (scrapes.get(id) ?? 0) / Math.max(1, of.processes.get(id) ?? processesOf.get(id) ?? 1);
    const [begin, end] = [first.get(id) ?? from, last.get(id) ?? from];
    const gap = count > 1 && end > begin ? (end - begin) / (count - 1) : scrapeSeconds;
    const observedSeconds = end - begin + beyond(begin - from, gap) + beyond(to - end, gap);
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

/**
 * For how many seconds before the first scrape of a pod, or after its last, increase() adds to what it found: up to the edge of
 * the time, if this is about one gap away. The gap is the pod's own, because others may be scraped more often.
 */
const beyond = (toEdge: number, gap: number): number => (toEdge < 1.1 * gap ? toEdge : gap / 2);

const lower = (a: number, b: number): number => Math.min(a, b);
const higher = (a: number, b: number): number => Math.max(a, b);

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
