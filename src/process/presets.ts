import type { MemoryAllocatorBackend } from '../backend.js';
import { linuxBinding } from '../binding.js';
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

const clearing: PresetOption = {
  key: 'calloc_madvise_threshold',
  value: '1099511627776',
  reason:
    'calloc clears blocks from 8 MiB up by writing too, not by giving pages back and faulting them in anew',
};

/** The presets, backend by backend. docs/presets.md has the same with a measurement of each. */
export const presets: { readonly [Backend in MemoryAllocatorBackend]?: PresetTable } = {
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
      clearing,
    ],
    throughput: [
      {
        key: 'background_thread',
        value: 'true',
        reason: 'takes the purging, that of very large blocks too, off the threads that free',
      },
      { key: 'dirty_decay_ms', value: '30000', reason: 'free pages are kept for half a minute' },
      clearing,
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
export type AllocatorOptions = Readonly<Record<string, string | number | boolean>>;

/**
 * glibc's variables, which do not follow from their names, and what each may be (mallopt(3); the bounds are those of its
 * elf/dl-tunables.list and malloc/malloc.c). What is out of them it passes over in silence.
 */
const glibcOptions: Readonly<Record<string, { variable: string; least?: bigint; most?: bigint }>> = {
  arena_max: { variable: 'MALLOC_ARENA_MAX', least: 1n },
  arena_test: { variable: 'MALLOC_ARENA_TEST', least: 1n },
  mmap_max: { variable: 'MALLOC_MMAP_MAX_', most: 2n ** 31n - 1n },
  mmap_threshold: { variable: 'MALLOC_MMAP_THRESHOLD_', most: 2n ** 25n },
  perturb: { variable: 'MALLOC_PERTURB_', most: 255n },
  top_pad: { variable: 'MALLOC_TOP_PAD_' },
  trim_threshold: { variable: 'MALLOC_TRIM_THRESHOLD_' },
};

/**
 * mimalloc 2.3's options and the older names that it still takes (its src/options.c), but for those that do nothing in
 * this build: deprecated_*, guarded_*, os_tag (macOS) and retry_on_oom (Windows).
 */
const mimallocOptions: Readonly<Record<string, string | undefined>> = {
  abandoned_page_purge: 'abandoned_page_reset',
  abandoned_reclaim_on_free: undefined,
  allow_large_os_pages: 'large_os_pages',
  allow_thp: undefined,
  arena_eager_commit: 'eager_region_commit',
  arena_purge_mult: undefined,
  arena_reserve: undefined,
  destroy_on_exit: undefined,
  disallow_arena_alloc: undefined,
  disallow_os_alloc: 'limit_os_alloc',
  eager_commit: undefined,
  eager_commit_delay: undefined,
  generic_collect: undefined,
  max_errors: undefined,
  max_segment_reclaim: undefined,
  max_warnings: undefined,
  purge_decommits: 'reset_decommits',
  purge_delay: 'reset_delay',
  purge_extend_delay: 'decommit_extend_delay',
  reserve_huge_os_pages: undefined,
  reserve_huge_os_pages_at: undefined,
  reserve_os_memory: undefined,
  show_errors: undefined,
  show_stats: undefined,
  target_segments_per_thread: undefined,
  use_numa_nodes: undefined,
  verbose: undefined,
  visit_abandoned: undefined,
};

/** An option's present name. */
function mimallocName(key: string): string | undefined {
  if (Object.hasOwn(mimallocOptions, key)) return key;
  return Object.keys(mimallocOptions).find((name) => mimallocOptions[name] === key);
}

/**
 * The environment variables that give the backend its preset and, over it, single options. A variable that the
 * user has set wins over the preset, and a single option over both.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_OPTION`, `ERR_INVALID_ARGUMENT` for a value that the option does not take
 */
export function optionVariables(
  backend: MemoryAllocatorBackend,
  preset: Preset,
  set: AllocatorOptions,
  env: NodeJS.ProcessEnv,
): Record<string, string> {
  const single = Object.entries(set).map(([key, value]) => [key, checked(backend, key, value)] as const);
  const named = preset === 'none' ? [] : (presets[backend]?.[preset] ?? []);
  const table = backend === 'default' && isMusl() ? [] : named;
  if (backend === 'jemalloc') return jemallocVariables(table, single, env['MALLOC_CONF']);
  const variables: Record<string, string> = {};
  for (const { key, value } of table) {
    if (!isUsers(backend, key, env)) variables[variableName(backend, key, env)] = value;
  }
  for (const [key, value] of single) {
    variables[variableName(backend, key, env)] = value;
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
  single: readonly (readonly [key: string, value: string])[],
  user: string | undefined,
): Record<string, string> {
  const parts = [
    ...table.map(({ key, value }) => `${key}:${value}`),
    ...(user ? [user] : []),
    ...single.map(([key, value]) => `${key}:${value}`),
  ];
  return parts.length > (user ? 1 : 0) ? { MALLOC_CONF: parts.join(',') } : {};
}

/** The user's spelling of a mimalloc variable, if there is one: mimalloc takes any case, and an empty value for 1. */
function spelled(option: string, env: NodeJS.ProcessEnv): string | undefined {
  const variable = `MIMALLOC_${option.toUpperCase()}`;
  return Object.keys(env).find((name) => name.toUpperCase() === variable && env[name] !== undefined);
}

/** Whether the user has set the option. */
function isUsers(backend: MemoryAllocatorBackend, key: string, env: NodeJS.ProcessEnv): boolean {
  if (backend !== 'mimalloc') return Boolean(env[variableName(backend, key, env)]) || isTuned(key, env);
  const older = mimallocOptions[key];
  return spelled(key, env) !== undefined || (older !== undefined && spelled(older, env) !== undefined);
}

function variableName(backend: MemoryAllocatorBackend, key: string, env: NodeJS.ProcessEnv): string {
  if (backend !== 'mimalloc') return glibcOptions[key]?.variable ?? '';
  // mimalloc looks for an older name only where the present one is not set.
  const name = mimallocName(key) ?? key;
  return spelled(name, env) ?? `MIMALLOC_${name.toUpperCase()}`;
}

/** musl's malloc has nothing to be set. */
function isMusl(): boolean {
  return linuxBinding().host().interpreter?.includes('ld-musl') === true;
}

/** The value of a single option as the allocator reads it. */
function checked(backend: MemoryAllocatorBackend, key: string, value: unknown): string {
  const refuse = (code: 'ERR_UNKNOWN_OPTION' | 'ERR_INVALID_ARGUMENT', why: string): never => {
    throw new MallocBackendError(code, `cannot set the option ${JSON.stringify(key)}: ${why}`);
  };
  const unknown = whyUnknown(backend, key);
  if (unknown !== undefined) refuse('ERR_UNKNOWN_OPTION', unknown);
  const isPlain = typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value);
  const text = isPlain ? String(value) : '';
  if (!/^[^\s,\0]+$/.test(text)) {
    refuse(
      'ERR_INVALID_ARGUMENT',
      `its value must be a string without commas and white space, a number or a boolean, not ${shown(value)}`,
    );
  }
  const wanted = whyNotValue(backend, key, text);
  if (wanted !== undefined)
    refuse('ERR_INVALID_ARGUMENT', `its value must be ${wanted}, not ${shown(value)}`);
  return text;
}

function whyUnknown(backend: MemoryAllocatorBackend, key: string): string | undefined {
  if (presets[backend] === undefined) return `${backend} has no options`;
  if (!/^[A-Za-z][A-Za-z0-9_.]*$/.test(key)) {
    return 'the name of an option is made of letters, digits, _ and .';
  }
  if (backend === 'mimalloc' && mimallocName(key) === undefined) {
    return `mimalloc has the options ${Object.keys(mimallocOptions).join(', ')}`;
  }
  if (backend === 'default' && isMusl()) return "musl's malloc, which is the default here, has no options";
  if (backend === 'default' && !Object.hasOwn(glibcOptions, key)) {
    return `glibc's malloc has the options ${Object.keys(glibcOptions).join(', ')}`;
  }
  return undefined;
}

/** mimalloc's options that are sizes (mi_option_has_size_in_kib in its src/options.c). */
const mimallocSizes: readonly string[] = ['arena_reserve', 'reserve_os_memory'];

/**
 * What the option takes, where it does not take this: glibc and mimalloc would pass over it without a word. jemalloc
 * itself says on standard error what it cannot read.
 */
function whyNotValue(backend: MemoryAllocatorBackend, key: string, value: string): string | undefined {
  if (backend === 'default') {
    const { least = 0n, most = 2n ** 64n - 1n } = glibcOptions[key] ?? {};
    const number = glibcNumber(value);
    if (number !== undefined && number >= least && number <= most) return undefined;
    return `a whole number from ${least} to ${most} (-1 is 2^64 - 1, 0x10 is 16 and 010 is 8)`;
  }
  if (backend !== 'mimalloc' || /^(?:true|yes|on|false|no|off|-?\d{1,18})$/i.test(value)) return undefined;
  if (!mimallocSizes.includes(mimallocName(key) ?? '')) return 'a whole number, or true or false';
  return /^\d{1,18}[KMGT](?:iB|B)?$/i.test(value)
    ? undefined
    : 'a whole number of bytes, or one with K, M, G or T behind it';
}

/** As glibc reads it (_dl_strtoul in its elf folder): in 64 bits, in base 8 and 16 too. */
function glibcNumber(text: string): bigint | undefined {
  const [, sign, octal, other] = /^(-?)(?:0([0-7]+)|(0x[0-9a-f]+|0|[1-9]\d*))$/i.exec(text) ?? [];
  if (octal === undefined && other === undefined) return undefined;
  const number = BigInt(octal === undefined ? (other ?? '') : `0o${octal}`);
  if (number >= 2n ** 64n) return undefined;
  return BigInt.asUintN(64, sign === '-' ? -number : number);
}
