// The comparison from its options to its end, as a sequence of events.

import { invalidArgument } from '../errors.js';
import { prepareLaunch } from '../process/program.js';
import { version } from '../version.js';
import { advise, dockerfile } from './advice.js';
import { type Outcome, aborted, runBatch } from './batch.js';
import type { CompareEvent, Progress } from './events.js';
import { machine } from './machine.js';
import { type CompareOptions, checkOptions, measureOptions, resumedOptions } from './options.js';
import { type CompareResults, type Run, type Subject, type Warning, readResults } from './results.js';
import { type EndReason, endReason, orderOf, remainder, roundsAhead } from './schedule.js';
import { isUrl, loadTask, probe, rateOf } from './service-options.js';
import { type ServiceTask, runService } from './service.js';
import { shell } from './shell.js';
import { median } from './statistics.js';
import { checkWritable, replaceFile } from './store.js';
import {
  DEFAULT_BASELINE,
  DEFAULT_SUBJECTS,
  isUnavailable,
  resolveSubject,
  subjectId,
  subjectOptions,
} from './subjects.js';
import { completeRounds, summarize } from './summary.js';
import { LOOKS } from './verdict.js';
import { OF_RUNS, warningsBefore, warningsOf } from './warnings.js';

/**
 * Measures a command on several allocators, and says which one to take. Each run is a fresh process with proof of its
 * allocator. In each round every subject runs once, in a random order.
 *
 * ```ts
 * for await (const event of compare({ command: ['node', 'build.js'], file: 'result.json' })) {
 *   if (event.type === 'end') console.log(event.results.advice?.sentence);
 * }
 * ```
 *
 * What is found wrong before the first run is thrown at the first step. Leaving the loop ends the comparison between two
 * runs; `options.signal` ends it at any moment.
 *
 * @throws {@link MallocBackendError} as {@link spawn}; `ERR_COMMAND_FAILED`: the command failed; `ERR_NOT_APPLIED`: a run has no
 * proof; `ERR_EXPORT_FAILED`: `file` cannot be written; `ERR_RESULTS_INVALID`: `resume` is no file of results;
 * `ERR_MEASURE_FAILED`; `ERR_ABORTED`: the signal was aborted; of a service `ERR_PORT_IN_USE`, `ERR_SERVICE_NOT_READY`,
 * `ERR_SERVICE_FAILED`, `ERR_LOAD_FAILED`
 */
export async function* compare(options: CompareOptions): AsyncGenerator<CompareEvent, void, void> {
  checkOptions(options);
  const comparison = new Comparison(options);
  yield* comparison.steps();
}

/** Results without a run. */
function begin(options: CompareOptions, env: NodeJS.ProcessEnv): CompareResults {
  const command = [...options.command!];
  const baseline = subjectOptions(options.baseline ?? DEFAULT_BASELINE);
  const isDefault = options.subjects === undefined;
  const warnings: Warning[] = [];
  const subjects = new Map<string, Subject>();
  for (const given of [baseline, ...(options.subjects ?? DEFAULT_SUBJECTS).map(subjectOptions)]) {
    const id = subjectId(given);
    if (subjects.has(id)) continue;
    try {
      subjects.set(id, resolveSubject(given, env));
      prepareLaunch(given.backend, command[0]!, command.slice(1), { cwd: options.cwd, env });
    } catch (error) {
      if (!isDefault || given === baseline || !isUnavailable(error)) throw error;
      warnings.push({
        code: 'SUBJECT_UNAVAILABLE',
        message: `${id} is not compared: ${(error as Error).message}`,
      });
    }
  }
  const here = machine();
  return {
    schema: 1,
    tool: `malloc-backend ${version()}`,
    created: new Date().toISOString(),
    finished: false,
    mode: options.service === undefined ? 'batch' : 'service',
    command,
    options: measureOptions(options),
    machine: here,
    baseline: subjectId(baseline),
    subjects: [...subjects.values()],
    runs: [],
    summaries: [],
    warnings: [...warnings, ...warningsBefore(here, env)],
  };
}

/** Results from a file, with the options' length. */
function resume(file: string, options: CompareOptions): CompareResults {
  const results = readResults(file);
  const { command } = options;
  if (command !== undefined && JSON.stringify(command) !== JSON.stringify(results.command))
    throw invalidArgument(
      `${file} is of another command, ${results.command.join(' ')}; leave the command out to go on with that`,
    );
  const here = machine();
  const isElsewhere = (['cpu', 'cores', 'kernel', 'libc'] as const).some(
    (name) => here[name] !== results.machine[name],
  );
  return {
    ...results,
    options: resumedOptions(results.options, options),
    warnings: isElsewhere
      ? merged(results.warnings, [
          {
            code: 'MACHINE_CHANGED',
            message: `the first runs were on ${results.machine.cpu} with Linux ${results.machine.kernel}, and the others are on ${here.cpu} with Linux ${here.kernel}`,
          },
        ])
      : results.warnings,
  };
}

