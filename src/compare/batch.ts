// One run of a command that ends by itself.

import { MallocBackendError } from '../errors.js';
import {
  type EndEvent,
  type Launched,
  type Measured,
  type SampleEvent,
  type Task,
  launch,
} from './launcher.js';
import type { Run, Sample } from './results.js';

/** A run without its place in the comparison. */
export type Outcome = Omit<Run, 'subject' | 'round' | 'at'>;

export interface RunTask extends Task {
  ignoreFailure: boolean;
  signal: AbortSignal | undefined;
}

/** Runs the command to its end. */
export async function runBatch(task: RunTask): Promise<Outcome> {
  const measured = await untilEnd(launch(task), task.signal);
  const { code, signal } = measured.end;
  if (code === 0) return outcome(measured, task);
  if (!task.ignoreFailure) throw commandFailed(task, measured);
  return { ...outcome(measured, task), failure: { code, signal } };
}

/** Waits for the end, which an abort brings about. */
export async function untilEnd(launched: Launched, signal: AbortSignal | undefined): Promise<Measured> {
  const { stop, ended } = launched;
  signal?.addEventListener('abort', stop);
  if (signal?.aborted) stop();
  // A launcher that is told to stop before the program starts has nothing to report, which is no failure then.
  const [result] = await Promise.allSettled([ended]);
  signal?.removeEventListener('abort', stop);
  if (signal?.aborted) throw aborted();
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

export const aborted = (): MallocBackendError =>
  new MallocBackendError('ERR_ABORTED', 'the comparison was interrupted');

/** The error for a command that failed, with the end of what it said. */
export function commandFailed({ command, subject }: Task, { end, stderr }: Measured): MallocBackendError {
  const said = stderr.trim();
  return new MallocBackendError(
    'ERR_COMMAND_FAILED',
    `${command.join(' ')} failed under ${subject.id}: ${howItEnded(end)}; with --ignore-failure failed runs count` +
      (said === '' ? '' : `. The end of its standard error:\n${said}`),
  );
}

/** In words. */
export const howItEnded = ({ code, signal }: EndEvent): string =>
  signal === null ? `exit status ${code}` : `ended by ${signal}`;

/** The run's figures. */
export function outcome({ start, samples, end }: Measured, { subject }: Task): Outcome {
  const { proof } = start;
  if (proof.backend !== subject.backend)
    throw new MallocBackendError(
      'ERR_NOT_APPLIED',
      `the run under ${subject.id} has the proof of ${proof.backend}; a run without proof does not count`,
    );
  const mean = meanRss(samples, start.at, end.at);
  return {
    wall: end.wall,
    user: end.user,
    system: end.system,
    peakRss: end.peakRss,
    treePeakRss: end.treePeakRss,
    ...(mean === undefined ? {} : { meanRss: mean }),
    minorFaults: end.minorFaults,
    majorFaults: end.majorFaults,
    voluntarySwitches: end.voluntarySwitches,
    involuntarySwitches: end.involuntarySwitches,
    ...(end.counters === null ? {} : { counters: end.counters }),
    samples: thin(samples, start.at),
    proof,
    ...(end.leftBehind > 0 ? { leftBehind: end.leftBehind } : {}),
  };
}

/** With fewer samples a mean says more about when they were taken than about the program. */
const FEWEST_SAMPLES = 5;

/** The mean over time: each sample counts until the next. */
function meanRss(samples: readonly SampleEvent[], start: number, end: number): number | undefined {
  if (samples.length < FEWEST_SAMPLES) return undefined;
  let total = 0;
  for (const [at, { at: from, treeRss }] of samples.entries())
    total += treeRss * ((samples[at + 1]?.at ?? end) - (at === 0 ? start : from));
  return Math.round(total / (end - start));
}

const KEPT_SAMPLES = 200;

/** At most so many samples. Of each part of the run the one with the highest RSS stays, so that no peak is lost. */
function thin(samples: readonly SampleEvent[], start: number): Sample[] {
  const size = Math.max(1, Math.ceil(samples.length / KEPT_SAMPLES));
  const kept: Sample[] = [];
  for (let from = 0; from < samples.length; from += size) {
    const part = samples.slice(from, from + size);
    const { at, rss, pss, treePss, treeRss, cpu } = part.reduce((most, next) =>
      next.treeRss > most.treeRss ? next : most,
    );
    const shared = treePss ?? pss;
    const time = Math.max(0, Math.round((at - start) * 10) / 10);
    kept.push({ at: time, rss, ...(shared === undefined ? {} : { pss: shared }), treeRss, cpu });
  }
  return kept;
}
