import type { MemoryAllocatorBackend } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import type { Preset, PresetOption } from '../native/binding.js';
import { binding } from '../native/loader.js';
import { didYouMean } from '../nearest.js';

export type { Preset, PresetOption } from '../native/binding.js';

/** The options of each preset. */
export type PresetTable = Record<Exclude<Preset, 'none'>, readonly PresetOption[]>;

/**
 * The options of each preset, for each backend that has presets. docs/presets.md has the same table with measurements.
 * The first use of a backend's property reads its table from the addon.
 *
 * @throws {@link MallocBackendError} `ERR_BINARY_MISSING`, at the first use
 */
export const presets: { readonly [Backend in MemoryAllocatorBackend]?: PresetTable } = {
  get default() {
    return tableOf('default');
  },
  get jemalloc() {
    return tableOf('jemalloc');
  },
  get mimalloc() {
    return tableOf('mimalloc');
  },
};

const tables: { [Backend in MemoryAllocatorBackend]?: PresetTable } = {};

function tableOf(backend: MemoryAllocatorBackend): PresetTable {
  const options = (preset: Preset) => binding().presetOptions(backend, preset);
  return (tables[backend] ??= {
    'low-rss': options('low-rss'),
    balanced: options('balanced'),
    throughput: options('throughput'),
  });
}

const names: readonly Preset[] = ['low-rss', 'balanced', 'throughput', 'none'];

/**
 * Checks that a value is the name of a preset, and returns the name.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_PRESET`
 */
export function parsePreset(name: unknown): Preset {
  if (names.includes(name as Preset)) return name as Preset;
  const rest = didYouMean(name, names, `; it must be one of: ${names.join(', ')}`);
  throw new MallocBackendError('ERR_UNKNOWN_PRESET', `unknown preset ${shown(name)}${rest}`);
}

/** Options of the allocator: name and value. */
export type BackendOptions = Readonly<Record<string, string | number | boolean>>;
