import type { MemoryAllocatorBackend } from '../backend.js';
import { binding } from '../binding.js';
import { MallocBackendError, shown } from '../errors.js';

/**
 * What an allocator is tuned for. `none` is the allocator with its own defaults.
 *
 * - `low-rss`: free memory goes back to the system soon
 * - `balanced`: in between; the default
 * - `throughput`: free memory is kept for the next request
 */
export type Preset = 'low-rss' | 'balanced' | 'throughput' | 'none';

/** One option of an allocator, under the name that the allocator's own documentation has. */
export interface PresetOption {
  key: string;
  value: string;
  /** Why it is in the preset. */
  reason: string;
}

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
  throw new MallocBackendError(
    'ERR_UNKNOWN_PRESET',
    `unknown preset ${shown(name)}; it must be one of: ${names.join(', ')}`,
  );
}

/** Options by their name. */
export type AllocatorOptions = Readonly<Record<string, string | number | boolean>>;
