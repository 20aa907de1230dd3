import { readFileSync } from 'node:fs';
import type { ProcessBackend } from '../backend.js';
import { MallocBackendError } from '../errors.js';
import type { Preset } from '../process/presets.js';
import type { Proof } from '../process/spawn.js';
import { mismatch } from '../schema.js';
import schema = require('./results.schema.json');

// The JSON Schema, results.schema.json, says the same. test/compare-results.test.ts compares the two.

/**
 * What `compare` measured: the content of `--export-json`, of `--resume` and of the event `end`.
 *
 * Times are seconds, amounts of memory are bytes, unless a comment says otherwise.
 */
export interface CompareResults {
  /** The version of this format. */
  schema: 1;
  /** Who measured: `malloc-backend 0.1.0`. */
  tool: string;
  /** When the comparison began, as ISO 8601. */
  created: string;
  /** Whether the comparison came to its end. An interrupted one can be resumed. */
  finished: boolean;
  /** Whether the command runs to its end by itself (`batch`) or is started, loaded and stopped (`service`). */
  mode: 'batch' | 'service';
  /** The measured command and its arguments. */
  command: string[];
  options: MeasureOptions;
  machine: Machine;
  /** The id of the subject that the others are compared with. */
  baseline: string;
  /** The subjects, in the order of the tables. */
  subjects: Subject[];
  /** Every measured run, in the order of time. Warm-up runs are not among them. */
  runs: Run[];
  /** Derived from `runs`; one for each subject with a run, in the order of `subjects`. */
  summaries: Summary[];
  /** Derived from `summaries`, as soon as there are enough rounds. */
  advice?: Advice;
  /** What may spoil the result. */
  warnings: Warning[];
}

/** How it is measured. A resumed comparison goes on with the same. */
export interface MeasureOptions {
  /** The rounds to measure, if the number was given. */
  runs?: number;
  /** The time for all rounds together, in milliseconds, if it was given or is the default. */
  budgetMs?: number;
  /** The runs of each subject before the measured ones. */
  warmup: number;
  /** The seed of the order of the runs and of the bootstrap. */
  seed: number;
  /** The milliseconds between two samples of a run. */
  intervalMs: number;
  /** Whether runs that fail count. */
  ignoreFailure: boolean;
  /** By which part the cost of the advised subject may rise above the baseline's, if it was given. */
  costWithin?: number;
  /** The shell command before everything. */
  setup?: string;
  /** The shell command before each run. */
  prepare?: string;
  /** The shell command after everything. */
  cleanup?: string;
  /** The absolute path of the file that the command gets as standard input. */
  input?: string;
  service?: ServiceOptions;
}

/** How a service is measured. */
export interface ServiceOptions {
  /** What says that the service is ready: a URL, a port, or a text that it prints. */
  ready: string;
  /** What loads the service: a URL, or a shell command. */
  load: string;
  /** The requests in a second of the built-in load. Without it each connection sends the next request after an answer. */
  rate?: number;
  /** The most connections at a time of the built-in load. */
  connections?: number;
  /** The seconds of the built-in load that are measured. */
  duration?: number;
  /** The seconds of the built-in load before that. */
  warmup?: number;
  /** The seconds without load before the service is stopped. */
  idle: number;
  /** The seconds that the service may take to become ready. */
  readyTimeout?: number;
  /** The seconds that a load command may take. */
  loadTimeout?: number;
}

/** Where it was measured. */
export interface Machine {
  cpu: string;
  /** The logical processors that the command may use. */
  cores: number;
  memory: number;
  kernel: string;
  /** The C library with its version: `glibc 2.36`. */
  libc: string;
  /** The version of the Node that controlled the measurement. */
  node: string;
  /** The CPU frequency governor, where the system tells. */
  governor?: string;
  /** The mode of transparent huge pages: `always`, `madvise` or `never`. */
  transparentHugePages?: string;
  /** The load average of one minute before the first run. */
  load: number;
}

