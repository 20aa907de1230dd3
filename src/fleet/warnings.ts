// What may look like the allocator, and is something else.

import type { Summary, Warning } from '../compare/results.js';
import { rankSumTest } from '../compare/rank-sum.js';
import { count, duration } from '../compare/export/format.js';
import { median, sum } from '../compare/statistics.js';
import type { Query } from './options.js';
import { type Found, listed } from './pods.js';
import type { FleetMetric, FleetPod, FleetVariant } from './results.js';

/** A difference of ages that is no chance and as large as this is told. */
const AGES = 1.5;

const LEVEL = 0.01;

/** The labels that set a process up: pods of one variant with several values are a mixture. */
const SETUP = ['job', 'backend', 'preset', 'config'];

/** The codes of what the advice is not sure of. */
export const CONFOUNDING: ReadonlySet<string> = new Set(['AGES', 'LOAD', 'TWO_VARIANTS']);

interface Compared {
  query: Query;
  found: Found;
  variants: readonly FleetVariant[];
  /** Those that are compared. */
  pods: readonly FleetPod[];
  summaries: readonly Summary<FleetMetric>[];
}

export function warningsOf(compared: Compared): Warning[] {
  const { query, found, variants, pods } = compared;
  const warnings: Warning[] = [];
  const names = new Map<string, number>();
  for (const { pod } of found.pods) names.set(pod, (names.get(pod) ?? 0) + 1);
  const both = [...names].filter(([, times]) => times > 1).map(([name]) => name);
  if (both.length > 0)
    warnings.push({
      code: 'TWO_VARIANTS',
      message: `${count(both.length, 'pod')} ran more than one variant, one after the other, so their values are of different hours: ${listed(both)}; look at a time after the change with --since`,
    });
  for (const variant of variants) warnings.push(...mixtures(variant, query, found));
  for (const { id, leftOut, pods: compared } of variants)
    if (leftOut > 0)
      warnings.push({
        code: 'SHORT_LIVED',
        subject: id,
        message: `${count(leftOut, 'pod')} of ${id} ${leftOut === 1 ? 'was' : 'were'} scraped too rarely to be compared, beside ${compared} that are; pods that end early may be those with a problem`,
      });
  const [baseline, ...others] = variants;
  const of = (variant: FleetVariant, value: (pod: FleetPod) => number | undefined): number[] =>
    pods.filter((pod) => pod.variant === variant.id).flatMap((pod) => value(pod) ?? []);
  for (const variant of others) {
    const [own, base] = [variant, baseline!].map((each) => of(each, ({ ageSeconds }) => ageSeconds));
    if (own!.length > 0 && base!.length > 0) {
      const [age, usual] = [median(own!), median(base!)];
      const ratio = Math.max(age, usual) / Math.max(1, Math.min(age, usual));
      if (ratio >= AGES && rankSumTest(own!, base!) <= LEVEL)
        warnings.push({
          code: 'AGES',
          subject: variant.id,
          message: `the processes of ${variant.id} were ${duration(age * 1000)} old in the median and those of ${baseline!.id} ${duration(usual * 1000)}; memory grows with age, so restart both at the same time, or wait`,
        });
    }
    const restarts = [variant, baseline!].map((each) => of(each, (pod) => pod.restarts));
    if (rankSumTest(restarts[0]!, restarts[1]!) <= LEVEL)
      warnings.push({
        code: 'RESTARTS',
        subject: variant.id,
        message: `the pods of ${variant.id} restarted ${times(restarts[0]!)}, and those of ${baseline!.id} ${times(restarts[1]!)}; a restart empties the memory, so look at the reason first`,
      });
  }
  warnings.push(...load(compared));
  return warnings;
}

/** `12 times (0.30 for each pod)`. */
function times(restarts: readonly number[]): string {
  const all = sum(restarts);
  return `${count(all, 'time')} (${(all / restarts.length).toFixed(2)} for each pod)`;
}

function mixtures({ id, labels }: FleetVariant, { by }: Query, { series }: Found): Warning[] {
  const own = series.filter((each) => by.every((name) => (each.labels[name] ?? '') === labels[name]));
  return SETUP.filter((name) => !by.includes(name)).flatMap((name) => {
    const values = [...new Set(own.map((each) => each.labels[name] ?? ''))].sort();
    if (values.length < 2) return [];
    const remedy = name === 'job' ? 'choose one with --workload' : `compare by ${name} too`;
    return [
      {
        code: 'MIXED',
        subject: id,
        message: `${id} has pods of several kinds, with ${name} ${listed(values)}; ${remedy}`,
      },
    ];
  });
}

function load({ query, pods, summaries, variants }: Compared): Warning[] {
  if (query.requests === undefined)
    return [
      {
        code: 'LOAD_UNKNOWN',
        message:
          'whether all pods had the same load is not known; name a counter of requests with --requests http_requests_total',
      },
    ];
  const unlike = `no series of ${query.requests} has the same ${query.pod.join(' and ')} as`;
  if (pods.every(({ requests }) => requests === undefined))
    return [
      {
        code: 'LOAD_UNKNOWN',
        message: `whether all pods had the same load is not known: ${unlike} a pod that ran one variant alone; choose labels that both have, with --pod`,
      },
    ];
  return summaries.flatMap(({ subject, metrics, against }) => {
    if (metrics.requests === undefined)
      return [
        {
          code: 'LOAD_UNKNOWN',
          subject,
          message: `the load of ${subject} is not known: ${unlike} a pod of it that ran no other variant; look whether these pods export the counter`,
        },
      ];
    const found = against?.requests;
    if (found === undefined || !['lower', 'higher'].includes(found.verdict)) return [];
    const percent = Math.round(Math.abs(found.ratio - 1) * 100);
    return [
      {
        code: 'LOAD',
        subject,
        message: `the pods of ${subject} had ${percent} % ${found.verdict === 'higher' ? 'more' : 'fewer'} requests than those of ${variants[0]!.id}; memory and CPU follow the load, so compare pods behind the same balancer`,
      },
    ];
  });
}
