// What the reader should do. A file with the decision (`--save`) is made from `Advice.subject` and that subject's summary.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { binaryFolder } from '../native/loader.js';
import { count, verdict } from './export/format.js';
import { METRIC } from './metrics.js';
import type { Advice, CompareResults, Comparison, MetricName, Subject, Summary, Verdict } from './results.js';
import { completeRounds } from './summary.js';
import { fewestRounds } from './verdict.js';

/** What is to be low, the more important first, and what may not rise for it. */
export interface Goals<Name extends string> {
  memory: readonly Name[];
  cost: readonly Name[];
}

export const GOALS: Readonly<Record<CompareResults['mode'], Goals<MetricName>>> = {
  batch: { memory: ['treePeakRss', 'meanRss'], cost: ['cpu', 'wall'] },
  service: { memory: ['rssAfterIdle', 'rssAtPeak'], cost: ['cpu', 'p99', 'throughput'] },
};

/** What memory may cost. */
export const TOLERATED = 1.03;

type Against<Name extends string> = Partial<Record<Name, Comparison>>;

const TURNED: Partial<Record<Verdict, Verdict>> = { lower: 'higher', higher: 'lower' };

/** Turned so that less is better: of throughput, more is. */
export function asCost<Found extends Pick<Comparison, 'ratio' | 'low' | 'high'> & { verdict?: Verdict }>(
  name: string,
  found: Found,
): Found {
  if (name !== 'throughput') return found;
  const { ratio, low, high, verdict } = found;
  return {
    ...found,
    ratio: 1 / ratio,
    low: 1 / high,
    high: 1 / low,
    ...(verdict === undefined ? {} : { verdict: TURNED[verdict] ?? verdict }),
  };
}

function isBetterBy<Name extends string>(name: Name, against: Against<Name>): boolean {
  const comparison = against[name];
  return comparison !== undefined && asCost(name, comparison).verdict === 'lower';
}

function isTolerated<Name extends string>(name: Name, against: Against<Name>): boolean {
  const comparison = against[name];
  return (
    comparison === undefined ||
    comparison.verdict === 'no difference' ||
    asCost(name, comparison).ratio <= TOLERATED
  );
}

/**
 * The subject to take: the one that lowers memory most and costs nothing; else the one that lowers CPU time most; else none.
 * Undefined without a complete round, or without another subject than the baseline.
 */
export function advise(results: CompareResults): Advice | undefined {
  const { mode, summaries } = results;
  const others = summaries.filter(({ against }) => against !== undefined);
  const rounds = completeRounds(results);
  if (others.length === 0 || rounds === 0) return undefined;
  const found = winner(others, GOALS[mode]);
  if (found !== undefined) {
    const sentence = `${named(found.subject)}: ${figures(found, results.mode)}.`;
    return { subject: found.subject, sentence };
  }
  return { subject: null, sentence: withoutWinner(results, others, rounds) };
}

/** The subject to take, if there is one. */
export function winner<Name extends string>(
  others: readonly Summary<Name>[],
  { memory, cost }: Goals<Name>,
): Summary<Name> | undefined {
  // Where no memory is saved, time may be.
  return best(others, memory, cost) ?? best(others, cost, memory);
}

/** The subject that is best by the first of the metrics in which any is better, where the others are tolerated. */
function best<Name extends string>(
  all: readonly Summary<Name>[],
  better: readonly Name[],
  tolerated: readonly Name[],
): Summary<Name> | undefined {
  const [first, ...rest] = better;
  if (first === undefined) return undefined;
  const able = all.filter(
    ({ against }) => isBetterBy(first, against!) && tolerated.every((name) => isTolerated(name, against!)),
  );
  const ratio = ({ against }: Summary<Name>): number => asCost(first, against![first]!).ratio;
  if (able.length === 0) return best(all, rest, [...tolerated, first]);
  return able.reduce((lowest, next) => (ratio(next) < ratio(lowest) ? next : lowest));
}

function withoutWinner(
  { mode, baseline, options }: CompareResults,
  all: readonly Summary[],
  rounds: number,
): string {
  const { near, isOpen, isBetter } = outlook(all, GOALS[mode]);
  const fewest = fewestRounds(all.length, options.runs);
  if (isOpen && rounds < fewest)
    return `Nothing is certain after ${count(rounds, 'round')}; a verdict needs ${fewest}. So far ${named(near.subject)}: ${figures(near, mode)}.`;
  if (isBetter) return atAPrice(baseline, near.subject, figures(near, mode));
  return isOpen
    ? `Nothing is certain: the runs differ too much. So far ${named(near.subject)}: ${figures(near, mode)}.`
    : stay(baseline);
}

/** The subject with the least memory, whether anything is undecided, and whether that subject has less memory for certain. */
export function outlook<Name extends string>(
  all: readonly Summary<Name>[],
  { memory, cost }: Goals<Name>,
): { near: Summary<Name>; isOpen: boolean; isBetter: boolean } {
  const [first] = memory;
  const near = all.toSorted(
    (a, b) => (a.against![first!]?.ratio ?? 1) - (b.against![first!]?.ratio ?? 1),
  )[0]!;
  const isOpen = all.some(({ against }) =>
    [...memory, ...cost].some((name) => against![name]?.verdict === 'undecided'),
  );
  return { near, isOpen, isBetter: memory.some((name) => isBetterBy(name, near.against!)) };
}

export const atAPrice = (baseline: string, subject: string, price: string): string =>
  `Stay with ${named(baseline)}, unless memory is worth the price: ${named(subject)} has ${price}.`;

export const stay = (baseline: string): string => `Stay with ${named(baseline)}: nothing else is better.`;

/** `jemalloc/low-rss` as one says it. */
export const named = (id: string): string => id.replace('/', ' ').replace(' none', '');

function figures({ against }: Summary, mode: CompareResults['mode']): string {
  const { memory, cost } = GOALS[mode];
  return (
    [...memory, ...cost]
      // At a fixed rate the throughput is that rate.
      .filter((name) => name !== 'throughput' || against![name]?.verdict !== 'no difference')
      .filter((name) => against![name] !== undefined)
      .map((name) => `${METRIC[name].title} ${verdict(against![name]!)}`)
      .join(', ')
  );
}

/** The lines of a Dockerfile that apply the subject, as `malloc-backend env` prints them. */
export function dockerfile({ backend, preset, set }: Subject): string[] {
  const options = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const words = ['env', backend, '--preset', preset, ...options, '--format', 'docker'];
  const text = execFileSync(join(binaryFolder(), 'malloc-backend'), words, { encoding: 'utf8' });
  return text.split('\n').filter((line) => line !== '');
}
