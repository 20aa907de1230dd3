import { join } from 'node:path';
import { MallocBackendError } from './errors.js';
import type { Backend, BackendInBuild } from './native/binding.js';
import { binaryFolder, binding } from './native/loader.js';
import { didYouMean } from './nearest.js';

export type { BackendStats } from './native/binding.js';

/**
 * The names of the backends. The enum has the names of PyOxidizer's enum, as strings.
 *
 * - `default`: the allocator of the C library or, if another allocator has replaced it, that allocator
 * - `jemalloc`: not on Windows
 * - `mimalloc`
 * - `snmalloc`
 * - `rust`: Rust's global allocator in the addon. It cannot serve a whole process.
 */
export const MemoryAllocatorBackend = {
  Default: 'default',
  Jemalloc: 'jemalloc',
  Mimalloc: 'mimalloc',
  Snmalloc: 'snmalloc',
  Rust: 'rust',
} as const satisfies { [Name in Backend as Capitalize<Name>]: Name };

/** The name of a backend. */
export type MemoryAllocatorBackend = (typeof MemoryAllocatorBackend)[keyof typeof MemoryAllocatorBackend];

/** A backend that can serve a whole process. Rust's global allocator cannot, because it uses `malloc` itself. */
export type ProcessBackend = Exclude<MemoryAllocatorBackend, 'rust'>;

const names: readonly string[] = Object.values(MemoryAllocatorBackend);

/** Tells whether the value is the name of a backend. */
export function isBackend(name: unknown): name is MemoryAllocatorBackend {
  return typeof name === 'string' && names.includes(name);
}

/**
 * Checks that a value is the name of a backend, and returns the name.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`. The message lists the five names.
 */
export function parseBackend(name: unknown): MemoryAllocatorBackend {
  if (isBackend(name)) return name;
  const shown =
    typeof name === 'string' ? JSON.stringify(name) : `of type ${name === null ? 'null' : typeof name}`;
  const rest = didYouMean(name, names, `; it must be one of: ${names.join(', ')}`);
  throw new MallocBackendError('ERR_UNKNOWN_BACKEND', `unknown memory allocator backend ${shown}${rest}`);
}

/** The backend that the package prefers: `jemalloc`, but `default` on Windows. */
export function preferredBackend(): MemoryAllocatorBackend {
  return process.platform === 'win32' ? 'default' : 'jemalloc';
}

/** Whether a backend is available, and if not, the reason. */
export interface Availability {
  available: boolean;
  /** The reason, if the backend is not available. */
  reason?: string;
}

/** A backend, and where it works. */
export interface BackendInfo extends Availability {
  backend: MemoryAllocatorBackend;
  /**
   * The allocator's version, if known. For `rust`: the name and version of the allocator that Rust uses. For `default`: the
   * C library's name and version. musl tells no version, so there it is the name alone.
   */
  version?: string;
  /** For each part of the package that uses backends: whether this backend works there. */
  surfaces: {
    /** The `malloc` of a whole process: `run`, `spawn`, `fork`, `environment`, `register`. */
    process: Availability;
    /** Python's allocator domains: `spawnPython`, `malloc-backend python`, `PythonInterpreter`. */
    python: Availability;
    /** Single buffers: `Allocator`. */
    allocator: Availability;
  };
}

let inBuild: readonly BackendInBuild[] | undefined;

/** Cached, because the answer does not change, and the look-up of the C library's version takes a millisecond. */
const inThisBuild = () => (inBuild ??= binding().backends());

/**
 * Lists the five backends, with their versions, and tells where each works on this platform and in this build.
 *
 * @throws {@link MallocBackendError} `ERR_BINARY_MISSING`
 */
export function backends(): BackendInfo[] {
  // All libraries are in one folder.
  const unnameable = whyNotPreloadable(binaryFolder());
  return inThisBuild().map(({ name: backend, unavailable, version }) => {
    return {
      backend,
      ...availability(unavailable),
      ...(version === undefined ? {} : { version }),
      surfaces: {
        process: availability(whyNotProcess(backend) ?? unnameable ?? unavailable),
        python: availability(whyNotPython() ?? unnameable ?? unavailable),
        allocator: availability(unavailable),
      },
    };
  });
}

/** The reason why this build does not have the backend, or undefined. */
export function whyNotAvailable(backend: MemoryAllocatorBackend): string | undefined {
  return inThisBuild().find(({ name }) => name === backend)?.unavailable;
}

/** The backend that the addon's Rust code itself allocates from. `default` is the system's allocator. */
export function rustGlobalAllocator(): MemoryAllocatorBackend {
  return binding().globalAllocator();
}

function availability(reason: string | undefined): Availability {
  return reason === undefined ? { available: true } : { available: false, reason };
}

/** The file of the preloadable library. For `default` this library is the probe. */
export function shimFile(backend: MemoryAllocatorBackend): string {
  return join(binaryFolder(), `libmalloc_backend_${backend}.so`);
}

/** The file of the hook: the preloadable library that sets Python's domains. */
export const hookFile = (): string => join(binaryFolder(), 'libmalloc_backend_python_hook.so');

/** The reason why `LD_PRELOAD` cannot name a file, or undefined. The loader splits it at white space and colons. */
export function whyNotPreloadable(file: string): string | undefined {
  return binding().linux?.whyNotPreloadable(file) ?? undefined;
}

/** The reason why no backend can serve Python's domains here, or undefined. */
export function whyNotPython(): string | undefined {
  const { linux } = binding();
  if (linux !== undefined) return linux.whyNotUsable(hookFile()) ?? undefined;
  return `Python's domains are set on Linux only for now, not on ${process.platform}`;
}

/** The reason why the backend cannot serve a whole process here, or undefined. */
export function whyNotProcess(backend: MemoryAllocatorBackend): string | undefined {
  const { linux } = binding();
  if (linux !== undefined) return linux.whyNotProcess(backend, binaryFolder()) ?? undefined;
  return `switching a process's malloc works on Linux only for now, not on ${process.platform}`;
}
