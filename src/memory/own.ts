import { getHeapStatistics } from 'node:v8';
import type { V8Figures } from '../native/binding.js';
import { type ActiveBackend, activeBackend } from '../process/owner.js';

let own: ActiveBackend | undefined;

/** The allocator of this process. Cached, because it does not change, and a look at the library's file takes a millisecond. */
export function ownMalloc(): ActiveBackend {
  return (own ??= activeBackend());
}

/** What V8 tells of this process. */
export function ownV8(): V8Figures {
  return { arrayBuffers: process.memoryUsage().arrayBuffers, heap: getHeapStatistics().total_physical_size };
}
