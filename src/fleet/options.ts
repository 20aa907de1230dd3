// The options of `compareFleet`, checked before anything is asked.

import { invalidArgument, MallocBackendError, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';

/** What to compare in a fleet, and where its metrics are. */
export interface FleetOptions {
  /**
   * The URL of Prometheus, or of another server with Prometheus's HTTP API: Thanos, Mimir, VictoriaMetrics. If the API is
   * under a path, the URL has this path.
   */
  prometheus: string;
  /** The labels whose values make a variant. Default: `backend` and `preset`. */
  by?: readonly string[];
  /** The matchers that select the service, in PromQL: `job="api",namespace="shop"`. Default: all series. */
  workload?: string;
  /** The length of the time to look at, in milliseconds. Default: 24 hours. */
  sinceMs?: number;
  /** The end of this time. Default: now. */
  until?: Date;
  /** The labels whose values make a pod. Default: `instance`. */
  pod?: readonly string[];
  /** The variant that the others are compared with: the values of `by`, with `/` between them. Default: the one with the most pods. */
  baseline?: string;
  /** A counter of requests in PromQL, such as `http_requests_total`. It gives the load of each pod. Default: the load is not known. */
  requests?: string;
  /** The text before the names of the metrics, as in `collectMallocMetrics`. Default: none. */
  prefix?: string;
  /** HTTP headers for Prometheus, for example `{ Authorization: 'Bearer …' }`. Default: none. */
  headers?: Readonly<Record<string, string>>;
  /** Interrupts the comparison. */
  signal?: AbortSignal;
}

const NAMES = namesOf<FleetOptions>({
  prometheus: true,
  by: true,
  workload: true,
  sinceMs: true,
  until: true,
  pod: true,
  baseline: true,
  requests: true,
  prefix: true,
  headers: true,
  signal: true,
});

/** The options with the defaults. */
export interface Query {
  by: string[];
  workload: string;
  sinceMs: number;
  until: Date;
  pod: string[];
  baseline?: string;
  requests?: string;
  prefix: string;
}

const DAY_MS = 86_400_000;

/** Two scrapes of a second each, and a little more. */
const SHORTEST_MS = 5_000;

function invalid(message: string): MallocBackendError {
  return invalidArgument(`compareFleet: ${message}`);
}

/**
 * Checks the options.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`
 */
export function queryOf(options: FleetOptions): Query {
  requireOptions(options, NAMES);
  const { by = ['backend', 'preset'], pod = ['instance'], until = new Date(), sinceMs = DAY_MS } = options;
  const { workload = '', prefix = '', baseline, requests, headers = {}, signal } = options;
  labels('by', by);
  labels('pod', pod);
  const both = by.find((name) => pod.includes(name));
  if (both !== undefined)
    throw invalid(
      `${both} is in by and in pod; a variant has many pods, so choose other labels for one of them`,
    );
  for (const [name, value] of Object.entries({ workload, prefix, baseline: baseline ?? '' }))
    if (typeof value !== 'string') throw invalid(`${name} must be a string, not ${shown(value)}`);
  if (!/^([a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(prefix))
    throw invalid(`the prefix must consist of letters, digits, _ and :, not ${shown(prefix)}`);
  if (requests !== undefined && (typeof requests !== 'string' || !SELECTOR.test(requests)))
    throw invalid(
      `requests must be the name of a counter, with matchers if you need them, such as http_requests_total{code="200"}, not ${shown(requests)}`,
    );
  if (!Number.isFinite(sinceMs) || sinceMs < SHORTEST_MS)
    throw invalid(`sinceMs must be a number of at least ${SHORTEST_MS}, not ${shown(sinceMs)}`);
  if (!(until instanceof Date) || Number.isNaN(until.getTime()))
    throw invalid(`until must be a valid Date, not ${shown(until)}`);
  // No message shows the value of a header: it may be a secret.
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers))
    throw invalid(
      `headers must be an object of strings, not of type ${Array.isArray(headers) ? 'array' : typeof headers}`,
    );
  for (const [name, value] of Object.entries(headers))
    if (typeof value !== 'string')
      throw invalid(`headers must be an object of strings, and ${shown(name)} is of type ${typeof value}`);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalid(`signal must be an AbortSignal, not ${shown(signal)}`);
  return {
    by: [...by],
    workload: workload.trim().replace(/^\{(.*)\}$/s, '$1'),
    sinceMs: Math.round(sinceMs),
    until,
    pod: [...pod],
    prefix,
    ...(baseline === undefined ? {} : { baseline }),
    ...(requests === undefined ? {} : { requests }),
  };
}

/** A name, and matchers behind it. */
export const SELECTOR = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$/s;

function labels(option: string, names: unknown): void {
  const isList = Array.isArray(names) && names.length > 0;
  if (!isList || names.some((name) => typeof name !== 'string' || !/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)))
    throw invalid(`${option} must be an array of one or more names of labels, not ${shown(names)}`);
}
