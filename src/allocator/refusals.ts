// The errors of an allocator.

import { constants } from 'node:buffer';
import { isUint8Array } from 'node:util/types';
import type { MemoryAllocatorBackend } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import { OwnedBuffer } from './buffer.js';

/** The properties of an allocator that its errors mention. */
interface Allocator {
  readonly backend: MemoryAllocatorBackend;
  readonly name: string | undefined;
  readonly limit: number;
  readonly bytesAllocated: number;
}

function title({ name, backend }: Allocator): string {
  return name === undefined ? `this ${backend} allocator` : `allocator ${shown(name)}`;
}

export function disposed(allocator: Allocator): MallocBackendError {
  return new MallocBackendError(
    'ERR_DISPOSED',
    `${title(allocator)} was disposed, or one above it; allocate from one that is in use`,
  );
}

/** `full` is the allocator whose limit is reached. */
export function limitExceeded(full: Allocator, bytes: number): MallocBackendError {
  return new MallocBackendError(
    'ERR_LIMIT_EXCEEDED',
    `${bytes} bytes would take ${title(full)} past its limit of ${full.limit} bytes: ${full.bytesAllocated} are ` +
      `live. Free some, or raise the limit.`,
  );
}

export function outOfMemory({ backend }: Allocator, bytes: number): MallocBackendError {
  const reason =
    bytes > constants.MAX_LENGTH
      ? `a Buffer has at most ${constants.MAX_LENGTH}`
      : `${backend} could not get them from the system`;
  return new MallocBackendError(
    'ERR_OUT_OF_MEMORY',
    `${bytes} bytes cannot be had: ${reason}; ask for less, or free something first`,
  );
}

export function noRegion({ backend }: Allocator): MallocBackendError {
  return new MallocBackendError(
    'ERR_BACKEND_UNAVAILABLE',
    process.platform === 'win32'
      ? 'there are no regions on Windows; use allocate()'
      : `${backend} cannot keep a heap within a range and its structures outside, where no view reaches them; take jemalloc`,
  );
}

export function externalUnsupported(): MallocBackendError {
  return new MallocBackendError(
    'ERR_EXTERNAL_BUFFERS_UNSUPPORTED',
    "this runtime allows no buffers over memory that is not its own (Electron, V8's sandbox); with {copy: 'allow'} " +
      `it makes one of its own instead, aligned to 16 bytes at most`,
  );
}

export function heldBuffer(buffer: Uint8Array): MallocBackendError {
  return new MallocBackendError(
    'ERR_BUFFER_HELD',
    `the buffer of ${buffer.byteLength} bytes is held, and cannot be resized; allocate another one, or wait until ` +
      `nothing holds it any more`,
  );
}

/** The error for a value that the allocator cannot free, hold or resize. `what` is the participle in the message. */
export function notAllocated(
  value: unknown,
  allocator: Parameters<typeof OwnedBuffer.whyNot>[1],
  what: string,
): MallocBackendError {
  const isBuffer = isUint8Array(value);
  return new MallocBackendError(
    isBuffer ? 'ERR_NOT_ALLOCATED' : 'ERR_INVALID_ARGUMENT',
    `${isBuffer ? `the buffer of ${value.byteLength} bytes` : shown(value)} cannot be ${what} here: ` +
      `${OwnedBuffer.whyNot(value, allocator)}; give what allocate() of this allocator returned`,
  );
}
