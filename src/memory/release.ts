import { linuxBinding } from '../native/loader.js';
import { MallocBackendError } from '../errors.js';
import type { ActiveBackend } from '../process/owner.js';
import { ownMalloc } from './own.js';

/** What giving memory back came to. */
export interface Release {
  /** Bytes by which RSS fell; 0 where it grew, because the program went on meanwhile. */
  released: number;
  /** RSS before, in bytes. */
  before: number;
  /** RSS after, in bytes. */
  after: number;
  /** From the call to the end, in milliseconds; it may have waited for a thread of libuv's pool. */
  durationMs: number;
}

/** What all releases that this thread asked for came to so far, for the metrics: each worker has its own count. */
export const releases = { count: 0, bytes: 0, seconds: 0 };

let running: Promise<Release> | undefined;

/**
 * Has the allocator that serves this process's `malloc` give its free memory back to the system: a library of this
 * package, glibc (`malloc_trim`), or a jemalloc or mimalloc that somebody else preloaded, by its own functions.
 *
 * It runs on a thread of libuv's pool. The event loop goes on, with two exceptions that docs/memory.md has measured: a
 * `malloc` waits while glibc trims the heap that it needs, and in mimalloc what is free beside live blocks in a thread's
 * heap only that thread can give back. What other threads than the calling one keep for themselves stays with them. A
 * call while a release is running joins that one.
 *
 * @throws {@link MallocBackendError} (the promise rejects) `ERR_CANNOT_RELEASE` where the allocator has no way to:
 * snmalloc, musl, and allocators that this package does not know; and as {@link activeBackend}
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
 * That memory can be given back at all.
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
