import { constants } from 'node:buffer';
import {
  type BackendStats,
  type MemoryAllocatorBackend,
  preferredBackend,
  parseBackend,
  whyNotAvailable,
} from '../backend.js';
import type { NativeAllocator } from '../native/binding.js';
import { type Addon, binding } from '../native/loader.js';
import { MallocBackendError } from '../errors.js';
import { checkOptions, namesOf, requireOptions } from '../options.js';
import { bytesOr, checkAlignment, checkBytes, flag, optionalFunction, optionalString } from './arguments.js';
import { type AllocatedBuffer, FREED, HELD, OwnedBuffer } from './buffer.js';
import { Hold, Holds, checkPromise } from './hold.js';
import { type Leak, Observer } from './observer.js';
import {
  disposed,
  externalUnsupported,
  heldBuffer,
  limitExceeded,
  noRegion,
  notAllocated,
  outOfMemory,
} from './refusals.js';
import { REGION_OPTIONS, Region, type RegionOptions } from './region.js';
import {
  ALLOCATE_OPTIONS,
  type AllocateOptions,
  type AllocatorOptions,
  ALLOCATOR_OPTIONS,
  mayCopy,
} from './options.js';

const REALLOCATE_OPTIONS = namesOf<{ zero?: boolean }>({ zero: true });
const FREE_OPTIONS = namesOf<{ after: unknown }>({ after: true });
const HOLD_OPTIONS = namesOf<{ until: unknown }>({ until: true });

/** {@link BackendStats}, and what the allocator adds. */
export interface AllocatorStats extends BackendStats {
  /** Bytes of freed blocks in this allocator's quarantine. */
  quarantined: number;
  /** How many blocks were found to have been written to while they were there. */
  damaged: number;
}

/** The addon's numbers. They are there once an allocator is. */
let Refused!: Addon['Refused'];
let AllocateFlag!: Addon['AllocateFlag'];

/** What only this module has: in plain JavaScript nothing else keeps the constructor private. */
const MAKE = Symbol('make');

/**
 * Buffers from a backend, freed by hand.
 *
 * An allocator belongs to the thread that made it. What it has handed out stays usable after it was disposed, and is
 * freed when it is freed by hand or collected.
 */
export class Allocator implements Disposable {
  readonly backend: MemoryAllocatorBackend;
  readonly name: string | undefined;
  /** In bytes; `Infinity` for none. */
  readonly limit: number;
  readonly #native: NativeAllocator;
  readonly #parent: Allocator | undefined;
  readonly #options: AllocatorOptions;
  readonly #observer: Observer | undefined;
  /** What the native side is given and answers. */
  readonly #numbers = new Float64Array(3);
  /** The buffers that something holds. */
  #holds: Holds | undefined;
  /** Damaged blocks that were reported. */
  #damaged = 0;
  #disposed = false;

  private constructor(
    make: typeof MAKE,
    backend: MemoryAllocatorBackend,
    options: AllocatorOptions,
    parent: Allocator | undefined,
  ) {
    if (make !== MAKE) {
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        'an Allocator is not made by new; use Allocator.create(backend, options), or child() of another',
      );
    }
    requireOptions(options, ALLOCATOR_OPTIONS);
    this.backend = backend;
    this.name = optionalString(options.name, 'name');
    this.limit = bytesOr(options.limit, Infinity, 'limit');
    const quarantine = bytesOr(options.quarantine, 0, 'quarantine');
    this.#observer = Observer.of(optionalFunction(options.log, 'log'), flag(options.trace, 'trace'));
    this.#options = options;
    this.#parent = parent;
    ({ Refused, AllocateFlag } = binding());
    this.#native =
      parent === undefined
        ? binding().createAllocator(backend, this.limit, quarantine, this.#numbers)
        : parent.#native.child(this.limit, quarantine, this.#numbers);
  }

  /**
   * An allocator over a backend.
   *
   * @param backend - Default: {@link preferredBackend}.
   * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`, `ERR_BACKEND_UNAVAILABLE`, `ERR_BINARY_MISSING`,
   * `ERR_INVALID_ARGUMENT`
   */
  static create(
    backend: MemoryAllocatorBackend = preferredBackend(),
    options: AllocatorOptions = {},
  ): Allocator {
    const parsed = parseBackend(backend);
    const missing = whyNotAvailable(parsed);
    if (missing !== undefined) {
      throw new MallocBackendError(
        'ERR_BACKEND_UNAVAILABLE',
        `${parsed} cannot allocate here: ${missing}; backends() lists those that can`,
      );
    }
    return new Allocator(MAKE, parsed, options, undefined);
  }

