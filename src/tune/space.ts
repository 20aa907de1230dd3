import type { ProcessBackend } from '../backend.js';

/** An option that `tune` varies. */
export interface Dimension {
  /** The option's name in the allocator's own documentation. */
  key: string;
  /** The values to try. */
  values: readonly string[];
  /** What the option trades. */
  reason: string;
}

/**
 * The options that `tune` varies, by backend. No option here makes a program unsafe: none turns a check off, fills memory, or
 * takes memory that the program did not ask for.
 */
export const SPACE: Readonly<Record<ProcessBackend, readonly Dimension[]>> = {
  default: [
    {
      key: 'arena_max',
      values: ['1', '2', '4'],
      reason: 'fewer arenas share their free memory; more arenas make threads wait less',
    },
    {
      key: 'mmap_threshold',
      values: ['131072', '1048576', '33554432'],
      reason: 'blocks from this size are mapped one by one, and their memory is returned when they are freed',
    },
    {
      key: 'trim_threshold',
      values: ['131072', '4194304', '268435456'],
      reason: 'the free memory that the end of the heap keeps',
    },
    {
      key: 'top_pad',
      values: ['65536', '4194304'],
      reason: 'the memory by which the heap grows at a time: more memory, or more system calls',
    },
  ],
  jemalloc: [
    {
      key: 'narenas',
      values: ['1', '2', '4', '8'],
      reason: 'fewer arenas share their free memory; more arenas make threads wait less',
    },
    {
      key: 'dirty_decay_ms',
      values: ['0', '100', '500', '1000', '5000', '30000'],
      reason: 'how long free pages are kept for the next request',
    },
    {
      key: 'background_thread',
      values: ['true', 'false'],
      reason: 'whether a thread of jemalloc returns free pages, or the threads that free',
    },
    {
      key: 'tcache_max',
      values: ['1024', '4096', '32768'],
      reason: 'the largest block that a thread keeps for itself',
    },
    {
      key: 'oversize_threshold',
      values: ['0', '1048576', '8388608'],
      reason: 'blocks from this size are in an arena of their own, which returns them at once',
    },
    {
      key: 'percpu_arena',
      values: ['disabled', 'percpu'],
      reason: 'an arena for each processor instead of each group of threads',
    },
    {
      key: 'calloc_madvise_threshold',
      values: ['8388608', '1099511627776'],
      reason: 'calloc of a reused block from this size gets new pages instead of writing zeros',
    },
    {
      key: 'thp',
      values: ['default', 'never'],
      reason: 'transparent huge pages: fewer TLB misses, or pages that can be returned one by one',
    },
  ],
  mimalloc: [
    {
      key: 'purge_delay',
      values: ['0', '10', '100', '1000'],
      reason: 'how many milliseconds free pages are kept for the next request',
    },
    {
      key: 'purge_extend_delay',
      values: ['0', '1'],
      reason: 'whether freeing a nearby block delays the purge',
    },
    {
      key: 'abandoned_page_purge',
      values: ['0', '1'],
      reason: 'whether the free pages that an ended thread leaves behind are returned',
    },
    {
      key: 'arena_eager_commit',
      values: ['0', '1', '2'],
      reason: 'whether an arena is committed as a whole',
    },
    {
      key: 'eager_commit',
      values: ['0', '1'],
      reason: 'whether a segment is committed as a whole',
    },
    {
      key: 'allow_thp',
      values: ['0', '1'],
      reason: 'transparent huge pages: fewer TLB misses, or pages that can be returned one by one',
    },
  ],
  // It has no options.
  snmalloc: [],
};
