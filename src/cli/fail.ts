import type { MallocBackendError, MallocBackendErrorCode } from '../errors.js';

/** Wrong usage, as bash has it. */
const USAGE = 2;
/** Found and not run, as a shell has it (POSIX, 2.8.2). */
const CANNOT_RUN = 126;
/** Not found, as a shell has it. */
const NOT_FOUND = 127;

const statuses: { readonly [Code in MallocBackendErrorCode]?: number } = {
  ERR_INVALID_ARGUMENT: USAGE,
  ERR_UNKNOWN_BACKEND: USAGE,
  ERR_UNKNOWN_PRESET: USAGE,
  ERR_UNKNOWN_OPTION: USAGE,
  ERR_PYTHON_CONFIG: USAGE,
  ERR_PROGRAM_NOT_FOUND: NOT_FOUND,
  ERR_PROCESS_NOT_FOUND: 1,
  ERR_PROCESS_ACCESS: 1,
};

/** Says what went wrong and gives the exit status for it. */
export function fail(error: unknown): number {
  // util.parseArgs has errors of its own.
  const misused = (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS_') === true;
  // By name: each command's file has a class of its own (npm/bundle.mjs).
  if (!misused && (error as Error).name !== 'MallocBackendError') throw error;
  console.error(`malloc-backend: ${(error as Error).message}`);
  return misused ? USAGE : (statuses[(error as MallocBackendError).code] ?? CANNOT_RUN);
}
