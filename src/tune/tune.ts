// The search for the best options: a race of the presets, races of the neighbours of the best, and a measurement of the winner
// on fresh runs.

import { type ProcessBackend, isBackend } from '../backend.js';
import { dockerfile } from '../compare/advice.js';
import { compare } from '../compare/compare.js';
import type { CompareEvent } from '../compare/events.js';
import { verdict } from '../compare/export/format.js';
import { METRIC } from '../compare/metrics.js';
import { type CompareOptions, requirePart } from '../compare/options.js';
import { type Random, anySeed, random } from '../compare/random.js';
import type { CompareResults, Comparison, MetricName } from '../compare/results.js';
import { type ServiceSettings, serviceSettings } from '../compare/service-options.js';
import {
  DEFAULT_BASELINE,
  isUnavailable,
  parseSubject,
  resolveSubject,
  subjectId,
} from '../compare/subjects.js';
import { completeRounds, summarize } from '../compare/summary.js';
import { invalidArgument, shown } from '../errors.js';
import { type OptionNames, namesOf, requireOptions } from '../options.js';
import { type Candidate, neighbours, presetCandidates, withoutOption } from './candidates.js';
import { type Aim, Record, addRuns, score } from './score.js';
import { SPACE } from './space.js';

/** What `tune` lowers. */
export type TuneGoal = 'rss' | 'cpu' | 'latency';

/** What to tune, and how. */
export interface TuneOptions extends Omit<
  CompareOptions,
  'subjects' | 'baseline' | 'runs' | 'costWithin' | 'resume' | 'file'
> {
  /** What is to be low: RSS (after idle for a service, else the peak), CPU time, or the p99 of a service. */
  goal: TuneGoal;
  /** How much CPU time may rise above the baseline's, as a part. Default: 0.03, unless CPU time is the goal. */
  cpuWithin?: number;
  /** How much RSS may rise above the baseline's, as a part. Default: 0.05, unless RSS is the goal. */
  rssWithin?: number;
  /** The backends to search. Default: `default`, `jemalloc` and `mimalloc`, and `snmalloc` as it is. */
  backends?: readonly ProcessBackend[];
}

/** The outcome of a search. */
export interface TuneResults {
  /** The fresh runs of the baseline, the best preset, the winner, and the winner without each of its options. */
  results: CompareResults;
  /** The id of the best preset that the search found within the bounds. */
  preset: string;
  /** The id of the set of options to take; null if none is better than the baseline. */
  winner: string | null;
  /** The winner against the best preset; absent if the best preset wins. */
  overPreset?: Comparison;
  /** What each of the winner's own options does: the winner without the option, against the winner. */
  mattered: { key: string; value: string; without: Comparison }[];
  /** How many sets of options were tried. */
  tried: number;
  /** One sentence. */
  sentence: string;
}

/** What `tune` yields, in this order. */
export type TuneEvent =
  /** A race of candidates begins. The race before the last one is the confirmation. */
  | { type: 'race'; race: number; kind: 'presets' | 'neighbours' | 'confirmation'; subjects: string[] }
  /** What the race does, without its start and its end. */
  | Exclude<CompareEvent, { type: 'start' | 'end' }>
  | { type: 'end'; tuned: TuneResults };

const OWN = { goal: true, cpuWithin: true, rssWithin: true, backends: true } as const;

const NAMES: OptionNames = namesOf<TuneOptions>({
  ...OWN,
  command: true,
  budgetMs: true,
  warmup: true,
  seed: true,
  intervalMs: true,
  ignoreFailure: true,
  setup: true,
  prepare: true,
  cleanup: true,
  env: true,
  cwd: true,
  input: true,
  output: true,
  service: true,
  signal: true,
});

/** Twenty minutes. */
export const DEFAULT_BUDGET_MS = 1_200_000;
/** The part of the budget that the fresh runs of the winner get. */
const CONFIRMATION = 0.4;
/** Fewer rounds show no difference for certain. */
const LEAST_ROUNDS = 10;
const MOST_ROUNDS = 30;
const NEIGHBOURS = 6;
/** After so many races without a better candidate the search ends. */
const PATIENCE = 2;
/** Options whose effect is measured. */
const ABLATIONS = 4;

