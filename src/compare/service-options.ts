// How a service is measured: the options, checked, with their defaults.

import { invalidArgument, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';
import type { HttpTask, LoadTask } from './load/messages.js';
import type { ServiceOptions } from './results.js';

/** How to measure a service. Times are seconds. */
export interface ServiceSettings {
  /**
   * What says that the service is ready: a URL that answers with less than 400, a port (`3000`, `host:3000`), or a text that
   * the service prints. After `text:` anything is a text.
   */
  ready: string;
  /** What loads the service: a URL, or a shell command, which ends by itself. */
  load: string;
  /**
   * The requests in a second. Default: half of what the baseline can answer, which is measured first. `max`: each connection
   * sends its next request after an answer, which measures the throughput, and no latency.
   */
  rate?: number | 'max';
  /** The most connections at a time. Default: 100; with the rate `max` 10. */
  connections?: number;
  /** How long the measured load goes on. Default: 10. */
  duration?: number;
  /** How long the same load goes on before that. Default: 3. */
  warmup?: number;
  /** How long the service idles after the load. Default: 10. */
  idle?: number;
  /** How long the service may take to become ready. Default: 60. */
  readyTimeout?: number;
  /** How long a load command may take. Default: 600. */
  loadTimeout?: number;
}

const NAMES = namesOf<ServiceSettings>({
  ready: true,
  load: true,
  rate: true,
  connections: true,
  duration: true,
  warmup: true,
  idle: true,
  readyTimeout: true,
  loadTimeout: true,
});

/** Node's timers hold no more milliseconds. */
const LONGEST_S = Math.floor(2 ** 31 / 1000);

export const isUrl = (load: string): boolean => /^https?:\/\//i.test(load);

/** Checks the settings of a service. */
export function checkService(service: ServiceSettings): void {
  requireOptions(service, NAMES);
  const { ready, load, rate, connections } = service;
  for (const [name, value] of [
    ['ready', ready],
    ['load', load],
  ] as const) {
    if (typeof value !== 'string' || value === '')
      throw invalidArgument(`service.${name} must be a string that is not empty, not ${shown(value)}`);
    if (isUrl(value) && !URL.canParse(value))
      throw invalidArgument(`service.${name} is no URL: ${shown(value)}`);
  }
  for (const [name, least] of [
    ['duration', 0.1],
    ['warmup', 0],
    ['idle', 0],
    ['readyTimeout', 0.1],
    ['loadTimeout', 0.1],
  ] as const) {
    const value = service[name];
    if (value === undefined || (typeof value === 'number' && value >= least && value <= LONGEST_S)) continue;
    throw invalidArgument(
      `service.${name} must be a number of seconds from ${least} to ${LONGEST_S}, not ${shown(value)}`,
    );
  }
  if (rate !== undefined && rate !== 'max' && !(typeof rate === 'number' && rate > 0 && rate <= 1e6))
    throw invalidArgument(
      `service.rate must be a number above 0 and at most 1000000, or 'max', not ${shown(rate)}`,
    );
  if (connections !== undefined && !(Number.isSafeInteger(connections) && connections > 0))
    throw invalidArgument(`service.connections must be an integer of at least 1, not ${shown(connections)}`);
  const unused = (['rate', 'connections', 'duration', 'warmup'] as const).find(
    (name) => service[name] !== undefined,
  );
  if (!isUrl(load) && unused !== undefined)
    throw invalidArgument(
      `service.${unused} is for the built-in load, and a load command has its own; write it into the command ${shown(load)}`,
    );
}

/** What the results keep of the settings, with the defaults. A rate that is not given is left out. */
export function serviceOptions(settings: ServiceSettings): ServiceOptions {
  const { ready, load, rate, idle = 10, readyTimeout = 60 } = settings;
  if (!isUrl(load)) return { ready, load, idle, readyTimeout, loadTimeout: settings.loadTimeout ?? 600 };
  const { connections = rate === 'max' ? 10 : 100, duration = 10, warmup = 3 } = settings;
  const fixed = typeof rate === 'number' ? { rate } : {};
  return { ready, load, ...fixed, connections, duration, warmup, idle, readyTimeout };
}

/** The settings that have these options. */
export function serviceSettings(service: ServiceOptions): ServiceSettings {
  return isUrl(service.load) && service.rate === undefined ? { ...service, rate: 'max' } : service;
}

/** The load of a run. */
export function loadTask(service: ServiceOptions, isShown: boolean): LoadTask {
  const { load, rate, connections = 1, duration = 0, warmup = 0, loadTimeout = 600 } = service;
  return isUrl(load)
    ? { kind: 'http', url: load, rate, connections, warmupMs: warmup * 1000, durationMs: duration * 1000 }
    : { kind: 'command', command: load, timeoutMs: loadTimeout * 1000, isShown };
}

/** Connections that find out how much a service can answer. More of them wait for one another. */
const PROBING = 10;

/** The load that measures what the service can answer. */
export function probe({ load, duration = 0, warmup = 0 }: ServiceOptions): HttpTask {
  const durationMs = Math.min(5, duration) * 1000;
  return {
    kind: 'http',
    url: load,
    rate: undefined,
    connections: PROBING,
    warmupMs: warmup * 1000,
    durationMs,
  };
}

/** Half of what the service can answer, with two digits: there latencies are the service's, and not those of a queue. */
export function rateOf(throughput: number): number {
  return Math.max(1, Number((throughput / 2).toPrecision(2)));
}
