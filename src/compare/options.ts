// The options of `compare`, checked before anything runs.

import { accessSync, constants } from 'node:fs';
import { resolve } from 'node:path';
import { invalidArgument, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';
import { anySeed } from './random.js';
import type { MeasureOptions } from './results.js';
import { type ServiceSettings, checkService, serviceOptions } from './service-options.js';
import type { SubjectOptions } from './subjects.js';

/** What to compare, and how. */
export interface CompareOptions {
  /** The program and its arguments. A resumed comparison has its own. */
  command?: readonly string[];
  /**
   * The subjects as objects, or as their ids: `jemalloc/low-rss`, `jemalloc/low-rss,narenas=1`. Default: `default/none`,
   * `default/low-rss`, `jemalloc/balanced`, `jemalloc/low-rss`, `mimalloc/balanced`, `mimalloc/low-rss`, `snmalloc/none`.
   */
  subjects?: readonly (string | SubjectOptions)[];
  /** The subject that the others are compared with. Default: `default/none`. */
  baseline?: string | SubjectOptions;
  /** The rounds to measure. Default: as many as the decision needs, within the budget. */
  runs?: number;
  /** The milliseconds after which no round begins. Default: ten minutes, of a service 30, and none where `runs` is given. */
  budgetMs?: number;
  /** The runs of each subject that do not count, before the others. Default: 1, of a service 0. */
  warmup?: number;
  /** Decides the order of the runs, and the bootstrap. Default: any. */
  seed?: number;
  /** The milliseconds between two samples of RSS. Default: 20. */
  intervalMs?: number;
  /** The command is a service: it is started, loaded and stopped. Default: the command ends by itself. */
  service?: ServiceSettings;
  /** Whether runs that fail count. Default: a run that fails ends the comparison. */
  ignoreFailure?: boolean;
  /**
   * By which part CPU time and time (of a service: CPU time, latency and throughput) may be worse than the baseline's for the
   * advice to name a subject that saves memory. Default: 0.03.
   */
  costWithin?: number;
  /** A shell command before everything, also before the warm-up. */
  setup?: string;
  /** A shell command before each run. */
  prepare?: string;
  /** A shell command after everything, also after a failure. */
  cleanup?: string;
  /** The environment of the command. Default: `process.env`. */
  env?: NodeJS.ProcessEnv;
  /** The folder in which the command runs. Default: this process's. */
  cwd?: string;
  /** The file that the command gets as standard input. Default: none. */
  input?: string;
  /** Whether the command's output is shown. Default: `ignore`. */
  output?: 'ignore' | 'inherit';
  /** The file for the results. It is written after every run, and whole at any time. */
  file?: string;
  /** A file with results of an interrupted comparison, which then goes on. With `runs` or `budgetMs` a finished one goes on, too. */
  resume?: string;
  /** Interrupts the comparison. What is measured so far is in `file`. */
  signal?: AbortSignal;
}

const NAMES = namesOf<CompareOptions>({
  command: true,
  subjects: true,
  baseline: true,
  runs: true,
  budgetMs: true,
  warmup: true,
  seed: true,
  intervalMs: true,
  service: true,
  ignoreFailure: true,
  costWithin: true,
  setup: true,
  prepare: true,
  cleanup: true,
  env: true,
  cwd: true,
  input: true,
  output: true,
  file: true,
  resume: true,
  signal: true,
});

/** Ten minutes: ten rounds of the seven default subjects, if a run takes eight seconds. */
export const DEFAULT_BUDGET_MS = 600_000;

/** Thirty minutes: ten rounds of the seven default subjects with the default load, if the service starts in two seconds. */
export const SERVICE_BUDGET_MS = 1_800_000;

function checkNumber(name: string, value: number | undefined, least: number, isInteger = true): void {
  if (value === undefined) return;
  if ((isInteger ? Number.isSafeInteger(value) : Number.isFinite(value)) && value >= least) return;
  throw invalidArgument(
    `${name} must be ${isInteger ? 'an integer' : 'a number'} of at least ${least}, not ${shown(value)}`,
  );
}

/** Requires a part of the baseline's value, if there is one. */
export function requirePart(name: string, value: unknown): void {
  if (value === undefined || (typeof value === 'number' && value >= 0 && value < 100)) return;
  throw invalidArgument(`${name} must be a part of at least 0, such as 0.03 for 3 %, not ${shown(value)}`);
}

/** Checks what needs no look at the system. */
export function checkOptions(options: CompareOptions): void {
  requireOptions(options, NAMES);
  const { command, resume, runs, budgetMs, warmup, seed, intervalMs, output, signal } = options;
  const isCommand =
    Array.isArray(command) && command.length > 0 && command.every((word) => typeof word === 'string');
  if (!isCommand && (command !== undefined || resume === undefined))
    throw invalidArgument(
      `command must be an array of strings with the program first, not ${shown(command)}`,
    );
  checkNumber('runs', runs, 1);
  checkNumber('budgetMs', budgetMs, 1, false);
  checkNumber('warmup', warmup, 0);
  checkNumber('seed', seed, 0);
  checkNumber('intervalMs', intervalMs, 1, false);
  requirePart('costWithin', options.costWithin);
  for (const name of ['setup', 'prepare', 'cleanup', 'cwd', 'input', 'file', 'resume'] as const) {
    const value = options[name];
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw invalidArgument(`${name} must be a string that is not empty, not ${shown(value)}`);
  }
  if (output !== undefined && output !== 'ignore' && output !== 'inherit')
    throw invalidArgument(`output must be 'ignore' or 'inherit', not ${shown(output)}`);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalidArgument(`signal must be an AbortSignal, not ${shown(signal)}`);
  if (options.service !== undefined) checkService(options.service);
  if (options.service !== undefined && options.ignoreFailure === true)
    throw invalidArgument(
      'ignoreFailure is for commands that end by themselves; a service must run until it is stopped',
    );
  if (resume !== undefined) checkResumed(options);
  if (options.input !== undefined) checkReadable(options.input);
}

/** What the file decides cannot be given anew: half of the runs would be of another comparison. */
function checkResumed(options: CompareOptions): void {
  const fixed = ['subjects', 'baseline', 'warmup', 'seed', 'intervalMs', 'ignoreFailure', 'service'] as const;
  const given = [...fixed, 'setup', 'prepare', 'cleanup', 'input'].find(
    (name) => options[name as keyof CompareOptions] !== undefined,
  );
  if (given !== undefined)
    throw invalidArgument(
      `${given} cannot be given with resume: a resumed comparison goes on with what its file says`,
    );
}

function checkReadable(file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (cause) {
    throw invalidArgument(`the input ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** What the results keep of the options, with the defaults. */
export function measureOptions(options: CompareOptions): MeasureOptions {
  const { runs, costWithin, setup, prepare, cleanup, input, service } = options;
  const standard = service === undefined ? DEFAULT_BUDGET_MS : SERVICE_BUDGET_MS;
  const budgetMs = options.budgetMs ?? (runs === undefined ? standard : undefined);
  return {
    ...(runs === undefined ? {} : { runs }),
    ...(budgetMs === undefined ? {} : { budgetMs }),
    warmup: options.warmup ?? (service === undefined ? 1 : 0),
    seed: options.seed ?? anySeed(),
    intervalMs: options.intervalMs ?? 20,
    ignoreFailure: options.ignoreFailure ?? false,
    ...(costWithin === undefined ? {} : { costWithin }),
    ...(setup === undefined ? {} : { setup }),
    ...(prepare === undefined ? {} : { prepare }),
    ...(cleanup === undefined ? {} : { cleanup }),
    ...(input === undefined ? {} : { input: resolve(input) }),
    ...(service === undefined ? {} : { service: serviceOptions(service) }),
  };
}

/** Those of a resumed comparison: the length and what memory may cost may be others. */
export function resumedOptions(
  from: MeasureOptions,
  { runs, budgetMs, costWithin }: CompareOptions,
): MeasureOptions {
  const bounded = costWithin === undefined ? from : { ...from, costWithin };
  if (runs === undefined && budgetMs === undefined) return bounded;
  const { runs: _runs, budgetMs: _budgetMs, ...rest } = bounded;
  return {
    ...rest,
    ...(runs === undefined ? {} : { runs }),
    ...(budgetMs === undefined ? {} : { budgetMs }),
  };
}