/** One backend with its options. */
export interface Subject {
  /** `<backend>/<preset>`, with `,<key>=<value>` for each option of `set`. */
  id: string;
  backend: ProcessBackend;
  preset: Preset;
  /** Single options over the preset. */
  set: Record<string, string>;
  /** The allocator's version. */
  version: string;
  /** The preloaded library's file, or that of the probe. */
  library: string;
}

/** One run of the command under one subject. */
export interface Run {
  /** The subject's id. */
  subject: string;
  /** From 1. In each round every subject runs once, in an order of its own. */
  round: number;
  /** When the run began, as ISO 8601. */
  at: string;
  wall: number;
  /** CPU time in user mode, of the process and everything that it started. */
  user: number;
  /** CPU time in the kernel, likewise. */
  system: number;
  /** The peak RSS of the process itself. */
  peakRss: number;
  /** The largest sum of RSS over the process and everything that it started. */
  treePeakRss: number;
  /** The mean RSS over time, of the process and everything that it started. Absent where a run was too short for five samples. */
  meanRss?: number;
  minorFaults: number;
  majorFaults: number;
  voluntarySwitches: number;
  involuntarySwitches: number;
  /** Absent where the kernel does not allow `perf_event_open`. */
  counters?: Counters;
  /** RSS over time, thinned to about 200 samples. Each thinned sample is the highest of its part of the run. */
  samples: Sample[];
  /** That the run was on the subject's backend. */
  proof: Proof;
  /** How the command failed, where failures are ignored. */
  failure?: { code: number | null; signal: string | null };
  /** How many processes were still alive when the command ended. The launcher ended them. */
  leftBehind?: number;
  service?: ServiceRun;
}

/** What the processor counted. */
export interface Counters {
  instructions?: number;
  cacheMisses?: number;
  dtlbMisses?: number;
}

/** The memory at one moment. */
export interface Sample {
  /** Milliseconds since the run began. */
  at: number;
  /** Of the process itself. */
  rss: number;
  /** Of the process and everything that it started: each shared page is divided by those who share it. */
  pss?: number;
  /** Of the process and everything that it started. */
  treeRss: number;
  /** CPU time so far, of the process and everything that it started, in seconds. */
  cpu: number;
}

/** What a service did under load. */
export interface ServiceRun {
  /** Answered requests in a second. Absent where a load command does not print it, as are the others. */
  throughput?: number;
  /** Requests without an answer, or with an error for an answer. */
  errors?: number;
  /** The first error. */
  problem?: string;
  /** Milliseconds from when a request was due to its answer. Absent without a rate, too. */
  latency?: { p50?: number; p90?: number; p99?: number; p999?: number; max?: number };
  /** Percentiles and their latency in milliseconds, at the same percentiles in every run. */
  histogram?: [percentile: number, ms: number][];
  generator?: LoadGenerator;
  /** Milliseconds since the run began. */
  phases: { ready: number; loadStart: number; loadEnd: number; idleEnd: number };
  /** The highest since the load began, of the process and everything that it started. */
  rssAtPeak: number;
  rssAfterLoad: number;
  rssAfterIdle: number;
}

/** How the built-in load did, which tells whether the figures are the service's. */
export interface LoadGenerator {
  /** The milliseconds by which requests began late although a connection was free. */
  lateP50: number;
  lateP99: number;
  /** The part of the time in which the generator's own thread was busy. */
  busy: number;
  /** The part of the requests that waited for a connection. */
  waited: number;
}

/** A subject's runs in figures. */
export interface Summary<Name extends string = MetricName> {
  /** The subject's id. */
  subject: string;
  metrics: Partial<Record<Name, Estimate>>;
  /** Against the baseline, round by round. Absent for the baseline itself. */
  against?: Partial<Record<Name, Comparison>>;
}

