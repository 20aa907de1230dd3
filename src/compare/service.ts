// One run of a service: start, ready, warm up, load, idle, stop.

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { MallocBackendError } from '../errors.js';
import { type Outcome, aborted, howItEnded, outcome, untilEnd } from './batch.js';
import { type Launched, type Measured, type Task, launch } from './launcher.js';
import { loadFailed, runLoad } from './load/load.js';
import { type LoadReport, type LoadTask, monotonic } from './load/messages.js';
import { placesOf, requireFree } from './ports.js';
import { type Readiness, TextWatch, parseReady, waitUntilReady } from './ready.js';
import type { ServiceOptions, ServiceRun } from './results.js';

export interface ServiceTask extends Omit<Task, 'watch'> {
  service: ServiceOptions;
  load: LoadTask;
  signal: AbortSignal | undefined;
}

/** Moments in milliseconds of CLOCK_MONOTONIC. */
interface Phases {
  ready: number;
  idleEnd: number;
}

/**
 * Runs the service through all phases. Nothing of it and of its load runs any more when this settles.
 *
 * @throws {@link MallocBackendError} `ERR_PORT_IN_USE`, `ERR_SERVICE_NOT_READY`, `ERR_SERVICE_FAILED`, `ERR_LOAD_FAILED`,
 * `ERR_ABORTED`, and what a start throws
 */
export async function runService(task: ServiceTask): Promise<Outcome> {
  const { service, signal } = task;
  if (signal?.aborted) throw aborted();
  await requireFree(placesOf(service.ready, service.load));
  const readiness = parseReady(service.ready);
  const text = readiness.kind === 'text' ? new TextWatch(readiness.text) : undefined;
  const launched = launch(text === undefined ? task : { ...task, watch: (piece) => text.read(piece) });
  const run = new ServiceRunning(task, launched);
  try {
    const start = await run.during('ready', () => launched.started);
    const answer = await run.during('ready', (over) => untilReady(readiness, text, service, over));
    if (answer !== true) throw await run.notReady(answer);
    const ready = monotonic();
    const report = await run.during('load', (over) => runLoad(task.load, placeOf(task), over));
    if (task.load.kind === 'http' && report.throughput === 0)
      throw loadFailed(task.load, `no request had a good answer; the first: ${report.problem}`);
    await run.during('idle', (over) => delay(service.idle * 1000, undefined, { signal: over }));
    const phases = { ready, idleEnd: monotonic() };
    launched.stop();
    const measured = await untilEnd(launched, signal);
    return { ...outcome(measured, task), service: serviceRun(measured, start.at, report, phases) };
  } catch (error) {
    launched.stop();
    await launched.ended.catch(() => {});
    throw signal?.aborted ? aborted() : error;
  }
}

const placeOf = ({ env, cwd, output }: ServiceTask) => ({ env, cwd, output });

/** A service that runs, and what can happen to it meanwhile. */
class ServiceRunning {
  readonly #task: ServiceTask;
  readonly #launched: Launched;
  #pid: number | undefined;

