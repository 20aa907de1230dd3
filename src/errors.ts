/**
 * The stable codes of {@link MallocBackendError}.
 *
 * | code | what was wrong |
 * | --- | --- |
 * | `ERR_INVALID_ARGUMENT` | an argument of the wrong type or out of its range |
 * | `ERR_UNKNOWN_BACKEND` | a name that is none of the five backends |
 * | `ERR_UNKNOWN_PRESET` | a name that is none of the presets |
 * | `ERR_UNKNOWN_OPTION` | an allocator option that the backend does not have |
 * | `ERR_BACKEND_UNAVAILABLE` | the backend cannot serve the surface on this platform or in this build |
 * | `ERR_BINARY_MISSING` | the platform's package is not installed, or its addon does not load |
 * | `ERR_NOT_PERMITTED` | Node was told to load no addon, or its permission model forbids to read what is needed |
 * | `ERR_SHIM_MISSING` | the preloadable library is not there, cannot be loaded, or lies where the loader cannot be pointed at |
 * | `ERR_PROGRAM_NOT_FOUND` | no such program |
 * | `ERR_PROGRAM_NOT_EXECUTABLE` | a file that cannot be executed |
 * | `ERR_CANNOT_SWITCH` | a program into which nothing can be preloaded |
 * | `ERR_FOREIGN_PRELOAD` | `/etc/ld.so.preload` names another allocator, where libc's was asked for |
 * | `ERR_NOT_APPLIED` | the program started, and did not get the backend |
 * | `ERR_PROCESS_NOT_FOUND` | no such process |
 * | `ERR_PROCESS_ACCESS` | a process that may not be looked into |
 * | `ERR_EXEC_FAILED` | the system refused to start the program |
 * | `ERR_CANNOT_RELEASE` | the allocator has no way to give memory back on request |
 * | `ERR_CGROUP_UNREADABLE` | the files of the memory cgroup are not there or may not be read |
 * | `ERR_PYTHON_CONFIG` | a choice of domains that contradicts itself or would do nothing; a libpython of another interpreter |
 * | `ERR_PYTHON_ENVIRONMENT` | a variable or an option with which Python would discard the allocators chosen for it |
 * | `ERR_PYTHON_UNSUPPORTED` | not CPython, older than 3.8, or a build that cannot be set up so |
 * | `ERR_PYTHON_START` | the interpreter did not start, now or before in this process, or none runs |
 * | `ERR_PYTHON_RUNNING` | an interpreter with other options runs in this process |
 * | `ERR_PYTHON_EXCEPTION` | Python raised: see {@link PythonError} |
 * | `ERR_PYTHON_VALUE` | a value that the other language has no equivalent for |
 * | `ERR_LIBPYTHON_NOT_FOUND` | the interpreter has no shared library, or it does not load |
 * | `ERR_ABORTED` | a signal stopped the wait |
 * | `ERR_OUT_OF_MEMORY` | the backend could not get the memory, or no buffer can be that long |
 * | `ERR_LIMIT_EXCEEDED` | an allocator's limit, or that of one above it, would be passed |
 * | `ERR_NOT_ALLOCATED` | what was to be freed or resized is no live buffer of this allocator |
 * | `ERR_BUFFER_HELD` | a buffer that is held cannot be resized |
 * | `ERR_USE_AFTER_FREE` | a block of a region in debug mode was written to after it was freed |
 * | `ERR_DISPOSED` | the allocator or region was disposed |
 * | `ERR_EXTERNAL_BUFFERS_UNSUPPORTED` | the runtime allows no buffers over memory that is not its own |
 */
export type MallocBackendErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_UNKNOWN_BACKEND'
  | 'ERR_UNKNOWN_PRESET'
  | 'ERR_UNKNOWN_OPTION'
  | 'ERR_BACKEND_UNAVAILABLE'
  | 'ERR_BINARY_MISSING'
  | 'ERR_NOT_PERMITTED'
  | 'ERR_SHIM_MISSING'
  | 'ERR_PROGRAM_NOT_FOUND'
  | 'ERR_PROGRAM_NOT_EXECUTABLE'
  | 'ERR_CANNOT_SWITCH'
  | 'ERR_FOREIGN_PRELOAD'
  | 'ERR_NOT_APPLIED'
  | 'ERR_PROCESS_NOT_FOUND'
  | 'ERR_PROCESS_ACCESS'
  | 'ERR_EXEC_FAILED'
  | 'ERR_CANNOT_RELEASE'
  | 'ERR_CGROUP_UNREADABLE'
  | 'ERR_PYTHON_CONFIG'
  | 'ERR_PYTHON_ENVIRONMENT'
  | 'ERR_PYTHON_UNSUPPORTED'
  | 'ERR_PYTHON_START'
  | 'ERR_PYTHON_RUNNING'
  | 'ERR_PYTHON_EXCEPTION'
  | 'ERR_PYTHON_VALUE'
  | 'ERR_LIBPYTHON_NOT_FOUND'
  | 'ERR_ABORTED'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_LIMIT_EXCEEDED'
  | 'ERR_NOT_ALLOCATED'
  | 'ERR_BUFFER_HELD'
  | 'ERR_USE_AFTER_FREE'
  | 'ERR_DISPOSED'
  | 'ERR_EXTERNAL_BUFFERS_UNSUPPORTED';

/** A wrong value, as a message shows it. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  // Not before it is needed: a bundle that cannot load what is Node's is told so by this module's error (bundled.ts).
  const { inspect } = require('node:util') as typeof import('node:util');
  try {
    return inspect(value, { depth: 0 });
  } catch {
    // What inspects itself may fail to: an object that only inherits from a Buffer does.
    return `one of type ${typeof value}`;
  }
}

/** Every error of this package. The message says what was wrong and what to do; the `code` is stable. */
export class MallocBackendError extends Error {
  override readonly name: string = 'MallocBackendError';
  readonly code: MallocBackendErrorCode;

  constructor(code: MallocBackendErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