/** Each code once for a subject; what came later counts. */
function merged(before: readonly Warning[], after: readonly Warning[]): Warning[] {
  const key = ({ code, subject = '' }: Warning): string => `${code} ${subject}`;
  return [...new Map([...before, ...after].map((warning) => [key(warning), warning])).values()];
}

/** The results with summaries, advice and warnings of all their runs. */
function derived(results: CompareResults): CompareResults {
  const summarized = { ...results, summaries: summarize(results) };
  const { advice: _old, ...rest } = summarized;
  const advice = advise(summarized);
  const subject = results.subjects.find(({ id }) => id === advice?.subject);
  const isApplied = results.finished && advice !== undefined && subject !== undefined;
  return {
    ...rest,
    ...(advice === undefined
      ? {}
      : { advice: isApplied ? { ...advice, dockerfile: dockerfile(subject) } : advice }),
    warnings: [...results.warnings.filter(({ code }) => !OF_RUNS.has(code)), ...warningsOf(summarized)],
  };
}

class Comparison {
  readonly #options: CompareOptions;
  readonly #env: NodeJS.ProcessEnv;
  readonly #file: string | undefined;
  readonly #began = performance.now();
  readonly #spentBeforeMs: number;
  readonly #told = new Set<string>();
  #results: CompareResults;
  /** How long each round took, in milliseconds. */
  #roundsMs: number[] = [];