/**
 * Searches the options of the allocators for the set that lowers the goal most within the bounds, and measures that set on
 * fresh runs.
 *
 * @throws {@link MallocBackendError} as {@link compare}; `ERR_INVALID_ARGUMENT` also for a latency without a service
 */
export async function* tune(options: TuneOptions): AsyncGenerator<TuneEvent, void, void> {
  yield* new Search(checked(options)).steps();
}

function checked(options: TuneOptions): TuneOptions {
  requireOptions(options, NAMES);
  const { goal, backends } = options;
  if (!['rss', 'cpu', 'latency'].includes(goal))
    throw invalidArgument(`goal must be rss, cpu or latency, not ${shown(goal)}`);
  for (const name of ['cpuWithin', 'rssWithin'] as const) requirePart(name, options[name]);
  if (goal === 'cpu' && options.cpuWithin !== undefined)
    throw invalidArgument('cpuWithin does nothing where CPU time is the goal; leave it out');
  if (goal === 'rss' && options.rssWithin !== undefined)
    throw invalidArgument('rssWithin does nothing where RSS is the goal; leave it out');
  if (goal === 'latency' && !isService(options))
    throw invalidArgument('the goal latency needs a service, whose requests have a latency');
  const wrong = backends?.find((name) => !isBackend(name) || !Object.hasOwn(SPACE, name));
  if (wrong !== undefined)
    throw invalidArgument(`backends must be of ${Object.keys(SPACE).join(', ')}, not ${shown(wrong)}`);
  if (backends?.length === 0) throw invalidArgument('backends must name one backend at least');
  return options;
}

/** musl has no options, and so no presets; a package may lack a library. */
function isPossible(candidate: Candidate, env: NodeJS.ProcessEnv): boolean {
  try {
    resolveSubject(candidate, env);
    return true;
  } catch (error) {
    if (isUnavailable(error)) return false;
    throw error;
  }
}

const isService = ({ service }: Pick<TuneOptions, 'service'>): boolean => service !== undefined;

function aimOf(options: TuneOptions): Aim {
  const { goal, cpuWithin = 0.03, rssWithin = 0.05 } = options;
  const rss: MetricName = isService(options) ? 'rssAfterIdle' : 'treePeakRss';
  const metric: MetricName = { rss, cpu: 'cpu', latency: 'p99' }[goal] as MetricName;
  const bounds = [
    { metric: 'cpu' as const, within: cpuWithin },
    { metric: rss, within: rssWithin },
  ];
  return { metric, bounds: bounds.filter((bound) => bound.metric !== metric) };
}

class Search {
  readonly #options: TuneOptions;
  readonly #aim: Aim;
  readonly #next: Random;
  readonly #budgetMs: number;
  readonly #began = performance.now();
  readonly #records = new Map<string, Record>();
  readonly #candidates = new Map<string, Candidate>();
  #service: ServiceSettings | undefined;
  #races = 0;
  #runs = 0;
  #runningMs = 0;

  constructor(options: TuneOptions) {
    this.#options = options;
    this.#aim = aimOf(options);
    this.#service = options.service;
    this.#next = random(options.seed ?? anySeed(), 7);
    this.#budgetMs = options.budgetMs ?? DEFAULT_BUDGET_MS;
  }

  async *steps(): AsyncGenerator<TuneEvent, void, void> {
    const backends = this.#options.backends ?? (Object.keys(SPACE) as ProcessBackend[]);
    const isNamed = this.#options.backends !== undefined;
    const env = this.#options.env ?? process.env;
    const all = presetCandidates(backends).filter(
      (each) => subjectId(each) !== DEFAULT_BASELINE && (isNamed || isPossible(each, env)),
    );
    yield* this.#halve('presets', all, 1);
    const preset = this.#best(all);
    yield* this.#climb(preset);
    yield* this.#confirm(preset);
  }

