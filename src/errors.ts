/** The codes of {@link MallocBackendError}. They do not change. docs/errors.md lists all codes, with messages and remedies. */
export type MallocBackendErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_UNKNOWN_BACKEND'
  | 'ERR_UNKNOWN_PRESET'
  | 'ERR_UNKNOWN_OPTION'
  | 'ERR_CONFIG_INVALID'
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
  | 'ERR_CANNOT_PROFILE'
  | 'ERR_PROFILE_RUNNING'
  | 'ERR_NO_PROFILE'
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
  | 'ERR_EXTERNAL_BUFFERS_UNSUPPORTED'
  | 'ERR_COMMAND_FAILED'
  | 'ERR_MEASURE_FAILED'
  | 'ERR_SERVICE_NOT_READY'
  | 'ERR_SERVICE_FAILED'
  | 'ERR_PORT_IN_USE'
  | 'ERR_LOAD_FAILED'
  | 'ERR_NO_GAIN'
  | 'ERR_GAIN_LOST'
  | 'ERR_RESULTS_INVALID'
  | 'ERR_EXPORT_FAILED'
  | 'ERR_PROMETHEUS_FAILED'
  | 'ERR_NOTHING_TO_COMPARE'
  | 'ERR_PROFILE_INVALID'
  | 'ERR_PROFILE_SOCKET';

/** The text for a wrong value in a message. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  // Loaded only when needed: in a bundle that cannot load Node's modules, this module must still load and throw its
  // error (bundled.ts).
  const { inspect } = require('node:util') as typeof import('node:util');
  try {
    return inspect(value, { depth: 0 });
  } catch {
    // An object's own inspect method may throw: for example, that of an object that only inherits from a Buffer.
    return `one of type ${typeof value}`;
  }
}

/**
 * Every error of this package. The `code` does not change between versions. The message names the wrong value and, in
 * most cases, the remedy. docs/errors.md lists every code with its messages.
 */
export class MallocBackendError extends Error {
  override readonly name: string = 'MallocBackendError';
  readonly code: MallocBackendErrorCode;

  constructor(code: MallocBackendErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The error of a wrong argument or option: the message says which value is wrong, and which is right. */
export function invalidArgument(message: string, options?: ErrorOptions): MallocBackendError {
  return new MallocBackendError('ERR_INVALID_ARGUMENT', message, options);
}
