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
    `${title(allocator)}, or an allocator above it, was disposed; use another allocator`,
  );
}

/** `full` is the allocator whose limit is reached. */
export function limitExceeded(full: Allocator, bytes: number): MallocBackendError {
  return new MallocBackendError(
    'ERR_LIMIT_EXCEEDED',
    `${bytes} bytes would exceed the limit of ${title(full)}: the limit is ${full.limit} bytes, and ` +
      `${full.bytesAllocated} bytes are live; free something, or raise the limit`,
  );
}

export function outOfMemory({ backend }: Allocator, bytes: number): MallocBackendError {
  const reason =
    bytes > constants.MAX_LENGTH
      ? `a Buffer has at most ${constants.MAX_LENGTH} bytes`
      : `${backend} got no memory from the system`;
  return new MallocBackendError(
    'ERR_OUT_OF_MEMORY',
    `cannot allocate ${bytes} bytes: ${reason}; request less, or free something first`,
  );
}

export function noRegion({ backend }: Allocator): MallocBackendError {
  return new MallocBackendError(
    'ERR_BACKEND_UNAVAILABLE',
    process.platform === 'win32'
      ? 'there are no regions on Windows; use allocate()'
      : `${backend} cannot keep its own structures outside the region, where no view reaches them; use jemalloc`,
  );
}

export function externalUnsupported(): MallocBackendError {
  return new MallocBackendError(
    'ERR_EXTERNAL_BUFFERS_UNSUPPORTED',
    "this runtime allows no buffers over foreign memory (Electron, V8's sandbox); with {copy: 'allow'}, the runtime " +
      `makes a buffer of its own instead, aligned to 16 bytes at most`,
  );
}

export function heldBuffer(buffer: Uint8Array): MallocBackendError {
  return new MallocBackendError(
    'ERR_BUFFER_HELD',
    `the buffer of ${buffer.byteLength} bytes is held, so it cannot be resized; allocate another buffer, or wait until ` +
      `the last hold ends`,
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
      `${OwnedBuffer.whyNot(value, allocator)}; pass a buffer that allocate() of this allocator returned`,
  );
}