  /**
   * The bytes and the buffers that are live on a backend in this process: those of all allocators, in all threads,
   * and the bytes of their regions' blocks.
   *
   * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`, `ERR_BINARY_MISSING`
   */
  static everywhere(backend: MemoryAllocatorBackend): { bytesAllocated: number; buffers: number } {
    const { bytes, buffers } = binding().allocatedEverywhere(parseBackend(backend));
    return { bytesAllocated: bytes, buffers };
  }

  /**
   * A buffer of `bytes` bytes. Its contents are undefined unless `zero` is set.
   *
   * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_LIMIT_EXCEEDED`, `ERR_OUT_OF_MEMORY`,
   * `ERR_DISPOSED`, `ERR_EXTERNAL_BUFFERS_UNSUPPORTED`. After each of them all else goes on as before.
   */
  allocate(bytes: number, options?: AllocateOptions): AllocatedBuffer {
    checkBytes(bytes);
    if (!this.#open) throw disposed(this);
    let alignment = 1;
    let flags = 0;
    if (options !== undefined) {
      requireOptions(options, ALLOCATE_OPTIONS);
      if (options.alignment !== undefined) checkAlignment((alignment = options.alignment));
      flags =
        (flag(options.zero, 'zero') ? AllocateFlag.Zero : 0) |
        (mayCopy(options.copy) ? AllocateFlag.Copy : 0);
    }
    if (bytes > constants.MAX_LENGTH) throw outOfMemory(this, bytes);
    this.#numbers[0] = bytes;
    this.#numbers[1] = alignment;
    this.#numbers[2] = flags;
    const memory = this.#native.allocate();
    const answer = this.#numbers[0];
    if (memory === undefined) throw this.#refusal(answer, bytes, bytes);
    const buffer = new OwnedBuffer(memory, this, answer) as unknown as AllocatedBuffer;
    if (this.#observer !== undefined) {
      this.#observer.made(buffer, answer, this.allocate);
      this.#observer.emit({ type: 'allocate', bytes });
    }
    return buffer;
  }

  /**
   * A buffer of `bytes` bytes in place of `buffer`, which is empty from then on: the contents are kept as far as they
   * fit, the alignment as well. What is new is undefined unless `zero` is set. After an error `buffer` is as before.
   *
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED`, `ERR_BUFFER_HELD` and the errors of {@link allocate}
   */
  reallocate(buffer: Uint8Array, bytes: number, options?: { zero?: boolean }): AllocatedBuffer {
    checkBytes(bytes);
    checkOptions(options, REALLOCATE_OPTIONS);
    const zero = flag(options?.zero, 'zero') ? AllocateFlag.Zero : 0;
    if (!this.#open) throw disposed(this);
    const slot = OwnedBuffer.slotOf(buffer, this);
    if (slot < 0) throw slot === HELD ? heldBuffer(buffer) : notAllocated(buffer, this, 'resized');
    const before = buffer.byteLength;
    if (bytes > constants.MAX_LENGTH) throw outOfMemory(this, bytes);
    this.#numbers[0] = slot;
    this.#numbers[1] = bytes;
    this.#numbers[2] = zero;
    const memory = this.#native.reallocate(OwnedBuffer.memoryOf(buffer));
    const answer = this.#numbers[0];
    if (memory === undefined) {
      if (answer === Refused.NotAllocated) throw notAllocated(buffer, this, 'resized');
      throw this.#refusal(answer, bytes, bytes - before);
    }
    OwnedBuffer.mark(buffer, FREED);
    const resized = new OwnedBuffer(memory, this, answer) as unknown as AllocatedBuffer;
    if (this.#observer !== undefined) {
      this.#observer.gone(buffer, slot);
      this.#observer.made(resized, answer, this.reallocate);
      this.#observer.emit({ type: 'reallocate', bytes, before });
    }
    return resized;
  }

  /**
   * Frees the buffer: from then on it and every view on it is empty. At once, or, where something holds it
   * ({@link hold}), once nothing does any more; until then it stays as it is, and its bytes count.
   *
   * Nothing tells whether a job of Node's still reads a buffer that nobody holds (a response that is being sent, `fs`,
   * `zlib`, `crypto`): hold it for the job, or wait for the job, or give its promise as `after`.
   *
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED`: a buffer that was freed or transferred before, another
   * allocator's, a view on one, a plain one. `ERR_INVALID_ARGUMENT`
   */
  free(buffer: Uint8Array): void;
  /**
   * Frees the buffer once a promise has settled, either way, and nothing else holds it. Until then it stays as it is.
   *
   * @returns Resolves once it is freed. That `after` was rejected is no concern of it.
   * @throws {@link MallocBackendError} As the other, at once.
   */
  free(buffer: Uint8Array, options: { after: PromiseLike<unknown> }): Promise<void>;
  free(buffer: Uint8Array, options?: { after: PromiseLike<unknown> }): void | Promise<void> {
    const slot = OwnedBuffer.slotOf(buffer, this);
    if (slot >= 0 && options === undefined) return this.#free(buffer, slot);
    if (slot < 0 && slot !== HELD) throw notAllocated(buffer, this, 'freed');
    if (options === undefined) return this.#holds!.claim(buffer);
    requireOptions(options, FREE_OPTIONS);
    const { after } = options;
    checkPromise(after, 'after');
    const holds = this.#hold(buffer, 'freed');
    holds.releaseAfter(after, buffer);
    return holds.claimed(buffer);
  }

  /**
   * Holds the buffer: its memory stays as it is until the hold is released, also when the buffer is freed meanwhile. For
   * whoever still reads a buffer that another one may free, as a cache does with what it evicts. There can be any number
   * of holds on a buffer. Its bytes count until the last one is released.
   *
   * @returns What releases it, by `release()` or `using`. One that is collected with its buffer needs no release.
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED`: as for {@link free}. What was freed cannot be held any more.
   * `ERR_INVALID_ARGUMENT`
   */
  hold(buffer: Uint8Array): Hold;
  /**
   * Holds the buffer until a promise has settled, either way: `hold(buffer, { until: finished(response) })`, with
   * `finished` of `node:stream/promises`, before `response.end(buffer)`.
   *
   * @throws {@link MallocBackendError} As the other, at once. That `until` is rejected is no error here.
   */
  hold(buffer: Uint8Array, options: { until: PromiseLike<unknown> }): void;
  hold(buffer: Uint8Array, options?: { until: PromiseLike<unknown> }): Hold | void {
    if (options !== undefined) {
      requireOptions(options, HOLD_OPTIONS);
      checkPromise(options.until, 'until');
    }
    const holds = this.#hold(buffer, 'held');
    if (options === undefined) return new Hold(() => holds.release(buffer));
    holds.releaseAfter(options.until, buffer);
  }

  /** Whether the buffer is a live one of this allocator that was not freed. One of a child's is the child's. */
  owns(buffer: unknown): boolean {
    let slot = OwnedBuffer.slotOf(buffer, this);
    if (slot === HELD) slot = this.#holds!.slotOf(buffer as object);
    return slot >= 0 && this.#native.holds(OwnedBuffer.memoryOf(buffer as object), slot);
  }

  /**
   * Bytes in live buffers and in regions' blocks, those of its children included. Blocks that a region in debug mode
   * holds back are among them.
   */
  get bytesAllocated(): number {
    return this.#native.stats()[0]!;
  }

  /** The most that {@link bytesAllocated} has been. */
  get maxMemory(): number {
    return this.#native.stats()[1]!;
  }

  /** All bytes ever allocated; a reallocation counts what it added. */
  get totalBytesAllocated(): number {
    return this.#native.stats()[2]!;
  }

  /** How many allocations and reallocations were made. */
  get allocations(): number {
    return this.#native.stats()[3]!;
  }

  /** How many buffers are live, those of its children included. */
  get buffers(): number {
    return this.#native.stats()[4]!;
  }

  /**
   * What the backend tells of itself, for the whole process: other allocators on it, and for `default` everything
   * that uses `malloc`, are in these figures too.
   */
  stats(): AllocatorStats {
    const [, , , , , quarantined = 0, damaged = 0] = this.#native.stats();
    return { ...binding().backendStats(this.backend), quarantined, damaged };
  }

  /**
   * Empties the quarantine, frees what is kept for the next requests, and has the backend give its free memory back to
   * the system. Blocks until that is done, which may take milliseconds for each GiB.
   *
   * @returns How many bytes less of physical memory the process has after it; at least 0.
   * @throws {@link MallocBackendError} `ERR_CANNOT_RELEASE`: the backend has no way to. snmalloc gives memory back by
   * itself.
   */
  release(): number {
    const before = process.memoryUsage.rss();
    this.#native.flush();
    if (this.#observer !== undefined) this.#reportDamage();
    if (!binding().backendRelease(this.backend)) {
      throw new MallocBackendError(
        'ERR_CANNOT_RELEASE',
        `${this.backend} has no way to give memory back to the system on request; choose another backend where ` +
          `that matters`,
      );
    }
    return Math.max(0, before - process.memoryUsage.rss());
  }

  /**
   * An allocator on the same backend whose bytes count here too, so that both limits hold: for a tenant, a request.
   *
   * @param options - What is not set is as here, but for `name` and `limit`.
   * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`
   */
  child(options: AllocatorOptions = {}): Allocator {
    requireOptions(options, ALLOCATOR_OPTIONS);
    if (!this.#open) throw disposed(this);
    const { name: _name, limit: _limit, ...inherited } = this.#options;
    return new Allocator(MAKE, this.backend, { ...inherited, ...options }, this);
  }

  /**
   * A region: one ArrayBuffer over reserved address space, with a heap of the backend's in it. Its live bytes count
   * in {@link bytesAllocated} here, and against the limits. jemalloc can, on Linux and macOS.
   *
   * @throws {@link MallocBackendError} `ERR_BACKEND_UNAVAILABLE`: another backend, or Windows. `ERR_OUT_OF_MEMORY`: the
   * address space cannot be had. `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`, `ERR_EXTERNAL_BUFFERS_UNSUPPORTED`
   */
  region(options: RegionOptions): Region {
    requireOptions(options, REGION_OPTIONS);
    checkBytes(options.bytes);
    const debug = flag(options.debug, 'debug');
    if (!this.#open) throw disposed(this);
    const numbers = new Float64Array(4);
    const native =
      options.bytes > constants.MAX_LENGTH
        ? Refused.OutOfMemory
        : this.#native.region(options.bytes, debug ? 1 : 0, numbers);
    if (native === Refused.Unsupported) throw noRegion(this);
    if (typeof native === 'number') throw this.#refusal(native, options.bytes, 0);
    return new Region(native, numbers, (more) => this.#refusal(Refused.Limit, more, more), debug);
  }

  /** The live buffers of this allocator, without those of its children. With `trace` each has its stack. */
  leaks(): Leak[] {
    const live = this.#native.live();
    const leaks: Leak[] = [];
    for (let index = 0; index < live.length; index += 2) {
      const stack = this.#observer?.stack(live[index]!);
      leaks.push({ bytes: live[index + 1]!, ...(stack === undefined ? {} : { stack }) });
    }
    return leaks;
  }

  /**
   * Ends the allocator: nothing more is allocated from it or its children, and its quarantine is emptied. Buffers that
   * are live stay so until they are freed, by hand or by being collected. Once more does nothing.
   */
  dispose(): void {
    this.#disposed = true;
    this.#native.end();
    if (this.#observer !== undefined) this.#reportDamage();
  }

  /** {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  get #open(): boolean {
    return !this.#disposed && (this.#parent === undefined || this.#parent.#open);
  }

  /** Holds the buffer, for `what`. */
  #hold(buffer: Uint8Array, what: string): Holds {
    const slot = OwnedBuffer.slotOf(buffer, this);
    const live = slot === HELD || (slot >= 0 && this.#native.holds(OwnedBuffer.memoryOf(buffer), slot));
    if (!live) throw notAllocated(buffer, this, what);
    const holds = (this.#holds ??= new Holds((held, where) => this.#free(held, where)));
    holds.add(buffer, slot);
    return holds;
  }

  #free(buffer: Uint8Array, slot: number): void {
    const bytes = buffer.byteLength;
    this.#numbers[0] = slot;
    this.#native.free(OwnedBuffer.memoryOf(buffer));
    if (this.#numbers[0] !== Refused.No) throw notAllocated(buffer, this, 'freed');
    OwnedBuffer.mark(buffer, FREED);
    if (this.#observer !== undefined) {
      this.#observer.gone(buffer, slot);
      this.#observer.emit({ type: 'free', bytes });
      this.#reportDamage();
    }
  }

  #reportDamage(): void {
    const blocks = this.#native.stats()[6]! - this.#damaged;
    this.#damaged += blocks;
    if (blocks > 0) this.#observer?.emit({ type: 'damage', blocks });
  }

  /** This allocator or the first above it that has no room for so many bytes more. */
  #full(more: number): Allocator {
    const full = this.bytesAllocated + more > this.limit;
    return full || this.#parent === undefined ? this : this.#parent.#full(more);
  }

  /** The error for what the native side refused; `more` is what `bytes` would add to what is live. */
  #refusal(refused: number, bytes: number, more: number): MallocBackendError {
    if (refused === Refused.External) return externalUnsupported();
    if (refused !== Refused.Limit) return outOfMemory(this, bytes);
    const full = this.#full(more);
    this.#observer?.emit({ type: 'limit', bytes, limit: full.limit });
    return limitExceeded(full, bytes);
  }
}
