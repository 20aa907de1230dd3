import type { MemoryAllocatorBackend } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import type { Preset, PresetOption } from '../native/binding.js';
import { binding } from '../native/loader.js';
import { didYouMean } from '../nearest.js';

export type { Preset, PresetOption } from '../native/binding.js';

/** The options of each preset. */
export type PresetTable = Record<Exclude<Preset, 'none'>, readonly PresetOption[]>;

/**
 * The presets, backend by backend. docs/presets.md has the same with a measurement of each. The table is that of
 * crates/launch/src/presets.rs, read from the addon at the first look.
 *
 * @throws {@link MallocBackendError} `ERR_BINARY_MISSING`, at that look
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
 * The preset of that name.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_PRESET`
 */
export function parsePreset(name: unknown): Preset {
  if (names.includes(name as Preset)) return name as Preset;
  const rest = didYouMean(name, names, `; it must be one of: ${names.join(', ')}`);
  throw new MallocBackendError('ERR_UNKNOWN_PRESET', `unknown preset ${shown(name)}${rest}`);
}

/** Options by their name. */
export type BackendOptions = Readonly<Record<string, string | number | boolean>>;
