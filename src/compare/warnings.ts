// What may spoil a result, and how a reader can see that.

import { cpus } from 'node:os';
import { METRIC } from './metrics.js';
import type { CompareResults, Machine, Run, Warning } from './results.js';
import { OF_SERVICE, warningsOfService } from './service-warnings.js';
import { median, outliers, trend } from './statistics.js';
import { LOOKS } from './verdict.js';

/** What can be seen before the first run. The load is of all processors, also where this process may use some of them only. */
export function warningsBefore(
  machine: Machine,
  env: NodeJS.ProcessEnv,
  processors = cpus().length,
): Warning[] {
  const found: Warning[] = [];
  const { governor, load } = machine;
  if (governor !== undefined && !['performance', 'schedutil'].includes(governor))
    found.push({
      code: 'GOVERNOR',
      message: `the CPU governor is ${governor}, which changes the clock of the processor; set it to performance for times that can be repeated`,
    });
  if (load > processors / 4)
    found.push({
      code: 'LOAD',
      message: `the load average is ${load.toFixed(1)} on ${count(processors, 'core')}: other programs run, and spoil the times`,
    });
  const names = Object.keys(env).filter((name) =>
    /^(MALLOC_(?!BACKEND)|MIMALLOC_|GLIBC_TUNABLES$)/.test(name),
  );
  if (names.length > 0)
    found.push({
      code: 'ALLOCATOR_VARIABLES',
      message: `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} set, and override${names.length === 1 ? 's' : ''} the presets of that allocator`,
    });
  return found;
}

/** A run of less is mostly the start of a process. */
const SHORT = 0.02;

/** By how much the machine may change from the first to the last round. */
const DRIFT = 0.03;

/** The codes of {@link warningsOf}. What they say changes with every run. */
export const OF_RUNS: ReadonlySet<string> = new Set([
  'SHORT',
  'CORES',
  'DRIFT',
  'OUTLIERS',
  'FAILED_RUNS',
  'LEFT_BEHIND',
  ...OF_SERVICE,
]);

/** What the runs show. */
export function warningsOf({ runs, subjects, baseline, machine, options }: CompareResults): Warning[] {
  const found: Warning[] = [];
  for (const { id: subject } of subjects) {
    const own = runs.filter((run) => run.subject === subject);
    if (own.length === 0) continue;
    found.push(...warningsOfSubject(own, subject), ...warningsOfService(own, subject, options.service));
  }
  const base = runs.filter((run) => run.subject === baseline);
  if (base.length === 0) return found;
  const wall = median(base.map((run) => run.wall));
  const busy = median(base.map((run) => METRIC.cpu.of(run)! / run.wall));
  if (wall < SHORT)
    found.push({
      code: 'SHORT',
      message: `a run takes ${Math.round(wall * 1000)} ms, which is mostly the start of a process; give the command more to do`,
    });
  if (busy > machine.cores * 0.9 && machine.cores > 1)
    found.push({
      code: 'CORES',
      message: `the command keeps all ${machine.cores} cores busy: its time depends on what else runs; leave a core free, with taskset for example`,
    });
  const drift = driftOf(runs, subjects.length);
  if (drift !== undefined)
    found.push({
      code: 'DRIFT',
      message: `the machine became ${percent(Math.abs(drift))} ${drift > 0 ? 'slower' : 'faster'} from the first round to the last; the random order within each round keeps the comparison fair, but the medians are of no single state`,
    });
  return found;
}

function warningsOfSubject(own: readonly Run[], subject: string): Warning[] {
  const found: Warning[] = [];
  const far = own.length < LOOKS[0] ? 0 : outliers(own.map((run) => METRIC.cpu.of(run)!)).length;
  if (far > 0)
    found.push({
      code: 'OUTLIERS',
      subject,
      message: `${far} of ${own.length} runs under ${subject} took a CPU time far from the others; something else ran, or the command does not do the same each time`,
    });
  const failed = own.filter(({ failure }) => failure !== undefined).length;
  if (failed > 0)
    found.push({
      code: 'FAILED_RUNS',
      subject,
      message: `${failed} of ${own.length} runs under ${subject} failed, and count (--ignore-failure)`,
    });
  // A service is ended from outside, and whoever it started as well.
  const left = own.filter(
    ({ leftBehind, service }) => leftBehind !== undefined && service === undefined,
  ).length;
  if (left > 0)
    found.push({
      code: 'LEFT_BEHIND',
      subject,
      message: `processes were still alive at the end of ${left} of ${own.length} runs under ${subject}, and were ended`,
    });
  return found;
}

/** The relative change of CPU time over the rounds, if there is one that is no chance. */
function driftOf(runs: readonly Run[], subjects: number): number | undefined {
  const rounds = new Map<number, number[]>();
  for (const run of runs) {
    const cpu = METRIC.cpu.of(run)!;
    if (cpu > 0) rounds.set(run.round, [...(rounds.get(run.round) ?? []), Math.log(cpu)]);
  }
  const complete = [...rounds.values()].filter((values) => values.length === subjects);
  if (complete.length < LOOKS[0]) return undefined;
  // The median over the subjects: what changes for one of them alone is no drift of the machine.
  const { p, slope } = trend(complete.map(median));
  const change = Math.expm1(slope * (complete.length - 1));
  return p < 0.01 && Math.abs(change) > DRIFT ? change : undefined;
}

const percent = (part: number): string => `${Math.round(part * 100)} %`;

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;
