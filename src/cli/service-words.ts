// The words about a service, of every command that measures one.

import type { ServiceSettings } from '../compare/service-options.js';
import { invalidArgument } from '../errors.js';
import { defined, number, time } from './words.js';

/** As the native program names them. */
export interface ServiceWords {
  service: boolean;
  ready: string | null;
  load: string | null;
  rate: string | null;
  connections: string | null;
  duration: string | null;
  warmupLoad: string | null;
  idle: string | null;
  readyTimeout: string | null;
  loadTimeout: string | null;
}

/** The same in seconds; here 0s is a time, too. */
function inSeconds(name: string, text: string | null): number | undefined {
  if (text !== null && /^0(ms|s|m|h)$/.test(text)) return 0;
  const ms = time(name, text);
  return ms === undefined ? undefined : ms / 1000;
}

/** How a service is measured, if the command is one. */
export function serviceOf(words: ServiceWords): ServiceSettings | undefined {
  const { ready, load, rate } = words;
  const only = ['ready', 'load', 'rate', 'connections', 'duration', 'warmupLoad', 'idle'] as const;
  if (!words.service) {
    const given = [...only, 'readyTimeout' as const, 'loadTimeout' as const].find(
      (name) => words[name] !== null,
    );
    if (given === undefined) return undefined;
    const option = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw invalidArgument(`--${option} is for a service; add --service`);
  }
  if (ready === null || load === null)
    throw invalidArgument(
      `--service needs ${ready === null ? '--ready, which says when the service is ready' : '--load, which loads the service'}: a URL, for example`,
    );
  if (rate !== null && rate !== 'max' && !/^\d+(\.\d+)?$/.test(rate))
    throw invalidArgument(
      `--rate must be a number of requests in a second, or max, not ${JSON.stringify(rate)}`,
    );
  return defined<ServiceSettings>({
    ready,
    load,
    rate: rate === null || rate === 'max' ? rate : Number(rate),
    connections: number('--connections', words.connections),
    duration: inSeconds('--duration', words.duration),
    warmup: inSeconds('--warmup-load', words.warmupLoad),
    idle: inSeconds('--idle', words.idle),
    readyTimeout: inSeconds('--ready-timeout', words.readyTimeout),
    loadTimeout: inSeconds('--load-timeout', words.loadTimeout),
  });
}
