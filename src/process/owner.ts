import { type MemoryAllocatorBackend, type ProcessBackend, parseBackend } from '../backend.js';
import { invalidArgument, MallocBackendError, shown } from '../errors.js';
import type { Owner, OwnerKind } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';

/** The allocator that serves a process's `malloc`. */
export interface ActiveBackend {
  /**
   * What the file in `owner` is:
   *
   * - `shim`: a library of this package
   * - `foreign`: another allocator, or a program that exports a `malloc` of its own
   * - `libc`: the C library
   * - `static`: the program, which is statically linked and does not show its allocator
   */
  kind: OwnerKind;
  /** The allocator's name: `jemalloc`, `mimalloc`, `snmalloc`, `tcmalloc`, `glibc`, `musl` …, or `unknown`. */
  allocator: string;
  /** The backend: that of the shim, or `default` for the C library. Missing for any other allocator. */
  backend?: MemoryAllocatorBackend;
  /** The allocator's version, if it can be read. */
  version?: string;
  /** The path of the file whose `malloc` the process uses (a library or the program), as the process sees it. */
  owner: string;
}

/**
 * Tells which allocator serves a process's `malloc`. For this process, the dynamic loader tells which file defines
 * `malloc`. For another process, the function reads the mapped files.
 *
 * @param pid - The process id. Default: this process.
 * @throws {@link MallocBackendError} `ERR_PROCESS_NOT_FOUND`. `ERR_PROCESS_ACCESS`: this process has no permission to
 * inspect the other process; the other process has no program (a kernel thread, a zombie); or it has overwritten the
 * environment that shows its preloaded libraries. `ERR_INVALID_ARGUMENT`. `ERR_BACKEND_UNAVAILABLE` on other systems
 * than Linux. `ERR_BINARY_MISSING`.
 */
export function activeBackend(pid: number = process.pid): ActiveBackend {
  requireProcessId(pid);
  const native = linuxBinding();
  const own = pid === process.pid ? native.ownerHere() : undefined;
  return describe(own ?? native.ownerOf(pid));
}

/**
 * Throws if the value is not a process id.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`
 */
export function requireProcessId(pid: number): void {
  if (Number.isInteger(pid) && pid >= 1 && pid <= 0x7fff_ffff) return;
  throw invalidArgument(`the process id must be a positive integer, not ${shown(pid)}`);
}

/**
 * Throws if this process does not run on the backend. Call this function when your service starts: then an ignored or
 * forgotten preload does not go unnoticed.
 *
 * @throws {@link MallocBackendError} `ERR_NOT_APPLIED`: the process runs on another allocator. `ERR_UNKNOWN_BACKEND`. The
 * errors of {@link activeBackend}.
 */
export function assertBackend(backend: ProcessBackend): void {
  const expected = parseBackend(backend);
  const { backend: found, allocator, owner } = activeBackend();
  if (found === expected) return;
  throw new MallocBackendError(
    'ERR_NOT_APPLIED',
    `this process runs on ${allocator} (${owner}) and not on ${expected}; start it by "malloc-backend run ${expected} -- …", ` +
      'or import malloc-backend/register first',
  );
}

function describe({ kind, allocator = 'unknown', version, path }: Owner): ActiveBackend {
  const backend = kind === 'shim' ? parseBackend(allocator) : kind === 'libc' ? 'default' : undefined;
  return {
    kind,
    allocator,
    ...(backend === undefined ? {} : { backend }),
    ...(version === undefined ? {} : { version }),
    owner: path,
  };
}
