import { invalidArgument, shown } from '../errors.js';

/** The largest alignment in bytes: 1 GiB, the size of the largest page. */
export const MAX_ALIGNMENT = 2 ** 30;

function invalid(message: string): never {
  throw invalidArgument(message);
}

/** Checks that `bytes` is a number of bytes. */
export function checkBytes(bytes: unknown, what = 'bytes'): asserts bytes is number {
  if (!Number.isSafeInteger(bytes) || (bytes as number) < 0) {
    invalid(`${what} must be an integer from 0 to 2^53 - 1, not ${shown(bytes)}`);
  }
}

/** Returns a checked number of bytes. For undefined, returns `absent`. */
export function bytesOr(bytes: unknown, absent: number, what: string): number {
  if (bytes === undefined || bytes === absent) return absent;
  checkBytes(bytes, what);
  return bytes;
}

export function checkAlignment(alignment: unknown): asserts alignment is number {
  // A power of two has one bit. `&` works on 32 bits, so the maximum is checked first.
  const valid =
    Number.isInteger(alignment) &&
    (alignment as number) >= 1 &&
    (alignment as number) <= MAX_ALIGNMENT &&
    ((alignment as number) & ((alignment as number) - 1)) === 0;
  if (!valid) {
    invalid(`alignment must be a power of two from 1 to ${MAX_ALIGNMENT} bytes, not ${shown(alignment)}`);
  }
}

export function flag(value: unknown, what: string): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') invalid(`${what} must be true or false, not ${shown(value)}`);
  return value;
}

export function optionalFunction<F>(value: F | undefined, what: string): F | undefined {
  if (value !== undefined && typeof value !== 'function') {
    invalid(`${what} must be a function, not ${shown(value)}`);
  }
  return value;
}

export function optionalString(value: unknown, what: string): string | undefined {
  if (value !== undefined && typeof value !== 'string') {
    invalid(`${what} must be a string, not ${shown(value)}`);
  }
  return value;
}
