import { MallocBackendError } from '../errors.js';

/** Whether this platform can switch a process's `malloc`. A single backend may be unavailable nevertheless. */
export const isSupported = (): boolean => process.platform === 'linux';

/** The reason why this platform does not support `what`. */
export const whyNotSupported = (what = "switching a process's malloc"): string =>
  `${what} works on Linux only for now, not on ${process.platform}`;

/**
 * Goes on without a switch and prints a line on standard error, because a missing switch must not go unnoticed. Throws if
 * the user did not allow this.
 *
 * @param asked - The option that allows it, and whether the user gave the option.
 */
export function leaveOut(asked: { by: string; given: boolean }, consequence: string): void {
  if (!asked.given) {
    throw new MallocBackendError(
      'ERR_BACKEND_UNAVAILABLE',
      `${whyNotSupported()}; with ${asked.by}, the program runs here without a switch`,
    );
  }
  console.error(`malloc-backend: ${whyNotSupported()}; ${consequence} (${asked.by})`);
}
