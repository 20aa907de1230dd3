// A fleet compared by its own metrics.

import { MallocBackendError } from '../errors.js';
import { version } from '../version.js';
import { adviceOf } from './advice.js';
import { type FleetOptions, type Query, queryOf } from './options.js';
import { type Found, type Series, listed, podsOf, seriesOf } from './pods.js';
import { Prometheus } from './prometheus.js';
import type { FleetResults, FleetPod, FleetVariant } from './results.js';
import { median, sum } from '../compare/statistics.js';
import { summariesOf } from './verdicts.js';
import { warningsOf } from './warnings.js';

/** A pod that was scraped less often has values that are mostly chance, and mostly of its start. */
const LEAST_SCRAPES = 10;

/**
 * Compares the variants of a service that runs on many pods, by the metrics that Prometheus has of them. Each pod is one
 * sample, however often it was scraped.
 *
 * ```ts
 * const { advice, warnings } = await compareFleet({ prometheus: 'http://prometheus:9090', workload: 'job="api"' });
 * console.log(advice.sentence, warnings);
 * ```
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`; `ERR_PROMETHEUS_FAILED`: Prometheus cannot be reached, needs
 * credentials, or refuses a query; `ERR_NOTHING_TO_COMPARE`: there is no series, or one variant alone; `ERR_ABORTED`: the
 * signal was aborted
 */
export async function compareFleet(options: FleetOptions): Promise<FleetResults> {
  const query = queryOf(options);
  const { signal, headers } = options;
  const prometheus = new Prometheus(options.prometheus, headers, signal);
  if (signal?.aborted)
    throw new MallocBackendError('ERR_ABORTED', 'the comparison of the fleet was interrupted');
  const series = await seriesOf(prometheus, query);
  requireVariants(series, query);
  const found = await podsOf(prometheus, query, series);
  const pods = found.pods.filter(({ scrapes }) => scrapes >= LEAST_SCRAPES);
  const variants = variantsOf(found, pods, query);
  const summaries = summariesOf(
    pods,
    variants.map(({ id }) => id),
  );
  const warnings = [
    ...[...prometheus.warnings].map((message) => ({
      code: 'PROMETHEUS',
      message: `Prometheus warns: ${message}`,
    })),
    ...warningsOf({ query, found, variants, pods, summaries }),
  ];
  const { by, pod, workload, until, sinceMs, requests, prefix } = query;
  return {
    schema: 1,
    tool: `malloc-backend ${version()}`,
    created: new Date().toISOString(),
    mode: 'fleet',
    prometheus: prometheus.url,
    query: {
      by,
      pod,
      workload,
      from: new Date(until.getTime() - sinceMs).toISOString(),
      to: until.toISOString(),
      scrapeSeconds: found.scrapeSeconds,
      ...(requests === undefined ? {} : { requests }),
      ...(prefix === '' ? {} : { prefix }),
    },
    baseline: variants[0]!.id,
    variants,
    pods: pods.toSorted((a, b) => compareText(a.variant, b.variant) || compareText(a.pod, b.pod)),
    summaries,
    advice: adviceOf(variants, summaries, warnings),
    warnings,
  };
}

const compareText = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** Throws unless there is something to compare, and something to compare it with. */
function requireVariants({ series, variants }: Series, { by, pod, baseline }: Query): void {
  const ids = [...variants.keys()].sort();
  if (baseline !== undefined && !ids.includes(baseline))
    throw new MallocBackendError(
      'ERR_NOTHING_TO_COMPARE',
      `there are no pods of the baseline ${baseline}; the variants are: ${listed(ids)}`,
    );
  if (ids.length > 1) return;
  const values = (name: string): number => new Set(series.map(({ labels }) => labels[name])).size;
  const others = [...new Set(series.flatMap(({ labels }) => Object.keys(labels)))]
    .filter((name) => !['__name__', ...by, ...pod].includes(name) && values(name) > 1)
    .sort();
  const hint = others.length === 0 ? '' : `, or compare by a label that differs: ${others.join(', ')}`;
  throw new MallocBackendError(
    'ERR_NOTHING_TO_COMPARE',
    `all pods are of one variant, ${ids[0]}, by ${by.join(' and ')}; run another variant on some of the pods, look further ` +
      `back with --since${hint}`,
  );
}

/** The baseline, and then the others. */
function variantsOf(
  { pods: all, variants }: Found,
  compared: readonly FleetPod[],
  { baseline }: Query,
): FleetVariant[] {
  const found = [...variants].map(([id, labels]): FleetVariant => {
    const own = compared.filter(({ variant }) => variant === id);
    const ages = own.flatMap(({ ageSeconds }) => ageSeconds ?? []);
    return {
      id,
      labels,
      pods: own.length,
      leftOut: all.filter(({ variant }) => variant === id).length - own.length,
      restarts: sum(own.map(({ restarts }) => restarts)),
      ...(ages.length === 0 ? {} : { ageSeconds: median(ages) }),
    };
  });
  found.sort((a, b) => b.pods - a.pods || compareText(a.id, b.id));
  const first = found.find(({ id }) => id === baseline) ?? found[0]!;
  return [first, ...found.filter((each) => each !== first)];
}
