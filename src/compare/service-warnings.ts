// What may spoil the figures of a service.

import type { Run, ServiceOptions, ServiceRun, Warning } from './results.js';

/** The codes of {@link warningsOfService}. */
export const OF_SERVICE = ['SATURATED', 'LOAD_LATE', 'LOAD_ERRORS'] as const;

/** The part of the rate that a service keeps which is not saturated. */
const KEPT = 0.95;
/** The part of a latency that may be the lateness of the load. */
const LATE = 0.25;
/** The lateness, in milliseconds, that no one can hear. */
const LITTLE = { p50: 0.5, p99: 2 } as const;
/** The part of the time after which a thread has no time left. */
const BUSY = 0.9;

/** What a subject's runs show of the service and its load. */
export function warningsOfService(
  own: readonly Run[],
  subject: string,
  service: ServiceOptions | undefined,
): Warning[] {
  const runs = own.flatMap(({ service }) => service ?? []);
  if (service === undefined || runs.length === 0) return [];
  const found: Warning[] = [];
  const { rate } = service;
  const of = (some: readonly ServiceRun[]): string =>
    `in ${some.length} of ${runs.length} runs under ${subject}`;
  const saturated = runs.filter((run) => isSaturated(run, rate));
  if (saturated.length > 0)
    found.push({
      code: 'SATURATED',
      subject,
      message: `the service could not answer ${rate} requests in a second ${of(saturated)}: the latencies are those of a queue that grows, and mean nothing; lower --rate, or raise --connections if the service answers more of them at a time`,
    });
  const late = runs.filter((run) => isLate(run, rate));
  if (late.length > 0)
    found.push({
      code: 'LOAD_LATE',
      subject,
      message:
        rate === undefined
          ? `the built-in load was busy all the time ${of(late)}: the throughput may be its limit, and not the service's; leave it a core`
          : `the built-in load sent its requests late ${of(late)}, and the latencies contain that; leave it a core, or lower --rate`,
    });
  const errors = runs.filter((run) => (run.errors ?? 0) > 0);
  if (errors.length > 0) {
    const total = errors.reduce((sum, run) => sum + run.errors!, 0);
    const first = errors.find(({ problem }) => problem !== undefined)?.problem;
    found.push({
      code: 'LOAD_ERRORS',
      subject,
      message: `${total} requests had no good answer ${of(errors)}${first === undefined ? '' : `; the first: ${first}`}`,
    });
  }
  return found;
}

function isSaturated(
  { throughput, errors = 0, generator, phases }: ServiceRun,
  rate: number | undefined,
): boolean {
  if (rate === undefined || throughput === undefined) return false;
  const answered = throughput + (errors * 1000) / (phases.loadEnd - phases.loadStart);
  return answered < KEPT * rate || (generator?.waited ?? 0) > 0.5;
}

function isLate({ generator, latency }: ServiceRun, rate: number | undefined): boolean {
  if (generator === undefined) return false;
  const { lateP50, lateP99, busy } = generator;
  if (busy > BUSY) return true;
  if (rate === undefined) return false;
  const isMuch = (late: number, all: number | undefined, little: number): boolean =>
    late > little && all !== undefined && late > LATE * all;
  return isMuch(lateP50, latency?.p50, LITTLE.p50) || isMuch(lateP99, latency?.p99, LITTLE.p99);
}
