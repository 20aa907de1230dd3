// The questions about pods, in PromQL. Prometheus makes one value of all scrapes of a pod.

import type { Query } from './options.js';
import type { Labels, Prometheus, Value } from './prometheus.js';

/** About so many steps of time are looked at. Each has all of its scrapes in it. */
const STEPS = 300;

/** A query looks at no more samples than this. Prometheus refuses a query of more than 50 million. */
const MOST_SAMPLES = 5_000_000;

/** The values of labels as one name. */
export const nameOf = (labels: Labels, names: readonly string[]): string =>
  names.map((name) => labels[name] ?? '(none)').join('/');

/** A metric of a service in PromQL. */
export function selector(name: string, { prefix, workload }: Query): string {
  const matchers = workload === '' ? '' : `{${workload}}`;
  return `${prefix}malloc_backend_${name}${matchers}`;
}

/** A value of each pod, by {@link Questions.idOf}. */
type Table = Map<string, number>;

/** A stretch of time that ends at `end`; of no length it is that moment. */
interface Stretch {
  end: number;
  ms: number;
}

interface Moments {
  /** When the pod was scraped first, and last, in seconds since 1970. */
  first: Table;
  last: Table;
  peakRss: Table;
}

/** Asks for values of every pod under every variant. */
export class Questions {
  readonly #prometheus: Prometheus;
  readonly #query: Query;
  readonly #rss: string;
  readonly #start: string;
  /** The labels of a pod and of a variant. */
  readonly #labels: string;
  /** The whole time, in PromQL. */
  readonly #time: string;
  readonly #stepMs: number;
  readonly #scrapeMs: number;
  /** The whole time in parts that one query can look at, the newest first. */
  readonly #parts: readonly Stretch[];

  constructor(
    prometheus: Prometheus,
    query: Query,
    { series, scrapeSeconds }: { series: readonly Value[]; scrapeSeconds: number },
  ) {
    const { by, pod, until, sinceMs } = query;
    this.#prometheus = prometheus;
    this.#query = query;
    this.#rss = selector('rss_bytes', query);
    this.#start = selector('start_time_seconds', query);
    this.#labels = [...pod, ...by].join(', ');
    this.#time = `${sinceMs}ms`;
    // A step has two scrapes or more, so that none of them is empty because of one that was late.
    this.#stepMs = Math.max(Math.ceil(2000 * scrapeSeconds), Math.ceil(sinceMs / STEPS));
    this.#scrapeMs = Math.max(1, Math.round(1000 * scrapeSeconds));
    const partMs = this.#scrapeMs * Math.max(1, Math.floor(MOST_SAMPLES / series.length));
    // Subqueries look at multiples of the time between two scrapes. The end itself may be none.
    const parts = [{ end: until.getTime(), ms: 0 }];
    for (let left = sinceMs; left > 0; left -= partMs)
      parts.push({ end: until.getTime() - sinceMs + left, ms: Math.min(partMs, left) });
    this.#parts = parts;
  }

  podOf(labels: Labels): string {
    return nameOf(labels, this.#query.pod);
  }

  variantOf(labels: Labels): string {
    return nameOf(labels, this.#query.by);
  }

  /** The name of a pod under a variant. */
  idOf(labels: Labels): string {
    return JSON.stringify([this.podOf(labels), this.variantOf(labels)]);
  }

  /** With the labels: this table has every pod. */
  async meanRss(): Promise<Map<string, Value>> {
    const inSteps = await this.#ask(this.#ofSteps('avg_over_time', this.#inStep('avg_over_time')));
    // Prometheus ends the steps at multiples of their length. A pod that began after the last of them is in none.
    const newest = await this.#ask(this.#sum(`avg_over_time(${this.#rss}[${this.#time}])`));
    return new Map([...newest, ...inSteps].map((value) => [this.idOf(value.labels), value]));
  }

  medianRss(): Promise<Table> {
    return this.#table(this.#ofSteps('quantile_over_time', this.#inStep('avg_over_time'), '0.5, '));
  }

  /** The number of processes at a time, on average. */
  processes(): Promise<Table> {
    return this.#table(this.#ofSteps('avg_over_time', `count by (${this.#labels}) (${this.#rss})`));
  }

  /** The age of the oldest process at each time, on average. */
  async ageSeconds(): Promise<Table> {
    const age = `max by (${this.#labels}) (timestamp(${this.#start}) - ${this.#start})`;
    // A pod that began after the last step has its age now.
    const now = await this.#table(age);
    return new Map([...now, ...(await this.#table(this.#ofSteps('avg_over_time', age)))]);
  }

  cpuSeconds(): Promise<Table> {
    const counter = selector('cpu_seconds_total', this.#query);
    return this.#table(this.#sum(`increase(${counter}[${this.#time}])`));
  }

  restarts(): Promise<Table> {
    return this.#table(this.#sum(`changes(${this.#start}[${this.#time}])`));
  }

  /** What only a look at each scrape tells. `count` is the number of pods. */
  async moments(count: number): Promise<Moments> {
    const { until, sinceMs } = this.#query;
    const [from, to] = [(until.getTime() - sinceMs) / 1000, until.getTime() / 1000];
    const scraped = `timestamp(${this.#rss}) >= ${from}`;
    // The parts are in the order in which the first find is the right one.
    const oldest = this.#parts.toReversed();
    const first = await this.#extreme('min', `min by (${this.#labels}) (${scraped})`, oldest, count);
    const last = await this.#extreme('max', `max by (${this.#labels}) (${scraped})`, this.#parts, count);
    const begin = [...first.values()].reduce((a, b) => Math.min(a, b), to) * 1000;
    const end = [...last.values()].reduce((a, b) => Math.max(a, b), from) * 1000;
    const scrapedParts = this.#parts.filter(
      (part) => part.ms === 0 || (part.end >= begin && part.end - part.ms <= end),
    );
    // Not of the peaks in a step: a series whose label changes is two, and they were never there together.
    const peakRss = await this.#extreme('max', `sum by (${this.#labels}) (${this.#rss})`, scrapedParts);
    return { first, last, peakRss };
  }

  /** The lowest or highest value of an expression at all scrapes of the parts, until so many pods are found. */
  async #extreme(
    which: 'min' | 'max',
    expression: string,
    parts: readonly Stretch[],
    enough = Infinity,
  ): Promise<Table> {
    const best: Table = new Map();
    for (const { end, ms } of parts) {
      if (best.size >= enough) break;
      const part = ms === 0 ? expression : `${which}_over_time((${expression})[${ms}ms:${this.#scrapeMs}ms])`;
      for (const { labels, value } of await this.#prometheus.values(part, new Date(end))) {
        const id = this.idOf(labels);
        best.set(id, Math[which](value, best.get(id) ?? value));
      }
    }
    return best;
  }

  /** RSS of the processes of a pod together, in a step. */
  #inStep(aggregation: string): string {
    return this.#sum(`${aggregation}(${this.#rss}[${this.#stepMs}ms])`);
  }

  #ofSteps(aggregation: string, ofStep: string, argument = ''): string {
    return `${aggregation}(${argument}(${ofStep})[${this.#time}:${this.#stepMs}ms])`;
  }

  #sum(expression: string): string {
    return `sum by (${this.#labels}) (${expression})`;
  }

  #ask(expression: string): Promise<Value[]> {
    return this.#prometheus.values(expression, this.#query.until);
  }

  async #table(expression: string): Promise<Table> {
    const values = (await this.#ask(expression)).filter(({ value }) => Number.isFinite(value));
    return new Map(values.map(({ labels, value }) => [this.idOf(labels), value]));
  }
}
