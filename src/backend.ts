import { join } from 'node:path';
import { MallocBackendError } from './errors.js';
import type { Backend, BackendInBuild } from './native/binding.js';
import { binaryFolder, binding } from './native/loader.js';
import { didYouMean } from './nearest.js';

export type { BackendStats } from './native/binding.js';

/**
 * Which memory allocator serves: PyOxidizer's enum of the same name, as strings.
 *
 * - `default`: the C library's, or what already took its place
 * - `jemalloc`: not on Windows
 * - `mimalloc`
 * - `snmalloc`
 * - `rust`: Rust's global allocator within the addon; it cannot serve a whole process
 */
export const MemoryAllocatorBackend = {
  Default: 'default',
  Jemalloc: 'jemalloc',
  Mimalloc: 'mimalloc',
  Snmalloc: 'snmalloc',
  Rust: 'rust',
} as const satisfies { [Name in Backend as Capitalize<Name>]: Name };

/** One of the five strings. */
export type MemoryAllocatorBackend = (typeof MemoryAllocatorBackend)[keyof typeof MemoryAllocatorBackend];

/** A backend that can serve a whole process. Rust's global allocator cannot: it stands on `malloc`. */
export type ProcessBackend = Exclude<MemoryAllocatorBackend, 'rust'>;

const names: readonly string[] = Object.values(MemoryAllocatorBackend);

/** Whether the value is the name of a backend. */
export function isBackend(name: unknown): name is MemoryAllocatorBackend {
  return typeof name === 'string' && names.includes(name);
}

/**
 * The backend of that name.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`, which lists the five.
 */
export function parseBackend(name: unknown): MemoryAllocatorBackend {
  if (isBackend(name)) return name;
  const shown =
    typeof name === 'string' ? JSON.stringify(name) : `of type ${name === null ? 'null' : typeof name}`;
  const rest = didYouMean(name, names, `; it must be one of: ${names.join(', ')}`);
  throw new MallocBackendError('ERR_UNKNOWN_BACKEND', `unknown memory allocator backend ${shown}${rest}`);
}

/** The enum's default value: `jemalloc`, and on Windows `default`. */
export function preferredBackend(): MemoryAllocatorBackend {
  return process.platform === 'win32' ? 'default' : 'jemalloc';
}

/** Whether something can be had, and if not, why. */
export interface Availability {
  available: boolean;
  /** Why not. */
  reason?: string;
}

/** A backend and where it can serve. */
export interface BackendInfo extends Availability {
  backend: MemoryAllocatorBackend;
  /** The allocator's version, where it has one. For `rust`: the name and version of what it stands on. */
  version?: string;
  surfaces: {
    /** Every `malloc` of a program: `run`, `spawn`, `fork`, `environment`, `register`. */
    process: Availability;
    /** The domains of a Python: `spawnPython`, `python`, `PythonInterpreter`. */
    python: Availability;
    /** Single buffers: `Allocator`. */
    allocator: Availability;
  };
}

let inBuild: readonly BackendInBuild[] | undefined;

/** Asked once: it stays as it is, and to find out the C library's version takes a millisecond. */
const inThisBuild = () => (inBuild ??= binding().backends());

/**
 * The five backends, whether this build has them, and where they can serve on this platform.
 *
 * @throws {@link MallocBackendError} `ERR_BINARY_MISSING`
 */
export function backends(): BackendInfo[] {
  // All libraries lie in one folder.
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

/** Why the backend is not to be had here, if it is not. */
export function whyNotAvailable(backend: MemoryAllocatorBackend): string | undefined {
  return inThisBuild().find(({ name }) => name === backend)?.unavailable;
}

/** The backend that the addon's own Rust global allocator stands on; `default` is the system's. */
export function rustGlobalAllocator(): MemoryAllocatorBackend {
  return binding().globalAllocator();
}

function availability(reason: string | undefined): Availability {
  return reason === undefined ? { available: true } : { available: false, reason };
}

/** The file of the preloadable library; for `default` that of its probe. */
export function shimFile(backend: MemoryAllocatorBackend): string {
  return join(binaryFolder(), `libmalloc_backend_${backend}.so`);
}

/** The preloaded library that sets Python's domains. */
export const hookFile = (): string => join(binaryFolder(), 'libmalloc_backend_python_hook.so');

/** Why the loader cannot be pointed at a file, if it cannot: it takes white space and colons for separators. */
export function whyNotPreloadable(file: string): string | undefined {
  return binding().linux?.whyNotPreloadable(file) ?? undefined;
}

/** Why no backend can serve Python's domains here, if none can. */
export function whyNotPython(): string | undefined {
  const { linux } = binding();
  if (linux !== undefined) return linux.whyNotUsable(hookFile()) ?? undefined;
  return `Python's domains are set on Linux only for now, not on ${process.platform}`;
}

/** Why the backend cannot serve a whole process here, if it cannot. */
export function whyNotProcess(backend: MemoryAllocatorBackend): string | undefined {
  const { linux } = binding();
  if (linux !== undefined) return linux.whyNotProcess(backend, binaryFolder()) ?? undefined;
  return `switching a process's malloc works on Linux only for now, not on ${process.platform}`;
}
