// A simulated fleet: pods whose truth is known, as a Prometheus scrapes them.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Random, random } from '../../src/compare/random.js';
import type { FleetPod } from '../../index.js';
import { quantile } from '../../src/compare/statistics.js';

const normal = (next: Random): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

/** A fleet and its truth. */
export interface World {
  /** How many pods run the baseline, and how many the other variant. */
  baseline: number;
  other: number;
  /** By what factor RSS and CPU of the other variant differ. */
  rss?: number;
  cpu?: number;
  /** The spread of the pods around their variant: log-normal, with a long tail upwards. */
  spread?: number;
  /** How many scrapes each pod has, `scrapeSeconds` apart. */
  scrapes?: number;
  /** The probability that a pod restarts between two scrapes, for both variants. */
  restarts?: readonly [baseline: number, other: number];
  /** The seconds since which the processes of each variant run at the first scrape. */
  ages?: readonly [baseline: number, other: number];
  /** By what factor the other variant has more requests. */
  load?: number;
}

export interface Pod {
  labels: { instance: string; job: string; backend: string; preset: string; config: string };
  /** When it was scraped, and what was found each time. */
  at: Float64Array;
  rss: Float64Array;
  cpu: Float64Array;
  started: Float64Array;
  requests: Float64Array;
}

export const SCRAPE_SECONDS = 30;

/** The last scrape. */
export const END = Date.UTC(2026, 0, 15, 12) / 1000;

const MIB = 2 ** 20;

/** A process needs so many seconds to grow to two thirds of its size. */
const GROWTH_SECONDS = 300;

export function simulate(world: World, seed: number): Pod[] {
  const { spread = 0.12, scrapes = 40, restarts = [0.002, 0.002], ages = [90_000, 90_000] } = world;
  const next = random(seed, 1);
  const begin = END - (scrapes - 1) * SCRAPE_SECONDS;
  return Array.from({ length: world.baseline + world.other }, (_, at): Pod => {
    const isOther = at >= world.baseline;
    const factor = (value: number | undefined): number => (isOther ? (value ?? 1) : 1);
    // Every twentieth pod has a cache that the others do not have.
    const tail = next() < 0.05 ? 1 + next() : 1;
    const level = 200 * MIB * factor(world.rss) * Math.exp(spread * normal(next)) * tail;
    const load = 20 * factor(world.load) * Math.exp(0.05 * normal(next));
    const busy = load * 0.004 * factor(world.cpu) * Math.exp((spread / 2) * normal(next));
    const first = begin - ages[isOther ? 1 : 0] * (0.5 + next());
    let [noise, started, cpu, requests] = [0, first, (begin - first) * busy, (begin - first) * load];
    const pod: Pod = {
      labels: {
        instance: `10.0.${at >> 8}.${at & 255}:9100`,
        job: 'api',
        backend: isOther ? 'jemalloc' : 'default',
        preset: isOther ? 'low-rss' : 'none',
        config: isOther ? '0123abcd' : 'none',
      },
      at: new Float64Array(scrapes),
      rss: new Float64Array(scrapes),
      cpu: new Float64Array(scrapes),
      started: new Float64Array(scrapes),
      requests: new Float64Array(scrapes),
    };
    for (let scrape = 0; scrape < scrapes; scrape++) {
      const time = begin + scrape * SCRAPE_SECONDS;
      // Scrapes of a pod are alike: each depends on the one before it.
      noise = 0.95 * noise + 0.02 * normal(next);
      cpu += busy * SCRAPE_SECONDS * (0.8 + 0.4 * next());
      requests += load * SCRAPE_SECONDS;
      if (scrape > 0 && next() < restarts[isOther ? 1 : 0])
        [started, cpu, requests] = [time - next() * SCRAPE_SECONDS, 0, 0];
      const grown = 1 - 0.7 * Math.exp(-(time - started) / GROWTH_SECONDS);
      pod.at[scrape] = time;
      pod.rss[scrape] = Math.round(level * grown * Math.exp(noise));
      pod.cpu[scrape] = cpu;
      pod.started[scrape] = started;
      pod.requests[scrape] = requests;
    }
    return pod;
  });
}

