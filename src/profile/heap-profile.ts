import { invalidArgument, shown } from '../errors.js';
import { ownMalloc } from '../memory/own.js';
import { linuxBinding } from '../native/loader.js';
import { namesOf, requireOptions } from '../options.js';
import { diff } from './diff.js';
import { LEAST_INTERVAL, MOST_INTERVAL } from './limits.js';
import { Captures } from './live/captures.js';
import { type HeapProfileSocket, listenAt } from './live/server.js';
import { page } from './picture/html.js';
import { readProfile } from './pprof.js';

/** How {@link HeapProfile.start} takes samples. */
export interface HeapProfileOptions {
  /**
   * The mean distance of two samples, in bytes of allocated memory. A smaller interval is more exact and costs more. A number
   * from 64 to 1073741824 (1 GiB). Default: 524288 (512 KiB).
   */
  interval?: number;
  /**
   * The most sampled blocks in use that the profile keeps. The profile counts the samples that find no room. A number from
   * 1000 to 1000000. Default: 100000.
   */
  maxSamples?: number;
}

const OPTIONS = namesOf<HeapProfileOptions>({ interval: true, maxSamples: true });

/** The result of {@link HeapProfile.state}. */
export type HeapProfileState = { running: false } | RunningHeapProfile;

/** The state of a running heap profile. */
export interface RunningHeapProfile {
  running: true;
  /** The mean distance of two samples, in bytes. */
  interval: number;
  /** The number of samples. */
  samples: number;
  /** The number of samples whose block is in use. */
  live: number;
  /**
   * The number of samples whose block found no room in the table of blocks in use. To lose none, raise `maxSamples` or
   * `interval`.
   */
  dropped: number;
  /** The number of samples whose stack found no room. Their stack is `[frames not kept]`. To lose fewer, raise `interval`. */
  droppedStacks: number;
  /** The CPU time that the samples took, on all threads. An estimate: one sample of sixteen is timed. */
  seconds: number;
  /** The reason why the stacks have no JavaScript frames. Missing if they have. */
  whyNoJavascript?: string;
}

/** What {@link HeapProfile.html} draws. */
export interface HeapProfilePageOptions {
  /** An earlier profile. The page then shows what changed since. */
  against?: Uint8Array;
}

const PAGE_OPTIONS = namesOf<HeapProfilePageOptions>({ against: true });

/** The type of {@link heapProfile}. */
export interface HeapProfile {
  /**
   * Starts the profile. Memory that was allocated before the start is not in the profile.
   *
   * @throws {@link MallocBackendError} `ERR_PROFILE_RUNNING`: the profile is running already. `ERR_CANNOT_PROFILE`: the
   * profiler cannot see the allocations of this process, for example because the program contains its own `malloc`.
   * `ERR_INVALID_ARGUMENT`. `ERR_BACKEND_UNAVAILABLE` on other platforms than Linux on x64. `ERR_BINARY_MISSING`.
   */
  start(options?: HeapProfileOptions): void;
  /**
   * Returns the profile so far. The profile runs on.
   *
   * @throws {@link MallocBackendError} The promise rejects with `ERR_NO_PROFILE` if no profile is running.
   */
  snapshot(): Promise<Uint8Array>;
  /**
   * Stops the profile and returns the profile. The call itself stops the profile, and from then on the profile costs nothing.
   *
   * @throws {@link MallocBackendError} The promise rejects with `ERR_NO_PROFILE` if no profile is running.
   */
  stop(): Promise<Uint8Array>;
  /** Tells whether the profile is running, and how many samples it has. */
  state(): HeapProfileState;
  /**
   * Returns the difference of two profiles, as a profile: each stack with what the later one has more. What became less is
   * negative. The two can be of two processes.
   *
   * @param before - The earlier profile: what {@link HeapProfile.stop} returned, or a file in the format of pprof.
   * @param after - The later one.
   * @throws {@link MallocBackendError} `ERR_PROFILE_INVALID`: a profile cannot be read, or the two have different types.
   * `ERR_INVALID_ARGUMENT`.
   */
  diff(before: Uint8Array, after: Uint8Array): Uint8Array;
  /**
   * Draws a profile as one HTML file, with a flame graph and tables by function, by module and by package. The file loads
   * nothing. docs/profile-live.md explains the page.
   *
   * @throws {@link MallocBackendError} `ERR_PROFILE_INVALID`. `ERR_INVALID_ARGUMENT`.
   */
  html(profile: Uint8Array, options?: HeapProfilePageOptions): string;
  /**
   * Lets `malloc-backend profile --pid` take profiles of this process, through a unix socket that only the process's user and
   * root can open. Call it again to get the same socket. The socket does not keep the process alive.
   *
   * @throws {@link MallocBackendError} The promise rejects with `ERR_PROFILE_SOCKET`: there is no private folder for the
   * socket, or another thread listens already. `ERR_BACKEND_UNAVAILABLE` on other platforms than Linux.
   */
  listen(): Promise<HeapProfileSocket>;
}

