import { type ActiveBackend, activeBackend } from '../process/owner.js';

let own: ActiveBackend | undefined;

/** Whose `malloc` this process runs on. It stays as it is, and to look at the library's file takes a millisecond. */
export function ownMalloc(): ActiveBackend {
  return (own ??= activeBackend());
}
