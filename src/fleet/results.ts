// What `compareFleet` found.

import type { Advice, Summary, Warning } from '../compare/results.js';

/** What is compared between the pods: one value of each pod over the whole time. */
export type FleetMetric = (typeof FLEET_METRICS)[number];

export const FLEET_METRICS = ['meanRss', 'medianRss', 'peakRss', 'cpu', 'cpuPerRequest', 'requests'] as const;

/** How a reader sees each metric. */
export const FLEET_METRIC = {
  meanRss: { title: 'mean RSS', unit: 'bytes' },
  medianRss: { title: 'median RSS', unit: 'bytes' },
  peakRss: { title: 'peak RSS', unit: 'bytes' },
  cpu: { title: 'CPU', unit: 'cores' },
  cpuPerRequest: { title: 'CPU of a request', unit: 'seconds' },
  requests: { title: 'requests', unit: 'rate' },
} as const;

/** The pods of a fleet, compared by their metrics. */
export interface FleetResults {
  /** The version of this format. */
  schema: 1;
  /** What compared: `malloc-backend 0.1.0`. */
  tool: string;
  /** When it was compared, as ISO 8601. */
  created: string;
  mode: 'fleet';
  /** Where the metrics are from. */
  prometheus: string;
  query: FleetQuery;
  /** The id of the variant that the others are compared with. */
  baseline: string;
  /** The baseline first, then the others with the most pods first. */
  variants: FleetVariant[];
  /** One for each pod of each variant. */
  pods: FleetPod[];
  /** One for each variant, in the order of `variants`. `subject` is the id of the variant, `n` the number of its pods. */
  summaries: Summary<FleetMetric>[];
  /** Whether and what to choose. `subject` is the id of a variant. */
  advice: Advice;
  /** What may spoil the result. */
  warnings: Warning[];
}

/** What was asked. */
export interface FleetQuery {
  by: string[];
  pod: string[];
  /** The matchers. */
  workload: string;
  /** The time that was looked at, as ISO 8601. */
  from: string;
  to: string;
  /** The seconds between two scrapes. */
  scrapeSeconds: number;
  requests?: string;
  prefix?: string;
}

/** The pods with the same values of the labels. */
export interface FleetVariant {
  /** The values of `by`, with `/` between them. */
  id: string;
  labels: Record<string, string>;
  /** The number of pods that are compared. */
  pods: number;
  /** The number of pods that were scraped too rarely to be compared. */
  leftOut: number;
  /** How often processes of these pods began anew. */
  restarts: number;
  /** The median of `FleetPod.ageSeconds`. */
  ageSeconds?: number;
}

/** One pod under one variant. RSS is in bytes, of all processes of the pod together. */
export interface FleetPod {
  /** The values of the labels in `pod`, with `/` between them. */
  pod: string;
  /** The id of the variant. */
  variant: string;
  /** How often the pod was scraped. */
  scrapes: number;
  /** The time for which the pod was scraped. */
  observedSeconds: number;
  restarts: number;
  /** The mean age of the process while it was scraped. */
  ageSeconds?: number;
  meanRss: number;
  medianRss: number;
  peakRss: number;
  /** CPU time in seconds, in a second. */
  cpu?: number;
  /** Requests in a second. */
  requests?: number;
  /** CPU time of a request, in seconds. */
  cpuPerRequest?: number;
}
