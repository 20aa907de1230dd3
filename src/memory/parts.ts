import type { NativeMemory } from '../binding.js';

/**
 * The parts of a process's physical memory, in bytes. Each byte is in one part; what cannot be known is absent, and the
 * memory is then in the part that is named.
 */
export interface MemoryParts {
  /**
   * V8's memory but for its code: the heaps of the main thread and of all workers, WebAssembly memories, and resizable
   * array buffers. Absent for a process without V8.
   */
  v8Heap?: number;
  /** Code that was compiled at run time. The program's own is in `mappedFiles`, but with `--use-largepages` here. */
  code: number;
  /**
   * The contents of this thread's array buffers and with them Buffers, which lie in `malloc`'s memory and are in no
   * other part. Absent for another process. A buffer that was never written to has no memory: where `malloc`'s
   * blocks are larger than its memory, the difference is taken to be of buffers.
   */
  arrayBuffers?: number;
  /** In live blocks of `malloc` that are no array buffers. What threads keep for their next request counts as live. */
  mallocLive?: number;
  /** `malloc`'s memory besides its live blocks: free and kept, lost to rounding, and its own structures. */
  mallocCached?: number;
  /**
   * All of `malloc`'s memory that is no array buffer, in place of `mallocLive` and `mallocCached`: where the allocator
   * does not count its live blocks (mimalloc, snmalloc), and for another process, with its array buffers. There glibc's blocks of 128 KiB and
   * more, which are mapped for themselves, are in `other`. Absent for allocators that this package does not know:
   * then it is in `other`.
   */
  malloc?: number;
  /** Programs, libraries and other files that are mapped, and memory shared between processes. */
  mappedFiles: number;
  /** The stacks of all threads. */
  stacks: number;
  /** The rest. */
  other: number;
}

/** What V8 tells of this process. */
export interface V8Figures {
  /** Bytes of `malloc` in this thread's array buffers. */
  arrayBuffers: number;
  /** Bytes of physical memory in this thread's heap, as V8 reckons. */
  heap: number;
}

/** Allocators that reserve address space beforehand and take all their memory from there. */
const RESERVING = ['jemalloc', 'mimalloc', 'snmalloc'];

/** Says which part each byte of the map is in. `v8` is absent for another process. */
export function parts(map: NativeMemory, allocator: string, v8?: V8Figures): MemoryParts {
  // A V8 that does not mark its mappings (MADV_DONTFORK): they are among the reserved ones, and its word is all there is.
  const unmarked = map.v8 === 0 && v8 !== undefined ? Math.min(v8.heap, map.reserved) : 0;
  const v8Heap = map.v8 + unmarked;
  const marked = { ...map, reserved: map.reserved - unmarked };
  const anonymous = marked.heap + marked.arenas + marked.reserved + marked.private;
  const malloc = mallocMemory(marked, allocator);
  const blocks = malloc === undefined ? undefined : split(malloc, map.stats?.allocated, v8?.arrayBuffers);
  // Where `malloc`'s memory is not known the buffers are still somewhere in it.
  const loose = malloc === undefined && v8 !== undefined ? Math.min(v8.arrayBuffers, anonymous) : undefined;
  return {
    ...(v8Heap === 0 ? {} : { v8Heap }),
    code: map.code,
    ...blocks,
    ...(loose === undefined ? {} : { arrayBuffers: loose }),
    mappedFiles: map.files,
    stacks: map.stacks,
    other: anonymous - (malloc ?? loose ?? 0) + map.other,
  };
}

/** The physical memory of the allocator that serves `malloc`; undefined where its mappings cannot be told. */
function mallocMemory(map: NativeMemory, allocator: string): number | undefined {
  if (allocator === 'glibc') {
    return map.heap + map.arenas + Math.min(map.private, map.mappedBlocks ?? 0);
  }
  if (!RESERVING.includes(allocator)) return undefined;
  // Nothing is marked as reserved where the kernel reserves for everybody (vm.overcommit_memory is 2).
  const mappings = map.arenas + map.reserved || map.private;
  // jemalloc knows how much it has at the most. What is over that is another allocator's, such as the addon's own.
  return Math.min(mappings, map.stats?.resident ?? Infinity);
}

/** Divides `malloc`'s memory by what the allocator counts as live. */
function split(malloc: number, allocated: number | undefined, inBuffers: number | undefined) {
  const live = Math.min(allocated ?? malloc, malloc);
  const untouched = Math.max(0, (allocated ?? 0) - malloc);
  const arrayBuffers = inBuffers === undefined ? 0 : Math.min(live, Math.max(0, inBuffers - untouched));
  return {
    ...(inBuffers === undefined ? {} : { arrayBuffers }),
    ...(allocated === undefined
      ? { malloc: malloc - arrayBuffers }
      : { mallocLive: live - arrayBuffers, mallocCached: malloc - live }),
  };
}