  /** Races of neighbours, until none is better for a while, or the part of the budget is used up. */
  async *#climb(preset: Candidate): AsyncGenerator<TuneEvent, void, void> {
    let best = preset;
    for (let idle = 0; idle < PATIENCE && this.#spent() < 1 - CONFIRMATION;) {
      const fresh = neighbours(best, this.#next).filter((each) => !this.#records.has(subjectId(each)));
      if (fresh.length === 0) return;
      yield* this.#halve('neighbours', [best, ...fresh.slice(0, NEIGHBOURS)], 2);
      const found = this.#best();
      idle = subjectId(found) === subjectId(best) ? idle + 1 : 0;
      best = found;
    }
  }

  /** Successive halving: all get a few rounds, the better half gets twice as many, and so on. */
  async *#halve(
    kind: 'presets' | 'neighbours',
    all: readonly Candidate[],
    rounds: number,
  ): AsyncGenerator<TuneEvent, void, void> {
    let left = [...all];
    for (let runs = rounds; left.length > 1; runs *= 2) {
      yield* this.#race(kind, left, runs);
      if (this.#spent() >= 1 - CONFIRMATION) return;
      left = this.#ranked(left).slice(0, Math.ceil(left.length / 2));
      if (left.length <= 2 && runs >= 4) return;
    }
  }

  async *#race(
    kind: Extract<TuneEvent, { type: 'race' }>['kind'],
    candidates: readonly Candidate[],
    runs: number,
  ): AsyncGenerator<TuneEvent, CompareResults, void> {
    const {
      goal: _goal,
      cpuWithin: _cpu,
      rssWithin: _rss,
      backends: _backends,
      budgetMs: _budget,
      ...options
    } = this.#options;
    const ids = candidates.map(subjectId);
    for (const [at, id] of ids.entries()) this.#candidates.set(id, candidates[at]!);
    yield { type: 'race', race: ++this.#races, kind, subjects: ids };
    const began = performance.now();
    let results: CompareResults | undefined;
    const warmup = this.#races === 1 ? (options.warmup ?? (isService(options) ? 0 : 1)) : 0;
    for await (const event of compare({
      ...options,
      subjects: candidates,
      baseline: DEFAULT_BASELINE,
      runs,
      warmup,
      ...(this.#service === undefined ? {} : { service: this.#service }),
    })) {
      if (event.type === 'start' || event.type === 'end') results = event.results;
      else yield event;
    }
    const { service } = results!.options;
    // The first race has found out the rate. All others have the same.
    if (service !== undefined) this.#service = serviceSettings(service);
    this.#runs += results!.runs.length;
    this.#runningMs += performance.now() - began;
    // The runs of the confirmation must not choose what they confirm.
    if (kind !== 'confirmation') addRuns(this.#records, results!, this.#aim);
    return results!;
  }

  /** The winner, the best preset and the winner without each option, on runs that the search did not see. */
  async *#confirm(preset: Candidate): AsyncGenerator<TuneEvent, void, void> {
    const best = this.#best();
    const without = Object.keys(best.set)
      .slice(0, ABLATIONS)
      .map((key) => withoutOption(best, key));
    const subjects = [...new Map([preset, best, ...without].map((each) => [subjectId(each), each])).values()];
    const others = subjects.filter((each) => subjectId(each) !== DEFAULT_BASELINE);
    const leftMs = this.#budgetMs - (performance.now() - this.#began);
    const roundMs = (this.#runningMs / Math.max(1, this.#runs)) * (others.length + 1);
    // With one candidate there was no race, and nothing is known of the time.
    const fitting = this.#runs === 0 ? LEAST_ROUNDS : Math.floor(leftMs / roundMs);
    const rounds = Math.min(MOST_ROUNDS, Math.max(LEAST_ROUNDS, fitting));
    const results = yield* this.#race('confirmation', others, rounds);
    yield { type: 'end', tuned: this.#outcome(results, preset, best) };
  }

  #outcome(results: CompareResults, preset: Candidate, best: Candidate): TuneResults {
    const [presetId, bestId] = [subjectId(preset), subjectId(best)];
    const tried = this.#candidates.size;
    const { metric } = this.#aim;
    const over = bestId === presetId ? undefined : this.#against(results, presetId, bestId);
    const isBeaten = over?.[metric]?.verdict === 'lower';
    // The preset is simpler: it is taken unless the other set is certainly better, or the preset is no gain.
    const order = isBeaten ? [bestId, presetId] : [presetId, bestId];
    const winner = order.find((id) => this.#isGain(results, id)) ?? null;
    const isOwn = winner === bestId && bestId !== presetId;
    const mattered = isOwn
      ? Object.entries(best.set).flatMap(([key, value]) => {
          const without = this.#against(results, bestId, subjectId(withoutOption(best, key)))?.[metric];
          return without === undefined ? [] : [{ key, value: String(value), without }];
        })
      : [];
    const sentence = this.#sentence(results, winner, presetId, over?.[metric], tried);
    const subject = results.subjects.find(({ id }) => id === winner);
    const advice = {
      subject: winner,
      sentence,
      ...(subject === undefined ? {} : { dockerfile: dockerfile(subject) }),
    };
    return {
      results: { ...results, advice },
      preset: presetId,
      winner,
      ...(isOwn && over?.[metric] !== undefined ? { overPreset: over[metric] } : {}),
      mattered,
      tried,
      sentence,
    };
  }

  /** Whether the subject is certainly lower than the baseline, and within the bounds. */
  #isGain({ summaries }: CompareResults, id: string): boolean {
    const gain = summaries.find(({ subject }) => subject === id)?.against;
    const isWithin = this.#aim.bounds.every(
      ({ metric, within }) => (gain?.[metric]?.ratio ?? 1) <= 1 + within,
    );
    return isWithin && gain?.[this.#aim.metric]?.verdict === 'lower';
  }

  #sentence(
    results: CompareResults,
    winner: string | null,
    preset: string,
    over: Comparison | undefined,
    tried: number,
  ): string {
    const { metric, bounds } = this.#aim;
    const names = [metric, ...bounds.map((bound) => bound.metric)];
    const said = (id: string): string => {
      const against = results.summaries.find(({ subject }) => subject === id)?.against;
      return names
        .flatMap((name) =>
          against?.[name] === undefined ? [] : `${METRIC[name].title} ${verdict(against[name])}`,
        )
        .join(', ');
    };
    const rounds = completeRounds(results);
    if (winner === null)
      return `Stay with ${DEFAULT_BASELINE}: none of ${tried} sets of options lowers ${METRIC[metric].title} within the bounds. The best one, ${preset}, has ${said(preset)} in ${rounds} fresh rounds.`;
    if (winner === preset)
      return `${winner}: ${said(winner)}, in ${rounds} fresh rounds. None of ${tried} sets of options is certainly better than this preset.`;
    return `${winner}: ${said(winner)}, in ${rounds} fresh rounds; against the best preset, ${preset}, ${METRIC[metric].title} ${verdict(over!)}.`;
  }

  /** A subject's comparison with another one, in the same runs. */
  #against(results: CompareResults, baseline: string, subject: string) {
    const subjects = results.subjects.filter(({ id }) => id === baseline || id === subject);
    const runs = results.runs.filter((run) => run.subject === baseline || run.subject === subject);
    const pair = summarize({ ...results, baseline, subjects, runs });
    return pair.find((summary) => summary.subject === subject)?.against;
  }

  #ranked(candidates: readonly Candidate[]): Candidate[] {
    const scores = new Map(
      candidates.map((each) => [each, score(this.#records.get(subjectId(each)), this.#aim)]),
    );
    return candidates.toSorted((a, b) => scores.get(a)! - scores.get(b)!);
  }

  #best(candidates: readonly Candidate[] = [...this.#candidates.values()]): Candidate {
    return this.#ranked(candidates)[0] ?? parseSubject(DEFAULT_BASELINE);
  }

  /** The part of the budget that is used up. */
  #spent(): number {
    return (performance.now() - this.#began) / this.#budgetMs;
  }
}