/** The words for an error on a platform without heap profiles. */
const WHAT = 'a heap profile of native memory';

/**
 * The heap profile of this process's native memory: which code asked for the memory of `malloc` that is in use, with native
 * and JavaScript frames in one stack. The profile works on every backend and on the C library. A process has one profile, for
 * all of its threads.
 *
 * The profile is a gzipped file in the format of pprof. `go tool pprof`, speedscope, Pyroscope and Parca read the file. The
 * values are `alloc_objects`, `alloc_space`, `inuse_objects` and `inuse_space`, all since the start. docs/profile.md shows
 * how to find a leak, and what the profile does not see.
 */
export const heapProfile: HeapProfile = {
  start(options = {}) {
    requireOptions(options, OPTIONS);
    const { interval = 512 * 1024, maxSamples = 100_000 } = options;
    requireInteger('interval', interval, LEAST_INTERVAL, MOST_INTERVAL);
    requireInteger('maxSamples', maxSamples, 1000, 1_000_000);
    startHere(interval, maxSamples);
  },

  async snapshot() {
    return linuxBinding(WHAT).snapshotHeapProfile();
  },

  async stop() {
    return linuxBinding(WHAT).stopHeapProfile();
  },

  state() {
    const state = linuxBinding(WHAT).heapProfileState();
    return state === null ? { running: false } : { running: true, ...state };
  },

  diff,

  html(profile, options = {}) {
    requireOptions(options, PAGE_OPTIONS);
    const { against } = options;
    return page(readProfile(profile), against && readProfile(against, 'the profile in against'));
  },

  listen() {
    listening ??= listenAt(captures).then(
      ({ path, close }) => {
        let closed: Promise<void> | undefined;
        return {
          path,
          close: () => {
            if (closed === undefined) {
              listening = undefined;
              closed = close();
            }
            return closed;
          },
        };
      },
      (error: unknown) => {
        // The next call tries again.
        listening = undefined;
        throw error;
      },
    );
    return listening;
  },
};

let listening: Promise<HeapProfileSocket> | undefined;

/** The profiles that somebody asks for from outside: through the socket, or over HTTP. */
export const captures = new Captures({
  get isRunning() {
    return heapProfile.state().running;
  },
  start: (interval) => heapProfile.start(interval === undefined ? {} : { interval }),
  snapshot: () => heapProfile.snapshot(),
  async mark() {
    const binding = linuxBinding(WHAT);
    const mark = await binding.markHeapProfile();
    return () => binding.heapProfileSince(mark);
  },
  stop: () => heapProfile.stop(),
});

/** {@link HeapProfile.stop} for a process that is about to end. */
export function stopNow(): Uint8Array {
  return linuxBinding(WHAT).stopHeapProfileNow();
}

/** The profiler verifies that it can read V8's frames: it looks for this function on the stack. */
function startHere(interval: number, maxSamples: number): void {
  const { backend, allocator } = ownMalloc();
  linuxBinding(WHAT).startHeapProfile({
    interval,
    maxSamples,
    allocator: backend ?? allocator,
    v8: process.versions.v8,
    caller: startHere.name,
    file: __filename,
  });
}

function requireInteger(name: string, value: unknown, least: number, most: number): void {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return;
  throw invalidArgument(`${name} must be an integer from ${least} to ${most}, not ${shown(value)}`);
}
