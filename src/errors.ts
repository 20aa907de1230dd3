import { inspect } from 'node:util';

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
 * | `ERR_SHIM_MISSING` | the preloadable library is not there, or lies where the loader cannot be pointed at |
 * | `ERR_PROGRAM_NOT_FOUND` | no such program |
 * | `ERR_PROGRAM_NOT_EXECUTABLE` | a file that cannot be executed |
 * | `ERR_CANNOT_SWITCH` | a program into which nothing can be preloaded |
 * | `ERR_FOREIGN_PRELOAD` | another allocator is preloaded where libc's was asked for |
 * | `ERR_NOT_APPLIED` | the program started, and did not get the backend |
 * | `ERR_PROCESS_NOT_FOUND` | no such process |
 * | `ERR_PROCESS_ACCESS` | a process that may not be looked into |
 * | `ERR_EXEC_FAILED` | the system refused to start the program |
 * | `ERR_OUT_OF_MEMORY` | the backend could not get the memory, or no buffer can be that long |
 * | `ERR_LIMIT_EXCEEDED` | an allocator's limit, or that of one above it, would be passed |
 * | `ERR_NOT_ALLOCATED` | what was to be freed or resized is no live buffer of this allocator |
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
  | 'ERR_SHIM_MISSING'
  | 'ERR_PROGRAM_NOT_FOUND'
  | 'ERR_PROGRAM_NOT_EXECUTABLE'
  | 'ERR_CANNOT_SWITCH'
  | 'ERR_FOREIGN_PRELOAD'
  | 'ERR_NOT_APPLIED'
  | 'ERR_PROCESS_NOT_FOUND'
  | 'ERR_PROCESS_ACCESS'
  | 'ERR_EXEC_FAILED'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_LIMIT_EXCEEDED'
  | 'ERR_NOT_ALLOCATED'
  | 'ERR_USE_AFTER_FREE'
  | 'ERR_DISPOSED'
  | 'ERR_EXTERNAL_BUFFERS_UNSUPPORTED';

/** A wrong value, as a message shows it. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  try {
    return inspect(value, { depth: 0 });
  } catch {
    // What inspects itself may fail to: an object that only inherits from a Buffer does.
    return `one of type ${typeof value}`;
  }
}

/** Every error of this package. The message says what was wrong and what to do; the `code` is stable. */
export class MallocBackendError extends Error {
  override readonly name = 'MallocBackendError';
  readonly code: MallocBackendErrorCode;

  constructor(code: MallocBackendErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