/** The file from which promtool makes blocks of Prometheus's database. */
export function openMetrics(pods: readonly Pod[]): string {
  const metrics = [
    ['malloc_backend_rss_bytes', 'gauge', 'rss'],
    ['malloc_backend_start_time_seconds', 'gauge', 'started'],
    ['malloc_backend_cpu_seconds_total', 'counter', 'cpu'],
    ['http_requests_total', 'counter', 'requests'],
  ] as const;
  const lines = metrics.flatMap(([name, type, key]) => [
    `# TYPE ${name.replace(/_total$/, '')} ${type}`,
    ...pods.flatMap((pod) => {
      const { instance, job, ...setup } = pod.labels;
      const own = name.startsWith('http') ? { instance, job } : { instance, job, ...setup };
      const text = Object.entries(own).map(([label, value]) => `${label}="${value}"`);
      return [...pod.at].map((at, scrape) => `${name}{${text.join(',')}} ${pod[key][scrape]} ${at}`);
    }),
  ]);
  return `${lines.join('\n')}\n# EOF\n`;
}

/** As Prometheus does, for the time between the edge and the nearest scrape. */
const beyond = (toEdge: number, gap: number): number => (toEdge < 1.1 * gap ? toEdge : gap / 2);

/** For how many seconds Prometheus says what a counter did, of a time that begins at `from`. */
function covered({ at }: Pod, from: number): number {
  const [first, last] = [at[0]!, at.at(-1)!];
  const gap = (last - first) / (at.length - 1);
  return last - first + beyond(first - from, gap) + beyond(END - last, gap);
}

function increase(pod: Pod, values: Float64Array, from: number): number {
  let all = 0;
  for (let at = 1; at < values.length; at++)
    all += values[at]! < values[at - 1]! ? values[at]! : values[at]! - values[at - 1]!;
  return (all * covered(pod, from)) / (pod.at.at(-1)! - pod.at[0]!);
}

function meanOf(values: Float64Array): number {
  let all = 0;
  for (const value of values) all += value;
  return all / values.length;
}

