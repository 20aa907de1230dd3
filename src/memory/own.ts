import { type ActiveBackend, activeBackend } from '../process/owner.js';

let own: ActiveBackend | undefined;

/** The allocator of this process. Cached, because it does not change, and a look at the library's file takes a millisecond. */
export function ownMalloc(): ActiveBackend {
  return (own ??= activeBackend());
}