/**
 * What is measured. `wall` and `cpu` are seconds; the RSS are bytes; `throughput` is requests in a second; `p50`, `p99` and
 * `p999` are latencies in milliseconds.
 */
export type MetricName = (typeof METRICS)[number];

export const METRICS = [
  'wall',
  'cpu',
  'peakRss',
  'treePeakRss',
  'meanRss',
  'throughput',
  'p50',
  'p99',
  'p999',
  'rssAtPeak',
  'rssAfterLoad',
  'rssAfterIdle',
] as const;

/** The median of the runs with its 95 % interval by bootstrap. */
export interface Estimate {
  median: number;
  low: number;
  high: number;
  /** The number of runs. */
  n: number;
}

/** A subject against the baseline. */
export interface Comparison {
  /** The subject's value divided by the baseline's: the Hodges–Lehmann estimate over the rounds. */
  ratio: number;
  /** The ratio's 95 % interval. */
  low: number;
  high: number;
  /** Of the signed-rank test, corrected for the number of subjects and of looks at the data. */
  p: number;
  verdict: Verdict;
}

/**
 * - `lower`, `higher`: the difference is certain
 * - `no difference`: the interval says that the difference is small, if there is one
 * - `undecided`: the runs are too few, or too unequal, to tell
 */
export type Verdict = 'lower' | 'higher' | 'no difference' | 'undecided';

/** What the comparison means for the reader. */
export interface Advice {
  /** The id of the subject to take; null where none is better than the baseline. */
  subject: string | null;
  /** One sentence. */
  sentence: string;
  /** The lines of a Dockerfile that apply the subject. */
  dockerfile?: string[];
}

/** Something that may spoil the result. */
export interface Warning {
  /** Stable; docs/compare.md lists them. */
  code: string;
  message: string;
  /** The id of the subject that it is about. */
  subject?: string;
}

/**
 * Checks that the value has the format of {@link CompareResults}.
 *
 * @param name - Where the value came from, for the message.
 *
 * @throws {@link MallocBackendError} `ERR_RESULTS_INVALID`, which names the first wrong key.
 */
export function parseResults(value: unknown, name: string): CompareResults {
  const version = (value as { schema?: unknown } | null)?.schema;
  const wrong =
    typeof version === 'number' && version !== schema.properties.schema.const
      ? `its schema is ${version}, and this version of malloc-backend reads schema ${schema.properties.schema.const}`
      : (mismatch(value, schema) ?? unrelated(value as CompareResults));
  if (wrong !== undefined) throw invalid(name, wrong);
  return value as CompareResults;
}

/** A subject that is named and not there, if there is one. A schema cannot say so. */
function unrelated({ subjects, baseline, runs, summaries }: CompareResults): string | undefined {
  const ids = new Set(subjects.map(({ id }) => id));
  const named: [key: string, id: string][] = [
    ['baseline', baseline],
    ...runs.map(({ subject }, at): [string, string] => [`runs[${at}].subject`, subject]),
    ...summaries.map(({ subject }, at): [string, string] => [`summaries[${at}].subject`, subject]),
  ];
  const [key, id] = named.find(([, id]) => !ids.has(id)) ?? [];
  return key === undefined ? undefined : `${key} is ${JSON.stringify(id)}, which is no id in subjects`;
}

/**
 * Reads the results that `compare` wrote to a file.
 *
 * @throws {@link MallocBackendError} `ERR_RESULTS_INVALID`
 */
export function readResults(file: string): CompareResults {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw invalid(file, `it cannot be read: ${(error as Error).message}`, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(file, `it is not JSON: ${(error as Error).message}`, error);
  }
  return parseResults(value, file);
}

function invalid(name: string, why: string, cause?: unknown): MallocBackendError {
  const message = `${name} does not hold results of compare: ${why}`;
  return new MallocBackendError('ERR_RESULTS_INVALID', message, cause === undefined ? {} : { cause });
}