  constructor(task: ServiceTask, launched: Launched) {
    this.#task = task;
    this.#launched = launched;
    void launched.started.then(({ pid }) => (this.#pid = pid)).catch(() => {});
  }

  /**
   * Acts until the service ends by itself, or the comparison is interrupted: then the signal is aborted, and what acts has ended
   * before this settles.
   */
  async during<T>(phase: Phase, act: (over: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#task;
    const controller = new AbortController();
    const interrupt = (): void => {
      controller.abort(aborted());
      this.#launched.stop();
    };
    signal?.addEventListener('abort', interrupt);
    if (signal?.aborted) interrupt();
    const lost = this.#launched.ended.then(
      (measured) => this.#endedIn(phase, measured),
      (error: Error) => error,
    );
    try {
      const acting = act(controller.signal);
      // The end of the service is the better reason where both fail.
      acting.catch(() => {});
      const failure = await Promise.race([acting.then(() => undefined), lost]);
      if (failure === undefined) return await acting;
      controller.abort(failure);
      await acting.catch(() => {});
      throw failure;
    } catch (error) {
      // A load may fail because the service crashed, and before the launcher has told so.
      throw !signal?.aborted && this.#isGone() ? await lost : error;
    } finally {
      signal?.removeEventListener('abort', interrupt);
    }
  }

  /** Ends the service, which then may say why. */
  async notReady(refusal: string): Promise<MallocBackendError> {
    const { subject, service } = this.#task;
    this.#launched.stop();
    const stderr = await this.#launched.ended.then(
      ({ stderr }) => stderr,
      () => '',
    );
    return new MallocBackendError(
      'ERR_SERVICE_NOT_READY',
      `the service was not ready after ${readyTimeout(service)} s under ${subject.id} (--ready ${service.ready}, --ready-timeout): ${refusal}${quoted(stderr)}`,
    );
  }

  #endedIn(phase: Phase, { end, stderr }: Measured): MallocBackendError {
    const { id } = this.#task.subject;
    const how = `${howItEnded(end)}${quoted(stderr)}`;
    return phase === 'ready'
      ? new MallocBackendError(
          'ERR_SERVICE_NOT_READY',
          `the service ended before it was ready under ${id}: ${how}`,
        )
      : new MallocBackendError('ERR_SERVICE_FAILED', `the service ended ${WHEN[phase]} under ${id}: ${how}`);
  }

  #isGone(): boolean {
    if (this.#pid === undefined) return false;
    try {
      return /^State:\s+Z/m.test(readFileSync(`/proc/${this.#pid}/status`, 'utf8'));
    } catch {
      return true;
    }
  }
}

type Phase = 'ready' | 'load' | 'idle';

const WHEN = { load: 'under load', idle: 'while it idled' } as const;

const quoted = (stderr: string): string =>
  stderr.trim() === '' ? '' : `. The end of its standard error:\n${stderr.trim()}`;

const readyTimeout = ({ readyTimeout = 60 }: ServiceOptions): number => readyTimeout;

/** Resolves with true, or after too long with the reason. */
async function untilReady(
  readiness: Readiness,
  text: TextWatch | undefined,
  service: ServiceOptions,
  over: AbortSignal,
): Promise<true | string> {
  const timeoutMs = readyTimeout(service) * 1000;
  return readiness.kind === 'text'
    ? foundInTime(text!, timeoutMs, over)
    : waitUntilReady(readiness, timeoutMs, over);
}

async function foundInTime(text: TextWatch, timeoutMs: number, over: AbortSignal): Promise<true | string> {
  const timer = new AbortController();
  const late = delay(timeoutMs, 'its output does not have the text', {
    signal: AbortSignal.any([over, timer.signal]),
  });
  late.catch(() => {});
  try {
    return await Promise.race([text.found.then(() => true as const), late]);
  } finally {
    timer.abort();
  }
}

/** The run's figures. */
function serviceRun(
  { samples, end }: Measured,
  begin: number,
  report: LoadReport,
  { ready, idleEnd }: Phases,
): ServiceRun {
  const { start, end: loadEnd, throughput, errors, latency, histogram, generator, problem } = report;
  const since = (moment: number): number => Math.max(0, Math.round((moment - begin) * 10) / 10);
  const after = samples.find(({ at }) => at >= loadEnd);
  const idle = samples.filter(({ at }) => at <= idleEnd);
  const peak = Math.max(
    ...samples.filter(({ at }) => at >= start && at <= idleEnd).map(({ treeRss }) => treeRss),
  );
  const last = (idle.at(-1) ?? samples.at(-1))?.treeRss ?? end.treePeakRss;
  return {
    ...(throughput === undefined ? {} : { throughput }),
    ...(errors === undefined ? {} : { errors }),
    ...(latency === undefined ? {} : { latency }),
    ...(histogram === undefined ? {} : { histogram }),
    ...(generator === undefined ? {} : { generator }),
    ...(problem === undefined ? {} : { problem }),
    phases: {
      ready: since(ready),
      loadStart: since(start),
      loadEnd: since(loadEnd),
      idleEnd: since(idleEnd),
    },
    rssAtPeak: Number.isFinite(peak) ? peak : end.treePeakRss,
    rssAfterLoad: after?.treeRss ?? last,
    rssAfterIdle: last,
  };
}
