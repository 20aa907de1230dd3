import { MallocBackendError } from '../errors.js';

/** Whether a process's `malloc` can be switched on this platform; whether a backend can serve here is another matter. */
export const isSupported = (): boolean => process.platform === 'linux';

/** Why not. */
export const whyNotSupported = (what = "switching a process's malloc"): string =>
  `${what} works on Linux only for now, not on ${process.platform}`;

/**
 * One line on standard error, because a switch that does not take place is not to go unnoticed; or, where the caller did not
 * say that it may be left out, an error.
 *
 * @param asked - What asks for that, and whether it was.
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
