import { linuxBinding } from '../native/loader.js';
import { MallocBackendError } from '../errors.js';
import type { ActiveBackend } from '../process/owner.js';
import { ownMalloc } from './own.js';

/** The result of a release. */
export interface Release {
  /** The bytes by which RSS fell. 0 if RSS grew, because the program goes on during the release. */
  released: number;
  /** RSS before, in bytes. */
  before: number;
  /** RSS after, in bytes. */
  after: number;
  /** The time from the call to the end, in milliseconds. It includes the wait for a thread of libuv's pool. */
  durationMs: number;
}

/** The sums of all releases that this thread requested, for the metrics. Each worker has its own sums. */
export const releases = { count: 0, bytes: 0, seconds: 0 };

let running: Promise<Release> | undefined;

/**
 * Makes the allocator that serves this process's `malloc` return its free memory to the system. The function works with
 * glibc (`malloc_trim`), jemalloc and mimalloc. The jemalloc or mimalloc can be this package's or any other.
 *
 * The main step runs on a thread of libuv's pool, so the event loop goes on. docs/memory.md has measured two exceptions.
 * On glibc, a `malloc` waits while glibc trims the heap that the `malloc` needs. On mimalloc, only a heap's own thread can
 * release the memory between live blocks, so the calling thread does a last step. Other threads keep the blocks in their
 * thread caches. If a release is already running, a second call gets the result of that release.
 *
 * @throws {@link MallocBackendError} The promise rejects with `ERR_CANNOT_RELEASE` on snmalloc, on musl and on allocators
 * that this package does not know. It can also reject with the errors of {@link activeBackend}.
 */
export function releaseMemory(): Promise<Release> {
  running ??= release().finally(() => (running = undefined));
  return running;
}

async function release(): Promise<Release> {
  const native = linuxBinding('releasing memory');
  requireRelease(ownMalloc());
  const { possible, before, after, durationMs } = await native.releaseMemory();
  if (!possible) refuse(native.whyNoRelease(ownMalloc().owner));
  const released = Math.max(0, before - after);
  releases.count += 1;
  releases.bytes += released;
  releases.seconds += durationMs / 1000;
  return { released, before, after, durationMs };
}

/**
 * Throws if the allocator cannot release memory.
 *
 * @throws {@link MallocBackendError} `ERR_CANNOT_RELEASE`
 */
export function requireRelease({ kind, allocator, owner }: ActiveBackend): void {
  const native = linuxBinding('releasing memory');
  refuse(native.whyNoRelease(owner, kind === 'static' ? undefined : allocator));
}

function refuse(why: string | null): void {
  if (why !== null) throw new MallocBackendError('ERR_CANNOT_RELEASE', why);
}