/** What Prometheus makes of a pod's scrapes, by its functions: each is as `compareFleet` writes it. */
const FUNCTIONS = {
  scrapes: [/^count_over_time\(malloc_backend_rss_bytes\{job="api"\}\[\d+ms\]\)$/, ({ at }) => at.length],
  meanRss: [
    /^avg_over_time\(\(sum by \(.*\) \(avg_over_time\(malloc_backend_rss_bytes/,
    ({ rss }) => meanOf(rss),
  ],
  wholeRss: [/^sum by \(.*\) \(avg_over_time\(malloc_backend_rss_bytes/, ({ rss }) => meanOf(rss)],
  medianRss: [
    /^quantile_over_time\(0\.5, \(sum by \(.*\) \(avg_over_time\(malloc_backend_rss_bytes/,
    ({ rss }) => quantile(rss.toSorted(), 0.5),
  ],
  peakRss: [
    /^(max_over_time\(\()?sum by \(.*\) \(malloc_backend_rss_bytes\{job="api"\}\)/,
    ({ rss }) => rss.reduce((most, value) => Math.max(most, value)),
  ],
  first: [
    /^(min_over_time\(\()?min by \(.*\) \(timestamp\(malloc_backend_rss_bytes\{job="api"\}\) >= \d+\)/,
    ({ at }) => at[0]!,
  ],
  last: [
    /^(max_over_time\(\()?max by \(.*\) \(timestamp\(malloc_backend_rss_bytes\{job="api"\}\) >= \d+\)/,
    ({ at }) => at.at(-1)!,
  ],
  processes: [/^avg_over_time\(\(count by \(.*\) \(malloc_backend_rss_bytes/, () => 1],
  cpuSeconds: [
    /^sum by \(.*\) \(increase\(malloc_backend_cpu_seconds_total/,
    (pod, from) => increase(pod, pod.cpu, from),
  ],
  restarts: [
    /^sum by \(.*\) \(changes\(malloc_backend_start_time_seconds/,
    ({ started }) => new Set(started).size - 1,
  ],
  age: [
    /^avg_over_time\(\(max by \(.*\) \(timestamp\(malloc_backend_start_time_seconds/,
    ({ at, started }) => meanOf(at) - meanOf(started),
  ],
  ageNow: [
    /^max by \(.*\) \(timestamp\(malloc_backend_start_time_seconds/,
    ({ at, started }) => at.at(-1)! - started.at(-1)!,
  ],
  answered: [
    /^sum by \(instance\) \(increase\(http_requests_total/,
    (pod, from) => increase(pod, pod.requests, from),
  ],
} as const satisfies Record<string, readonly [pattern: RegExp, of: (pod: Pod, from: number) => number]>;

/** The values of a pod as `compareFleet` gets them, without the way through a server. */
export function valuesOf(pod: Pod): FleetPod {
  const from = pod.at[0]! - SCRAPE_SECONDS;
  const of = (name: keyof typeof FUNCTIONS): number => FUNCTIONS[name][1](pod, from);
  const { backend, preset, instance } = pod.labels;
  const observedSeconds = covered(pod, from);
  return {
    pod: instance,
    variant: `${backend}/${preset}`,
    scrapes: of('scrapes'),
    observedSeconds,
    restarts: of('restarts'),
    meanRss: of('meanRss'),
    medianRss: of('medianRss'),
    peakRss: of('peakRss'),
    cpu: of('cpuSeconds') / observedSeconds,
  };
}

/** A server with the part of Prometheus's HTTP API that `compareFleet` needs. It refuses every other query. */
export async function serveFleet(): Promise<{
  url: string;
  /** `answering` are the pods that count requests. */
  show(pods: readonly Pod[], answering?: readonly Pod[]): void;
  /** Every query since the last call of `show`. */
  asked(): readonly string[];
  stop(): void;
}> {
  let pods: readonly Pod[] = [];
  let counting: readonly Pod[] = [];
  let queries: string[] = [];
  const answer = (query: string): unknown => {
    if (/^malloc_backend_rss_bytes\{[^}]*instance="[^"]*"[^}]*\}\[\d+ms\]$/.test(query)) {
      const { labels, at, rss } = pods[0]!;
      return { result: [{ metric: labels, values: [...at].map((time, nth) => [time, String(rss[nth])]) }] };
    }
    const [, of] = Object.values(FUNCTIONS).find(([pattern]) => pattern.test(query)) ?? [];
    if (of === undefined) return undefined;
    const from = END - Number(/\[(\d+)ms/.exec(query)?.[1]) / 1000;
    // Steps of time end at multiples of their length.
    const step = Number(/^(?:avg|quantile)_over_time\(.*:(\d+)ms\]\)$/.exec(query)?.[1] ?? 1) / 1000;
    const lastStep = Math.floor(END / step) * step;
    const shown = (of === FUNCTIONS.answered[1] ? counting : pods).filter(({ at }) => at[0]! <= lastStep);
    return { result: shown.map((pod) => ({ metric: pod.labels, value: [END, String(of(pod, from))] })) };
  };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const query = new URLSearchParams(body).get('query') ?? '';
    queries.push(query);
    const data = answer(query);
    const reply =
      data === undefined
        ? { status: 'error', error: `not simulated: ${query}` }
        : { status: 'success', data };
    response
      .setHeader('content-type', 'application/json')
      .setHeader('connection', 'close')
      .end(JSON.stringify(reply));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    show: (shown, answering = shown) => void ([pods, counting, queries] = [shown, answering, []]),
    asked: () => queries,
    stop: () => void (server.close(), server.closeAllConnections()),
  };
}
