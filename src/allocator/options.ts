import { MallocBackendError, shown } from '../errors.js';
import { namesOf } from '../options.js';
import type { AllocatorEvent } from './observer.js';

/** How an allocator is made. */
export interface AllocatorOptions {
  /** For messages. */
  name?: string;
  /** The most bytes that may be live at a time, those of its children included. Default: no limit. */
  limit?: number;
  /** Remember where each buffer was allocated, for `leaks()`. Costs microseconds each. Default: false. */
  trace?: boolean;
  /**
   * Bytes of freed blocks to keep back, filled with 0xdb, before the backend gets them: a job that still reads one
   * then reads that, and not another buffer. Default: 0.
   */
  quarantine?: number;
  /** Called with everything that happens, within the call that made it happen. Default: none. */
  log?: (event: AllocatorEvent) => void;
}

export const ALLOCATOR_OPTIONS = namesOf<AllocatorOptions>({
  name: true,
  limit: true,
  trace: true,
  quarantine: true,
  log: true,
});

/** How a buffer is allocated. */
export interface AllocateOptions {
  /** Fill it with zeros; its contents are otherwise whatever the memory held before. Default: false. */
  zero?: boolean;
  /** The address's alignment in bytes: a power of two up to 2^30. Default: 16. */
  alignment?: number;
  /**
   * `allow`: where the runtime refuses buffers over memory that is not its own, make one of its own. It counts here
   * as any other, and the backend has no part in it. Default: `refuse`, with `ERR_EXTERNAL_BUFFERS_UNSUPPORTED`.
   */
  copy?: 'allow' | 'refuse';
}

export const ALLOCATE_OPTIONS = namesOf<AllocateOptions>({ zero: true, alignment: true, copy: true });

export function mayCopy(copy: unknown): boolean {
  if (copy === undefined || copy === 'refuse') return false;
  if (copy === 'allow') return true;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `copy must be 'allow' or 'refuse', not ${shown(copy)}`,
  );
}
