import { MallocBackendError, type MallocBackendErrorCode } from '../errors.js';

/** Exit statuses: 2 is wrong usage, as bash has it; 126 found and not run, and 127 not found, as a shell has it (POSIX, 2.8.2). */
const statuses: { readonly [Code in MallocBackendErrorCode]?: number } = {
  ERR_INVALID_ARGUMENT: 2,
  ERR_UNKNOWN_BACKEND: 2,
  ERR_UNKNOWN_PRESET: 2,
  ERR_UNKNOWN_OPTION: 2,
  ERR_CONFIG_INVALID: 2,
  ERR_PROGRAM_NOT_FOUND: 127,
  ERR_NOT_APPLIED: 1,
  ERR_PROCESS_NOT_FOUND: 1,
  ERR_PROCESS_ACCESS: 1,
  ERR_COMMAND_FAILED: 1,
  ERR_PORT_IN_USE: 1,
  ERR_SERVICE_NOT_READY: 1,
  ERR_SERVICE_FAILED: 1,
  ERR_LOAD_FAILED: 1,
  ERR_MEASURE_FAILED: 1,
  ERR_RESULTS_INVALID: 1,
  ERR_EXPORT_FAILED: 1,
  ERR_NO_GAIN: 1,
  ERR_GAIN_LOST: 1,
  ERR_PROMETHEUS_FAILED: 1,
  ERR_NOTHING_TO_COMPARE: 1,
  ERR_CANNOT_PROFILE: 1,
  ERR_PROFILE_RUNNING: 1,
  ERR_NO_PROFILE: 1,
  ERR_PROFILE_INVALID: 1,
  ERR_PROFILE_SOCKET: 1,
};

/** Says what went wrong and gives the exit status for it. */
export function fail(error: unknown): number {
  // util.parseArgs has errors of its own.
  const isMisused = (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS_') === true;
  // By its name: main.cjs has a class of its own (npm/bundle.mjs).
  if (!isMisused && (error as Error).name !== 'MallocBackendError') throw error;
  console.error(`malloc-backend: ${(error as Error).message}`);
  return isMisused ? 2 : (statuses[(error as MallocBackendError).code] ?? 126);
}
