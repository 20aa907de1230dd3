// Latencies as percentiles. The histogram is Node's own HdrHistogram: three digits are exact at every size, in constant memory.

import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';

/** Milliseconds at the percentiles that are compared. */
export interface Latency {
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

/** The same for every run, so that the curves of several runs can be compared point by point. */
export const PERCENTILES = [0, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99, 100] as const;

/** Microseconds: an hour. */
const HIGHEST = 3_600_000_000;

export class Latencies {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: HIGHEST, figures: 3 });

  get count(): number {
    return this.#histogram.count;
  }

  record(ms: number): void {
    this.#histogram.record(Math.min(HIGHEST, Math.max(1, Math.round(ms * 1000))));
  }

  /** Milliseconds. Undefined where nothing is recorded. */
  percentile(percentile: number): number | undefined {
    if (this.count === 0) return undefined;
    // Node's percentile() takes none of 0.
    const value = percentile === 0 ? this.#histogram.min : this.#histogram.percentile(percentile);
    return value / 1000;
  }

  summary(): Latency | undefined {
    if (this.count === 0) return undefined;
    const at = (percentile: number): number => this.percentile(percentile)!;
    return { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: at(100) };
  }

  /** Each of {@link PERCENTILES} with its milliseconds. */
  curve(): [percentile: number, ms: number][] {
    return this.count === 0
      ? []
      : PERCENTILES.map((percentile) => [percentile, this.percentile(percentile)!]);
  }
}
