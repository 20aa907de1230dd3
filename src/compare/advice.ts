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

/** What the advised subject may cost where nothing else was asked for, as a part of the baseline's value. */
export const COST_WITHIN = 0.03;

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

function isTolerated<Name extends string>({ name, within }: Bound<Name>, against: Against<Name>): boolean {
  const comparison = against[name];
  return (
    comparison === undefined ||
    comparison.verdict === 'no difference' ||
    asCost(name, comparison).ratio <= 1 + within
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
  const found = winner(others, GOALS[mode], results.options.costWithin);
  if (found !== undefined) {
    const sentence = `${named(found.subject)}: ${figures(found, results.mode)}.`;
    return { subject: found.subject, sentence };
  }
  return { subject: null, sentence: withoutWinner(results, others, rounds) };
}

/**
 * The subject to take, if there is one.
 *
 * @param within - By which part the cost may rise above the baseline's. Default: 0.03.
 */
export function winner<Name extends string>(
  others: readonly Summary<Name>[],
  { memory, cost }: Goals<Name>,
  within = COST_WITHIN,
): Summary<Name> | undefined {
  const bounded = cost.map((name) => ({ name, within }));
  // Where no memory is saved, time may be.
  return best(others, memory, bounded) ?? best(others, cost, memory.map(unchanged));
}

/** A metric, and by which part it may be worse than the baseline's. */
interface Bound<Name extends string> {
  name: Name;
  within: number;
}

const unchanged = <Name extends string>(name: Name): Bound<Name> => ({ name, within: COST_WITHIN });

/** The subject that is best by the first of the metrics in which any is better, where the bounds of the others hold. */
function best<Name extends string>(
  all: readonly Summary<Name>[],
  better: readonly Name[],
  bounds: readonly Bound<Name>[],
): Summary<Name> | undefined {
  const [first, ...rest] = better;
  if (first === undefined) return undefined;
  const able = all.filter(
    ({ against }) => isBetterBy(first, against!) && bounds.every((bound) => isTolerated(bound, against!)),
  );
  const ratio = ({ against }: Summary<Name>): number => asCost(first, against![first]!).ratio;
  if (able.length === 0) return best(all, rest, [...bounds, unchanged(first)]);
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
  if (isBetter) return atAPrice(baseline, near.subject, figures(near, mode)) + priced(all, GOALS[mode]);
  return isOpen
    ? `Nothing is certain: the runs differ too much. So far ${named(near.subject)}: ${figures(near, mode)}.`
    : stay(baseline);
}

/** The lowest bound of the cost, in whole per cent, with which a subject would be advised. */
function priced(all: readonly Summary[], goals: Goals<MetricName>): string {
  const bounds = all.map(({ against }) =>
    Math.max(...goals.cost.map((name) => (against![name] ? asCost(name, against![name]).ratio : 1))),
  );
  for (const bound of bounds.toSorted((a, b) => a - b)) {
    const percent = Math.ceil((bound - 1) * 100);
    const found = winner(all, goals, percent / 100);
    if (found !== undefined) return ` With --cost-within ${percent}% the advice is ${named(found.subject)}.`;
  }
  return '';
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
