import { CommanderError } from 'commander';
import { MallocBackendError, type MallocBackendErrorCode } from '../errors.js';

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
  ERR_PROGRAM_NOT_FOUND: NOT_FOUND,
  ERR_PROCESS_NOT_FOUND: 1,
  ERR_PROCESS_ACCESS: 1,
};

/** Says what went wrong and gives the exit status for it. */
export function report(error: unknown): number {
  // commander has said it already; help and the version are no failures.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (!(error instanceof MallocBackendError)) throw error;
  console.error(`malloc-backend: ${error.message}`);
  return statuses[error.code] ?? CANNOT_RUN;
}
