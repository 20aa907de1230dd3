import type { MemoryAllocatorBackend } from '../backend.js';
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

type Table = Record<Exclude<Preset, 'none'>, readonly PresetOption[]>;

/** The presets, backend by backend. docs/presets.md has the same with a measurement of each. */
export const presets: { readonly [Backend in MemoryAllocatorBackend]?: Table } = {
  default: {
    'low-rss': [
      { key: 'arena_max', value: '1', reason: 'threads share one heap, and with it what is free in it' },
      {
        key: 'mmap_threshold',
        value: '131072',
        reason:
          'large blocks are mapped one by one and go back when freed; unset, the threshold grows with use',
      },
    ],
    balanced: [
      { key: 'arena_max', value: '2', reason: 'not up to eight heaps a core, each with what is free in it' },
    ],
    throughput: [
      {
        key: 'mmap_threshold',
        value: '33554432',
        reason:
          'large blocks come from the heap, where they are used again without page faults; the most there is',
      },
      { key: 'trim_threshold', value: '1073741824', reason: 'and the heap keeps up to 1 GiB of them' },
    ],
  },
  jemalloc: {
    'low-rss': [
      { key: 'background_thread', value: 'true', reason: 'free pages go back although the program is idle' },
      { key: 'dirty_decay_ms', value: '500', reason: 'after half a second instead of ten' },
      { key: 'narenas', value: '2', reason: 'threads share two arenas instead of four a core' },
      { key: 'tcache_max', value: '4096', reason: 'threads keep small blocks only for themselves' },
    ],
    balanced: [
      { key: 'background_thread', value: 'true', reason: 'free pages go back although the program is idle' },
      { key: 'dirty_decay_ms', value: '1000', reason: 'after a second instead of ten' },
    ],
    throughput: [
      {
        key: 'background_thread',
        value: 'true',
        reason: 'takes the purging, that of very large blocks too, off the threads that free',
      },
      { key: 'dirty_decay_ms', value: '30000', reason: 'free pages are kept for half a minute' },
    ],
  },
  mimalloc: {
    'low-rss': [{ key: 'purge_delay', value: '0', reason: 'free pages go back at once' }],
    balanced: [
      { key: 'purge_extend_delay', value: '0', reason: 'what is freed nearby does not put the purge off' },
      { key: 'abandoned_page_purge', value: '1', reason: 'what an ended thread leaves goes back' },
    ],
    throughput: [{ key: 'purge_delay', value: '1000', reason: 'free pages are kept for a second' }],
  },
};

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
export type AllocatorOptions = Readonly<Record<string, string>>;

/** glibc's variables do not follow from their names (mallopt(3)). */
const glibcVariables: AllocatorOptions = {
  arena_max: 'MALLOC_ARENA_MAX',
  arena_test: 'MALLOC_ARENA_TEST',
  mmap_max: 'MALLOC_MMAP_MAX_',
  mmap_threshold: 'MALLOC_MMAP_THRESHOLD_',
  perturb: 'MALLOC_PERTURB_',
  top_pad: 'MALLOC_TOP_PAD_',
  trim_threshold: 'MALLOC_TRIM_THRESHOLD_',
};

/**
 * The environment variables that give the backend its preset and, over it, single options. A variable that the
 * user has set wins over the preset, and a single option over both.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_OPTION`
 */
export function optionVariables(
  backend: MemoryAllocatorBackend,
  preset: Preset,
  set: AllocatorOptions,
  env: NodeJS.ProcessEnv,
): Record<string, string> {
  for (const [key, value] of Object.entries(set)) check(backend, key, value);
  const table = preset === 'none' ? [] : (presets[backend]?.[preset] ?? []);
  if (backend === 'jemalloc') return jemallocVariables(table, set, env['MALLOC_CONF']);
  const variables: Record<string, string> = {};
  for (const { key, value } of table) {
    const variable = variableName(backend, key);
    if (!env[variable] && !(backend === 'default' && isTuned(key, env))) variables[variable] = value;
  }
  for (const [key, value] of Object.entries(set)) {
    variables[variableName(backend, key)] = value;
    // glibc takes its tunables before its variables, and of the same tunable the last.
    if (backend === 'default' && isTuned(key, env)) {
      const tunables = variables['GLIBC_TUNABLES'] ?? env['GLIBC_TUNABLES'];
      variables['GLIBC_TUNABLES'] = `${tunables}:glibc.malloc.${key}=${value}`;
    }
  }
  return variables;
}

function isTuned(key: string, env: NodeJS.ProcessEnv): boolean {
  return env['GLIBC_TUNABLES']?.includes(`glibc.malloc.${key}=`) === true;
}

/** jemalloc reads one variable, in which what comes later wins. */
function jemallocVariables(
  table: readonly PresetOption[],
  set: AllocatorOptions,
  user: string | undefined,
): Record<string, string> {
  const parts = [
    ...table.map(({ key, value }) => `${key}:${value}`),
    ...(user ? [user] : []),
    ...Object.entries(set).map(([key, value]) => `${key}:${value}`),
  ];
  return parts.length > (user ? 1 : 0) ? { MALLOC_CONF: parts.join(',') } : {};
}

function variableName(backend: MemoryAllocatorBackend, key: string): string {
  return backend === 'mimalloc' ? `MIMALLOC_${key.toUpperCase()}` : (glibcVariables[key] ?? '');
}

function check(backend: MemoryAllocatorBackend, key: string, value: unknown): void {
  const refuse = (why: string) => {
    throw new MallocBackendError(
      'ERR_UNKNOWN_OPTION',
      `cannot set the option ${JSON.stringify(key)}: ${why}`,
    );
  };
  if (presets[backend] === undefined) refuse(`${backend} has no options`);
  if (!/^[A-Za-z][A-Za-z0-9_.]*$/.test(key))
    refuse('the name of an option is made of letters, digits, _ and .');
  if (typeof value !== 'string' || !/^[^\s,\0]+$/.test(value)) {
    refuse('its value must be a string that is not empty and has no comma and no white space in it');
  }
  if (backend === 'default' && !Object.hasOwn(glibcVariables, key)) {
    refuse(`glibc's malloc has the options ${Object.keys(glibcVariables).join(', ')}`);
  }
}
