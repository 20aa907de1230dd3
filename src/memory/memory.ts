import type { BackendStats } from '../backend.js';
import type { MemoryParts } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';
import { type ActiveBackend, activeBackend } from '../process/owner.js';
import { ownMalloc, ownV8 } from './own.js';

export type { MemoryParts } from '../native/binding.js';

/** The parts of a process's physical memory. */
export interface MemoryBreakdown {
  /** The process id. */
  pid: number;
  /** The process's physical memory (RSS, `VmRSS`) in bytes, as the kernel counts it. */
  rss: number;
  /** The bytes of each part. Their sum is `rss`, except for memory that changes while the function counts. */
  parts: MemoryParts;
  /** The allocator that serves the process's `malloc`. */
  active: ActiveBackend;
  /**
   * The allocator's own figures. Missing for another process. The allocator counts bytes of blocks, and `parts` counts
   * physical memory.
   */
  stats?: BackendStats;
}

/**
 * Divides the physical memory (RSS) of a process into parts. The function works with every allocator: this package's,
 * the C library's, and any other preloaded allocator.
 *
 * The function reads on a thread of libuv's pool, because the kernel must walk the page tables. This takes about 10 ms for
 * each GiB. On glibc, it also walks the free blocks of each heap, and locks the heap meanwhile.
 *
 * @param pid - The process id. Default: this process. For another process, only the mappings are known, so there are
 * fewer parts.
 * @throws {@link MallocBackendError} The promise rejects with the errors of {@link activeBackend}.
 */
export async function memory(pid: number = process.pid): Promise<MemoryBreakdown> {
  const native = linuxBinding('the breakdown of memory');
  const active = pid === process.pid ? ownMalloc() : activeBackend(pid);
  const v8 = pid === process.pid ? ownV8() : undefined;
  const { rss, parts, stats } = await native.readMemory(pid, active.allocator, v8);
  return {
    pid,
    rss,
    parts,
    active,
    ...(stats === undefined ? {} : { stats }),
  };
}
