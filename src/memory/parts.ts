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