  constructor(options: CompareOptions) {
    this.#options = options;
    this.#env = options.env ?? process.env;
    this.#file = options.file ?? options.resume;
    this.#results =
      options.resume === undefined ? begin(options, this.#env) : resume(options.resume, options);
    this.#spentBeforeMs = this.#results.runs.reduce((total, { wall }) => total + wall * 1000, 0);
    if (this.#file !== undefined) checkWritable(this.#file);
  }

  async *steps(): AsyncGenerator<CompareEvent, void, void> {
    const { signal } = this.#options;
    if (signal?.aborted) throw aborted();
    yield {
      type: 'start',
      results: this.#results,
      ...(this.#file === undefined ? {} : { file: this.#file }),
    };
    yield* this.#newWarnings();
    // A finished comparison is shown again, unless there is more time for it now.
    const { finished, options } = this.#results;
    const isExtended = this.#options.runs !== undefined || this.#options.budgetMs !== undefined;
    const reason = endReason(this.#results, this.#spentMs(), undefined);
    if ((finished && !isExtended) || reason !== undefined)
      return yield* this.#end(reason ?? (options.runs === undefined ? 'budget' : 'runs'));
    yield* this.#measure();
  }

  async *#measure(): AsyncGenerator<CompareEvent, void, void> {
    const { setup, cleanup } = this.#results.options;
    const { signal } = this.#options;
    let ended: EndReason | undefined;
    let failure: unknown;
    try {
      if (setup !== undefined) await shell('--setup', setup, this.#surroundings(), signal);
      yield* this.#findRate();
      yield* this.#warmUp();
      ended = yield* this.#rounds();
    } finally {
      if (ended === undefined && this.#results.runs.length > 0) this.#keep(this.#results);
      // Not with the signal: what the setup began is to end after an abort, too.
      if (cleanup !== undefined) {
        await shell('--cleanup', cleanup, this.#surroundings()).catch((error: unknown) => {
          // The error that ended the runs says more.
          if (ended !== undefined) failure = error;
        });
      }
    }
    yield* this.#end(ended);
    if (failure !== undefined) throw failure;
  }

  /** Finds the rate of the load, where none is given: a fast service and a slow one can each keep half of what they can do. */
  async *#findRate(): AsyncGenerator<CompareEvent, void, void> {
    const { subjects, baseline, options } = this.#results;
    const { service } = this.#options;
    // A resumed comparison has a rate.
    if (options.service === undefined || service === undefined) return;
    if (service.rate !== undefined || !isUrl(service.load)) return;
    yield { type: 'run-start', subject: baseline, round: 0, progress: this.#progress() };
    const subject = subjects.find(({ id }) => id === baseline)!;
    const load = probe(options.service);
    const run = await this.#run(subject, { service: { ...options.service, idle: 0 }, load });
    const rate = rateOf(run.service!.throughput!);
    this.#results = { ...this.#results, options: { ...options, service: { ...options.service, rate } } };
  }

  async *#warmUp(): AsyncGenerator<CompareEvent, void, void> {
    const { subjects, options } = this.#results;
    const began = performance.now();
    for (let time = 0; time < options.warmup; time++)
      for (const subject of orderOf(0, subjects, options)) {
        yield { type: 'run-start', subject: subject.id, round: 0, progress: this.#progress() };
        await this.#run(subject);
      }
    if (options.warmup > 0) this.#roundsMs.push((performance.now() - began) / options.warmup);
    const { least, most } = this.#progress().rounds;
    if (options.runs === undefined && most < LOOKS[0] && least > 0)
      this.#warn({
        code: 'BUDGET',
        message:
          `a round takes about ${Math.round(this.#roundMs()! / 1000)} s, so ${most} of them fit into the budget, and a verdict needs ` +
          `${LOOKS[0]}; raise --budget, or compare fewer subjects with --backends`,
      });
    yield* this.#newWarnings();
  }

  /** Rounds until there is a reason to end. */
  async *#rounds(): AsyncGenerator<CompareEvent, EndReason, void> {
    for (;;) {
      const reason = endReason(this.#results, this.#spentMs(), this.#roundMs());
      if (reason !== undefined) return reason;
      const { round, subjects } = remainder(this.#results);
      const began = performance.now();
      for (const subject of subjects) {
        yield { type: 'run-start', subject: subject.id, round, progress: this.#progress() };
        const at = new Date().toISOString();
        const outcome = await this.#run(subject);
        const run: Run = { subject: subject.id, round, at, ...outcome };
        this.#keep({ ...this.#results, finished: false, runs: [...this.#results.runs, run] }, round);
        yield* this.#newWarnings();
        yield { type: 'run', run, results: this.#results, progress: this.#progress() };
      }
      if (subjects.length === this.#results.subjects.length) this.#roundsMs.push(performance.now() - began);
    }
  }

  async #run(subject: Subject, load?: Pick<ServiceTask, 'service' | 'load'>): Promise<Outcome> {
    const { command, options } = this.#results;
    const { signal } = this.#options;
    const surroundings = this.#surroundings();
    if (options.prepare !== undefined) await shell('--prepare', options.prepare, surroundings, signal);
    if (signal?.aborted) throw aborted();
    const { intervalMs, ignoreFailure, service } = options;
    const task = { command, subject, intervalMs, signal, input: options.input, ...surroundings };
    if (service === undefined) return runBatch({ ...task, ignoreFailure });
    const isShown = surroundings.output === 'inherit';
    return runService({ ...task, ...(load ?? { service, load: loadTask(service, isShown) }) });
  }

  async *#end(reason: EndReason): AsyncGenerator<CompareEvent, void, void> {
    const failure = this.#keep({ ...this.#results, finished: true });
    yield* this.#newWarnings(true);
    yield { type: 'end', results: this.#results, reason };
    if (failure !== undefined) throw failure;
  }

  /** Saves the results, after a round with what is derived from them: that takes long where there are many runs. */
  #keep(next: CompareResults, round?: number): unknown {
    const isWhole = round === undefined || completeRounds(next) === round;
    this.#results = isWhole ? derived(next) : next;
    if (this.#file === undefined) return undefined;
    try {
      replaceFile(this.#file, `${JSON.stringify(this.#results)}\n`);
      return undefined;
    } catch (error) {
      // The disk may have space again before the end. There it is an error.
      this.#warn({ code: 'NOT_SAVED', message: `${(error as Error).message}. The comparison goes on` });
      return error;
    }
  }

  #warn(warning: Warning): void {
    this.#results = { ...this.#results, warnings: merged(this.#results.warnings, [warning]) };
  }

  /** What the runs show is told at the end alone. */
  *#newWarnings(isEnd = false): Generator<CompareEvent, void, void> {
    for (const warning of this.#results.warnings) {
      if (!isEnd && OF_RUNS.has(warning.code)) continue;
      const key = `${warning.code} ${warning.subject ?? ''}`;
      if (this.#told.has(key)) continue;
      this.#told.add(key);
      yield { type: 'warning', warning };
    }
  }

  #surroundings() {
    const { cwd, output = 'ignore' } = this.#options;
    return { env: this.#env, cwd, output };
  }

  #spentMs(): number {
    return this.#spentBeforeMs + performance.now() - this.#began;
  }

  #roundMs(): number | undefined {
    return this.#roundsMs.length === 0 ? undefined : median(this.#roundsMs);
  }

  #progress(): Progress {
    const roundMs = this.#roundMs();
    const rounds = roundsAhead(this.#results, this.#spentMs(), roundMs);
    const { runs, subjects } = this.#results;
    const done = runs.length;
    if (roundMs === undefined) return { done, rounds };
    const left = (until: number): number =>
      Math.max(0, until * subjects.length - done) * (roundMs / subjects.length);
    return { done, rounds, leftMs: { least: left(rounds.least), most: left(rounds.most) } };
  }
}
