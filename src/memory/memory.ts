import { getHeapStatistics } from 'node:v8';
import type { BackendStats } from '../backend.js';
import type { MemoryParts } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';
import { type ActiveBackend, activeBackend } from '../process/owner.js';
import { ownMalloc } from './own.js';

export type { MemoryParts } from '../native/binding.js';

/** Where a process's physical memory is. */
export interface MemoryBreakdown {
  pid: number;
  /** Bytes in physical memory (`VmRSS`), as the kernel counts it. */
  rss: number;
  /** Bytes. They add up to `rss`, give or take what changed while they were counted. */
  parts: MemoryParts;
  /** The allocator that serves its `malloc`. */
  active: ActiveBackend;
  /** What the allocator tells of itself; absent for another process. It counts its blocks, not their memory. */
  stats?: BackendStats;
}

/**
 * A breakdown of the physical memory (RSS) of a process, whichever allocator serves it: this package's, glibc's, or
 * one that somebody else preloaded.
 *
 * It is read on a thread of libuv's pool, for the kernel walks the page tables for it: about 10 ms a gigabyte. glibc
 * walks its free blocks too, with its heap locked.
 *
 * @param pid - Default: this process. Of another the mappings are all that is known.
 * @throws {@link MallocBackendError} (the promise rejects) as {@link activeBackend}
 */
export async function memory(pid: number = process.pid): Promise<MemoryBreakdown> {
  const native = linuxBinding('the breakdown of memory');
  const active = pid === process.pid ? ownMalloc() : activeBackend(pid);
  const v8 =
    pid === process.pid
      ? { arrayBuffers: process.memoryUsage().arrayBuffers, heap: getHeapStatistics().total_physical_size }
      : undefined;
  const { rss, parts, stats } = await native.readMemory(pid, active.allocator, v8);
  return {
    pid,
    rss,
    parts,
    active,
    ...(stats === undefined ? {} : { stats }),
  };
}
