import { createHash } from 'node:crypto';
import { linuxBinding } from '../native/loader.js';
import type { ActiveBackend } from './owner.js';
import type { Preset } from './presets.js';

/** How this process's allocator is set up, as the metrics say it. */
export interface OwnSetup {
  /** `custom`: options are in force that are no preset's. `unknown`: the process has overwritten its environment. */
  preset: Preset | 'custom' | 'unknown';
  /** Eight digits that stand for the options in force. `none`: there are no options. `unknown`: as above. */
  config: string;
}

let own: OwnSetup | undefined;

/**
 * Reads how this process's allocator is set up from the environment with which the process was started. Cached, because this
 * environment does not change.
 */
export function ownSetup({ allocator, backend }: ActiveBackend): OwnSetup {
  return (own ??= read(allocator, backend));
}

function read(allocator: string, backend: ActiveBackend['backend']): OwnSetup {
  const setup = linuxBinding('the metrics').setupHere(allocator, backend);
  if (setup === null) return { preset: 'unknown', config: 'unknown' };
  const { preset = 'custom', options } = setup;
  const isBare = Object.keys(options).length === 0;
  // The names are in order, because the addon has a sorted map of them.
  const text = JSON.stringify([allocator, options]);
  const digits = createHash('sha256').update(text).digest('hex').slice(0, 8);
  return { preset, config: isBare ? 'none' : digits };
}
