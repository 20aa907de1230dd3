import { type MemoryAllocatorBackend, type ProcessBackend, parseBackend } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import type { Owner, OwnerKind } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';

/** What serves a process's `malloc`. */
export interface ActiveBackend {
  /**
   * - `shim`: a library of this package
   * - `foreign`: another allocator, preloaded or linked
   * - `libc`: the C library's
   * - `static`: the program is static and does not show what it contains
   */
  kind: OwnerKind;
  /** `jemalloc`, `mimalloc`, `snmalloc`, `tcmalloc`, `glibc`, `musl` …, or `unknown`. */
  allocator: string;
  /** The backend that this is: a shim's, and `default` for libc's. Absent for what is none of ours. */
  backend?: MemoryAllocatorBackend;
  /** The allocator's version, where it can be told without asking another process. */
  version?: string;
  /** The file whose `malloc` the process uses, as the process sees it: a library's, or the program's. */
  owner: string;
}

/**
 * Which library owns a process's `malloc`. For this process that is judged from the symbol that resolves, for
 * another from its maps.
 *
 * @param pid - Default: this process.
 * @throws {@link MallocBackendError} `ERR_PROCESS_NOT_FOUND`; `ERR_PROCESS_ACCESS` for one that may not be looked
 * into, that has no program (a kernel thread, a zombie), or that has overwritten what would tell;
 * `ERR_INVALID_ARGUMENT`; `ERR_BACKEND_UNAVAILABLE` on other systems than Linux; `ERR_BINARY_MISSING`
 */
export function activeBackend(pid: number = process.pid): ActiveBackend {
  if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `the process id must be a positive integer, not ${shown(pid)}`,
    );
  }
  const native = linuxBinding();
  const own = pid === process.pid ? native.ownerHere() : undefined;
  return describe(own ?? native.ownerOf(pid));
}

/**
 * Makes sure that this process runs on the backend: a service calls it at its start, so that a preload that was ignored or
 * forgotten does not go unnoticed.
 *
 * @throws {@link MallocBackendError} `ERR_NOT_APPLIED`: the process runs on another allocator. `ERR_UNKNOWN_BACKEND`, and
 * as {@link activeBackend}
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
