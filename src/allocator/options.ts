import { invalidArgument, shown } from '../errors.js';
import { namesOf } from '../options.js';
import type { AllocatorEvent } from './observer.js';

/** Options of `Allocator.create()` and `child()`. */
export interface AllocatorOptions {
  /** A name for error messages. */
  name?: string;
  /** The maximum number of live bytes, including the children's. Default: no limit. */
  limit?: number;
  /** Records the stack of each allocation, for `leaks()`. Each record costs microseconds. Default: false. */
  trace?: boolean;
  /**
   * Maximum number of bytes of freed blocks that the allocator holds back before it returns them to the backend. Each
   * of these blocks is filled with 0xdb. A job that reads a block too late then reads 0xdb and not the data of another
   * buffer. Default: 0.
   */
  quarantine?: number;
  /** Called with each event, during the call that causes the event. Default: none. */
  log?: (event: AllocatorEvent) => void;
}

export const ALLOCATOR_OPTIONS = namesOf<AllocatorOptions>({
  name: true,
  limit: true,
  trace: true,
  quarantine: true,
  log: true,
});

/** Options of `Allocator.allocate()`. */
export interface AllocateOptions {
  /** Fills the buffer with zeros. Otherwise the buffer shows old data of its memory. Default: false. */
  zero?: boolean;
  /** The address's alignment in bytes: a power of two up to 2^30. Default: 16. */
  alignment?: number;
  /**
   * For runtimes that refuse buffers over memory that is not V8's own. `allow` returns a buffer in V8's memory, which
   * does not come from the backend but counts as usual. `refuse` throws `ERR_EXTERNAL_BUFFERS_UNSUPPORTED`. Default:
   * `refuse`.
   */
  copy?: 'allow' | 'refuse';
}

export const ALLOCATE_OPTIONS = namesOf<AllocateOptions>({ zero: true, alignment: true, copy: true });

export function mayCopy(copy: unknown): boolean {
  if (copy === undefined || copy === 'refuse') return false;
  if (copy === 'allow') return true;
  throw invalidArgument(`copy must be 'allow' or 'refuse', not ${shown(copy)}`);
}
