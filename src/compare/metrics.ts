// What each metric is of a run, and how a reader sees it.

import type { CompareResults, MetricName, Run } from './results.js';

interface Metric {
  /** As a table's head has it. */
  title: string;
  unit: 'seconds' | 'bytes' | 'milliseconds' | 'rate';
  /** Undefined where the run did not tell. */
  of(run: Run): number | undefined;
}

export const METRIC: Readonly<Record<MetricName, Metric>> = {
  wall: { title: 'time', unit: 'seconds', of: ({ wall }) => wall },
  cpu: { title: 'CPU', unit: 'seconds', of: ({ user, system }) => user + system },
  peakRss: { title: 'peak RSS of the process', unit: 'bytes', of: ({ peakRss }) => peakRss },
  treePeakRss: { title: 'peak RSS', unit: 'bytes', of: ({ treePeakRss }) => treePeakRss },
  meanRss: { title: 'mean RSS', unit: 'bytes', of: ({ meanRss }) => meanRss },
  throughput: { title: 'throughput', unit: 'rate', of: ({ service }) => service?.throughput },
  p50: { title: 'p50', unit: 'milliseconds', of: ({ service }) => service?.latency?.p50 },
  p99: { title: 'p99', unit: 'milliseconds', of: ({ service }) => service?.latency?.p99 },
  p999: { title: 'p99.9', unit: 'milliseconds', of: ({ service }) => service?.latency?.p999 },
  rssAtPeak: { title: 'RSS at peak', unit: 'bytes', of: ({ service }) => service?.rssAtPeak },
  rssAfterLoad: { title: 'RSS after load', unit: 'bytes', of: ({ service }) => service?.rssAfterLoad },
  rssAfterIdle: { title: 'RSS after idle', unit: 'bytes', of: ({ service }) => service?.rssAfterIdle },
};

/** The metrics that a table shows, and that must be decided before the comparison stops early. */
export const DECIDING: Readonly<Record<CompareResults['mode'], readonly MetricName[]>> = {
  batch: ['wall', 'cpu', 'treePeakRss', 'meanRss'],
  service: ['rssAfterIdle', 'rssAfterLoad', 'rssAtPeak', 'cpu', 'p50', 'p99', 'throughput'],
};
